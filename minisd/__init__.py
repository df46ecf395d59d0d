"""Stable Diffusion from scratch: one code, from a laptop's small model to SD 1.5."""

from importlib import import_module

TYPE_CHECKING = False  # to type checkers it is True; importing typing would delay `minisd --help`
if TYPE_CHECKING:
    from .clip import CLIP, ImageEncoder, TextEncoder
    from .controlnet import ControlNet
    from .pipeline import StableDiffusion
    from .samplers import SAMPLERS
    from .schedule import NoiseSchedule
    from .sd15 import SD15
    from .unet import UNet
    from .vae import AutoencoderKL

__version__ = "0.1.0"
__all__ = [
    "CLIP",
    "SAMPLERS",
    "SD15",
    "AutoencoderKL",
    "ControlNet",
    "ImageEncoder",
    "NoiseSchedule",
    "StableDiffusion",
    "TextEncoder",
    "UNet",
]

# Where each name lives. They are imported when first asked for (PEP 562), because nearly all of them
# need torch, which takes seconds, and `minisd --help` and `minisd.scenes` do not.
_HOMES = {
    "CLIP": "clip",
    "ImageEncoder": "clip",
    "TextEncoder": "clip",
    "ControlNet": "controlnet",
    "StableDiffusion": "pipeline",
    "SAMPLERS": "samplers",
    "NoiseSchedule": "schedule",
    "SD15": "sd15",
    "UNet": "unet",
    "AutoencoderKL": "vae",
}
_MODULES = {*_HOMES.values(), "checkpoint", "tokenizer"}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
