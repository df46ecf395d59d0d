"""Where a model is, and how its parts are loaded and saved: a folder in diffusers layout, one file, or the
hub.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from .checkpoint import TEXT_WEIGHTS, WEIGHTS, load_model, read_json, save_model, write_json
from .clip import TextEncoder
from .config import GUIDANCE_SCALE, shown
from .controlnet import ControlNet
from .sd15 import SD15
from .single_file import load_controlnet, load_single_file, load_vae, read_settings, save_single_file
from .tokenizer import BPE
from .unet import UNet
from .vae import AutoencoderKL

TINY = Path(__file__).with_name("tiny")
CONTROLNETS = {"tiny-plans": Path(__file__).with_name("tiny_plans")}  # those that ship with the package
HUB_ID = re.compile(r"\w[\w.-]*/(?!.*\.(safetensors|ckpt|pth?|bin|gguf|onnx)$)\w[\w.-]*")  # owner/name
# The networks of a folder: our class, the name of the weight file, the class in transformers or diffusers.
NETWORKS: dict[str, tuple[Any, str, str]] = {
    "text_encoder": (TextEncoder, TEXT_WEIGHTS, "CLIPTextModel"),
    "unet": (UNet, WEIGHTS, "UNet2DConditionModel"),
    "vae": (AutoencoderKL, WEIGHTS, "AutoencoderKL"),
}


class Parts(NamedTuple):
    """What a Stable Diffusion is made of."""

    tokenizer: BPE
    text_encoder: TextEncoder
    unet: UNet
    vae: AutoencoderKL
    scheduler_config: Mapping[str, Any]
    guidance_scale: float = GUIDANCE_SCALE
    controlnet: ControlNet | None = None


def locate(model: str | Path) -> Path:
    """The folder or file of "tiny", of a path, or of a model of the hub, which is downloaded where it is
    missing.

    "sd15", "v1-4" and "owner/name" are looked for on this machine first: as a path, then in the hub's cache.
    This is the one place that tells these apart. Raises FileNotFoundError for a model that is nowhere, and
    what `hub.fetch` raises.
    """
    name = str(model)
    if name == "tiny":
        return TINY
    path = Path(model).expanduser()
    if path.exists():
        return path
    from .hub import PUBLISHED, fetch  # here, because importing it takes a while

    if name in PUBLISHED or HUB_ID.fullmatch(name):
        return fetch(name)
    raise FileNotFoundError(
        f"no model at {model}: give 'tiny', a folder in diffusers layout, a .safetensors or .ckpt file, or "
        "a hub id such as owner/name"
    )


def pick_device(device: str | torch.device | None) -> torch.device:
    """The device to compute on: by default CUDA where there is one. ValueError for one that isn't there."""
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError):
        raise ValueError(f"unknown device {device!r}; give cpu, cuda or mps") from None
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(chosen.type, chosen.type == "meta"):
        raise ValueError(f"torch finds no device {device} on this machine; give cpu, or leave it out")
    return chosen


def load(
    model: str | Path,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    tokenizer: str | Path | None = None,
    vae: str | Path | None = None,
    controlnet: str | Path | ControlNet | None = None,
) -> Parts:
    """All parts of a model; the arguments and errors are those of StableDiffusion.from_pretrained."""
    place, dtype = locate(model), dtype or torch.float32
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ValueError(f"dtype must be torch.float32, torch.float16 or torch.bfloat16, got {dtype}")
    chosen = pick_device(device)
    tokenizer = tokenizer and Path(tokenizer).expanduser()
    vae = vae and Path(vae).expanduser()
    if vae and not Path(vae).exists():
        raise FileNotFoundError(f"no VAE at {vae}: give its folder or its file")
    parts = load_parts(place, chosen, dtype, tokenizer, vae)
    if isinstance(controlnet, ControlNet):
        return parts._replace(controlnet=controlnet.to(chosen, dtype))
    if controlnet or has_controlnet(place):
        source = CONTROLNETS.get(str(controlnet)) or Path(controlnet or place).expanduser()
        return parts._replace(controlnet=load_controlnet(source, chosen, dtype))
    return parts


def has_controlnet(place: Path) -> bool:
    """Whether a model is a folder with a ControlNet of its own, by its index."""
    named = (place / "controlnet").is_dir() and read_json(place / "model_index.json").get("controlnet")
    return bool(named)


def load_parts(
    place: Path,
    chosen: torch.device,
    dtype: torch.dtype,
    tokenizer: str | Path | None,
    vae: str | Path | None,
) -> Parts:
    """All parts of a folder or of one file."""
    if place.is_dir():
        return load_folder(place, chosen, dtype, tokenizer, vae)
    words = Path(tokenizer or place.parent / "tokenizer")
    if not words.exists():
        raise FileNotFoundError(
            f"{place} holds no tokenizer, and there is none at {words}: give tokenizer=FOLDER (--tokenizer), "
            "the tokenizer/ with merges.txt of any Stable Diffusion 1.x folder"
        )
    bpe = BPE.from_files(words)
    networks = load_single_file(place, chosen, dtype, vae=None if vae is None else Path(vae))
    settings = read_settings(place)
    scale = read_scale(settings.get("guidance_scale", GUIDANCE_SCALE), place)
    return Parts(bpe, *networks, settings.get("scheduler", SD15["scheduler"]), scale)


def load_folder(
    folder: Path,
    device: torch.device,
    dtype: torch.dtype,
    tokenizer: str | Path | None,
    vae: str | Path | None,
) -> Parts:
    """All parts of a folder in diffusers layout."""
    index = folder / "model_index.json"
    if not index.is_file():
        raise FileNotFoundError(
            f"{folder} has no model_index.json: it is not a model folder in diffusers layout"
        )
    scale = read_scale(read_json(index).get("_guidance_scale", GUIDANCE_SCALE), index)
    bpe = BPE.from_files(Path(tokenizer or folder / "tokenizer"))
    networks: dict[str, Any] = {}
    for name, (build, weights, _) in NETWORKS.items():
        if name == "vae" and vae is not None:
            networks[name] = load_vae(Path(vae), device, dtype)
        else:
            networks[name] = load_model(build, folder / name, weights, device, dtype)
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
    return Parts(bpe, **networks, scheduler_config=scheduler, guidance_scale=scale)


def read_scale(value: Any, source: Path) -> float:
    """A model's own guidance scale, as its file names it."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -1000 < value < 1000:
        raise ValueError(f"{source}: the guidance scale must be a number such as 7.5, got {shown(value)}")
    return float(value)


def save_folder(parts: Parts, folder: Path, dtype: torch.dtype) -> None:
    """Write a folder in diffusers layout, which diffusers.StableDiffusionPipeline opens too."""
    parts.tokenizer.save(folder / "tokenizer")
    for name, (_, weights, class_name) in NETWORKS.items():
        save_model(getattr(parts, name), folder / name, weights, class_name, dtype)
    write_json(parts.scheduler_config, folder / "scheduler" / "scheduler_config.json")
    inpaints = parts.unet.config.in_channels != parts.unet.config.out_channels
    control = {}
    if parts.controlnet is not None:
        save_model(parts.controlnet, folder / "controlnet", WEIGHTS, "ControlNetModel", dtype)
        control = {"controlnet": ["diffusers", "ControlNetModel"]}
    index = {
        "_class_name": f"StableDiffusion{'ControlNet' if control else ''}{'Inpaint' if inpaints else ''}"
        "Pipeline",
        "_diffusers_version": "0.42.1",  # diffusers opens no inpainting model that does not name one
        "_guidance_scale": parts.guidance_scale,
        "requires_safety_checker": False,
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "safety_checker": [None, None],
        "scheduler": ["diffusers", parts.scheduler_config.get("_class_name", "DDIMScheduler")],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        **control,
    }
    write_json(index, folder / "model_index.json")


def save_file(parts: Parts, path: Path, dtype: torch.dtype) -> None:
    """Write one file in the layout of the original code, which other programs open; it holds no tokenizer.

    ValueError for a model with a ControlNet, which has a file of its own there.
    """
    if parts.controlnet is not None:
        raise ValueError(
            f"{path} can't hold the model's ControlNet: give the name of a folder, or take the ControlNet "
            "off first (pipe.controlnet = None)"
        )
    networks = parts.text_encoder, parts.unet, parts.vae
    save_single_file(*networks, path, dtype, parts.scheduler_config, parts.guidance_scale)
