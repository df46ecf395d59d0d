"""More like this: a picture's CLIP vector as a few vectors that the U-Net reads beside the words."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .checkpoint import TEXT_WEIGHTS, load_model
from .clip import CLIP
from .config import Config
from .models import CONTROLNETS, TINY

SHIPPED = CONTROLNETS["tiny-plans"] / "likeness"  # trained for tiny


@dataclass(frozen=True)
class ImageTokensConfig(Config):
    """likeness/config.json: the sizes of an `ImageTokens`."""

    image_width: int = 128  # numbers of a picture's vector
    context_width: int = 128  # numbers of a word's vector
    tokens: int = 4

    NAME = "likeness"
    KIND = "a layer that minisd trained"
    UNUSED: ClassVar[frozenset[str]] = frozenset({"architectures"})


class ImageTokens(nn.Module):
    """A picture's vector as vectors to put behind a sentence's (after IP-Adapter, Ye et al. 2023).

    One linear layer and a layer norm: vectors (batch, image_width) -> (batch, tokens, context_width). A
    vector of zeros stands for "like nothing in particular". Ye et al. give these vectors an attention of
    their own; here they are read by the attention that reads the words.
    """

    def __init__(self, config: Mapping | ImageTokensConfig):
        super().__init__()
        c = self.config = ImageTokensConfig.from_dict(config)
        self.linear = nn.Linear(c.image_width, c.tokens * c.context_width)
        self.norm = nn.LayerNorm(c.context_width)

    @classmethod
    def load(cls, folder: Path = SHIPPED) -> Self:
        """The layer that ships with the package, for tiny, or one that `minisd.training.likeness` made."""
        return load_model(cls, folder, TEXT_WEIGHTS, "cpu", torch.float32).eval()

    def forward(self, vectors: Tensor) -> Tensor:
        together = self.linear(vectors * self.config.image_width**0.5)  # unit vectors have small entries
        return self.norm(together.unflatten(1, (self.config.tokens, self.config.context_width)))


def load_clip(folder: Path = TINY) -> CLIP:
    """Both encoders of CLIP of a model of the little world; the text half is in text_encoder/."""
    more = folder / "text_encoder" / TEXT_WEIGHTS
    return load_model(CLIP, folder / "clip", TEXT_WEIGHTS, "cpu", torch.float32, more).eval()


def vectors_of(clip: CLIP, pictures: Tensor) -> Tensor:
    """The CLIP vectors of pictures (batch, 3, height, width) in [-1, 1]: (batch, width), length 1."""
    side = clip.config.vision_config.image_size
    return clip.encode_image(F.interpolate(pictures, size=(side, side), mode="area"))
