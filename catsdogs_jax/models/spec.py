"""The pictures that a model was made for."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class InputSpec:
    """Size and normalisation of a model's pictures.

    Attributes:
        image_size: Natural side of the pictures, pixels.
        mean: Subtracted from red, green and blue, which are 0 to 1.
        std: What the differences are then divided by.
    """

    image_size: int = 150
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


IMAGENET = InputSpec(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""The mean and deviation of the pictures of ImageNet, as in torchvision and timm."""
