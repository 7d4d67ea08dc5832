"""PyTorch, in the layout that suits its CPU kernels best."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from PIL import Image
from torch import nn  # pyright: ignore[reportMissingImports]

from benchmarks.systems.listing import files
from benchmarks.systems.tuning import tune_allocator

Work = tuple[Callable[[], float], str, list[str]]


def seed_cnn(size: int) -> nn.Sequential:
    """Returns the notebook's network."""
    layers: list[nn.Module] = []
    channels, side = 3, size
    for width in (32, 32, 64):
        layers += [nn.Conv2d(channels, width, 3), nn.ReLU(), nn.MaxPool2d(2)]
        channels, side = width, (side - 2) // 2
    head = [nn.Linear(side * side * channels, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 1)]
    return nn.Sequential(*layers, nn.Flatten(), *head)


class Block(nn.Module):
    """The basic block of a residual network, as torchvision's."""

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(inputs, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != width:
            conv = nn.Conv2d(inputs, width, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(width))

    def forward(self, x: Any) -> Any:
        """Returns [batch, width, h', w'] for [batch, inputs, h, w]."""
        return torch.relu(self.branch(x) + self.shortcut(x))


def resnet18(size: int) -> nn.Sequential:
    """Returns torchvision's ResNet-18 with one logit."""
    del size
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
    layers: list[nn.Module] = [*stem, nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for width in (64, 128, 256, 512):
        layers += [Block(inputs, width, 1 if width == 64 else 2), Block(width, width, 1)]
        inputs = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1))


_NETWORKS: dict[str, Callable[[int], nn.Sequential]] = {
    "seed_cnn": seed_cnn,
    "resnet18": resnet18,
}


def train_step(
    variant: str, *, size: int, batch: int, steps: int, network: str = "seed_cnn"
) -> Work:
    """Forward, backward and Adam on float pictures; eager, or "compile"."""
    tune_allocator(variant)
    model: Any = _NETWORKS[network](size).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    forward = torch.compile(model) if "compile" in variant else model
    loss_of = nn.BCEWithLogitsLoss()
    rng = np.random.default_rng(0)
    pictures = torch.tensor(rng.random((batch, 3, size, size), np.float32))
    pictures = pictures.contiguous(memory_format=torch.channels_last)
    targets = torch.tensor(rng.integers(0, 2, (batch, 1)).astype(np.float32))

    def work() -> float:
        for _ in range(steps):
            optimizer.zero_grad()
            loss = loss_of(forward(pictures), targets)
            loss.backward()
            optimizer.step()
            loss.item()
        return float(steps * batch)

    work()
    return work, "images/s", ["torch"]


def forward(variant: str, *, size: int, batch: int, steps: int) -> Work:
    """EfficientNet-Lite0 without gradients, by the package its weights come with."""
    from efficientnet_lite_pytorch import EfficientNet  # pyright: ignore[reportMissingImports]

    tune_allocator(variant)
    made: Any = EfficientNet.from_name("efficientnet-lite0").eval()
    model = made.to(memory_format=torch.channels_last)
    run = torch.compile(model) if "compile" in variant else model
    pictures = torch.rand((batch, 3, size, size)).contiguous(memory_format=torch.channels_last)

    def work() -> float:
        with torch.inference_mode():
            for _ in range(steps):
                run(pictures).numpy()
        return float(steps * batch)

    work()
    return work, "images/s", ["torch", "efficientnet-lite-pytorch"]


class Files(torch.utils.data.Dataset):
    """Decodes and resizes a file a sample, with Pillow."""

    def __init__(self, examples: list, size: int):
        self.examples, self.size = examples, size

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        path, label = self.examples[index]
        with Image.open(path) as image:
            small = image.convert("RGB").resize((self.size, self.size), Image.Resampling.BILINEAR)
        return np.asarray(small), label


def read(variant: str, *, folder: str, size: int, batch: int) -> Work:
    """A shuffling DataLoader with a worker a core."""
    loader = torch.utils.data.DataLoader(
        Files(files(folder), size),
        batch_size=batch,
        shuffle=True,
        drop_last=True,
        num_workers=len(os.sched_getaffinity(0)),
        persistent_workers=True,
    )

    def work() -> float:
        return float(sum(len(pictures) for pictures, _ in loader))

    work()
    return work, "images/s", ["torch", "pillow"]
