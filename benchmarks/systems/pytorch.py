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


def train_step(variant: str, *, size: int, batch: int, steps: int) -> Work:
    """Forward, backward and Adam on float pictures; eager, or "compile"."""
    tune_allocator(variant)
    model: Any = seed_cnn(size).to(memory_format=torch.channels_last)
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
