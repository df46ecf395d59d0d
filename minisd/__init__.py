"""Stable Diffusion from scratch: one code, from a laptop's small model to SD 1.5."""

from .clip import CLIP, ImageEncoder, TextEncoder
from .pipeline import StableDiffusion
from .samplers import SAMPLERS
from .schedule import NoiseSchedule
from .unet import UNet
from .vae import AutoencoderKL

__all__ = ["CLIP", "SAMPLERS", "AutoencoderKL", "ImageEncoder", "NoiseSchedule", "StableDiffusion", "TextEncoder", "UNet"]
