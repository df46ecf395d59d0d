"""Reading and writing models in the folder layout of diffusers, strictly.

    FOLDER/model_index.json
           scheduler/scheduler_config.json
           tokenizer/vocab.json, merges.txt, ...
           text_encoder/config.json, model.safetensors
           vae/config.json,          diffusion_pytorch_model.safetensors
           unet/config.json,         diffusion_pytorch_model.safetensors
"""

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

TEXT_WEIGHTS, WEIGHTS = "model.safetensors", "diffusion_pytorch_model.safetensors"
KEYS_SHOWN = 3  # how many names an error lists before it says how many more there are


def write_json(value: dict, path: Path) -> None:
    """Write under another name, then rename, so that no half-written file stays behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    os.replace(part, path)


def read_json(path: Path) -> dict:
    """A file's JSON object; FileNotFoundError or ValueError with one line that says what to do."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: is {path.parent.parent} a model folder in diffusers layout?")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON ({error}); fetch or write the file again") from None


def save_model(model: nn.Module, folder: Path, weights: str, class_name: str, dtype: torch.dtype) -> None:
    """Write a network's config.json and weights; tensors are stored as `dtype`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json({**model.config, "_class_name": class_name} if weights == WEIGHTS else model.config,
               folder / "config.json")  # fmt: skip
    part = folder / (weights + ".part")
    tensors = {name: value.detach().to("cpu", dtype).contiguous() for name, value in model.state_dict().items()}
    save_file(tensors, part, metadata={"format": "pt"})
    os.replace(part, folder / weights)


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a safetensors file, mapped from disk; a one-line error for a missing or broken file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: fetch the model again, or train it (minisd train --help)")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}); fetch the file again") from None


def some(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - KEYS_SHOWN
    return ", ".join(names[:KEYS_SHOWN]) + (f" and {more} more" if more > 0 else "")


def load_model(build: type[nn.Module], folder: Path, weights: str, device: str, dtype: torch.dtype) -> nn.Module:
    """Build a network from a folder's config.json and fill it from its weights, every tensor accounted for.

    Nothing is initialised first: the parameters are made without memory, then taken from the file.
    """
    config = read_json(folder / "config.json")
    with torch.device("meta"):
        model = build({key: value for key, value in config.items() if not key.startswith("_")})
    fill(model, read_tensors(folder / weights), folder / weights, device, dtype)
    return model


def fill(model: nn.Module, tensors: dict[str, torch.Tensor], source: Path, device: str, dtype: torch.dtype) -> None:
    """Give a model its weights: every name used, none missing, every shape right.

    Raises ValueError that names the first tensors concerned.
    """
    own = model.state_dict()
    missing, extra = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    shapes = [f"{name}, which is {tuple(tensors[name].shape)} and should be {tuple(own[name].shape)}"
              for name in own if name in tensors and tensors[name].shape != own[name].shape]  # fmt: skip
    for names, what in ((missing, "lacks"), (extra, "has more than the model:"), (shapes, "does not fit:")):
        if names:
            raise ValueError(f"{source} {what} {some(names)}; weights and config.json are not of one model: "
                             "fetch both again")  # fmt: skip
    model.load_state_dict({name: tensor.to(device, dtype) for name, tensor in tensors.items()}, assign=True)
