"""More like this: what a picture's CLIP vector says, in a few vectors that the U-Net reads beside the words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from .clip import CLIP
from .config import Config


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

    One linear layer and a layer norm: vectors (batch, image_width) -> (batch, tokens, context_width). A vector
    of zeros stands for "like nothing in particular". Ye et al. give these vectors an attention of their own;
    here they are read by the attention that reads the words.
    """

    def __init__(self, config: Mapping | ImageTokensConfig):
        super().__init__()
        c = self.config = ImageTokensConfig.from_dict(config)
        self.linear = nn.Linear(c.image_width, c.tokens * c.context_width)
        self.norm = nn.LayerNorm(c.context_width)

    def forward(self, vectors: Tensor) -> Tensor:
        together = self.linear(vectors * self.config.image_width**0.5)  # unit vectors have small entries
        return self.norm(together.unflatten(1, (self.config.tokens, self.config.context_width)))


def vectors_of(clip: CLIP, pictures: Tensor) -> Tensor:
    """The CLIP vectors of pictures (batch, 3, height, width) in [-1, 1]: (batch, projection_dim), unit length."""
    side = clip.config.vision_config.image_size
    return clip.encode_image(F.interpolate(pictures, size=(side, side), mode="area"))
