"""Reading and writing models in the folder layout of diffusers, strictly.

    FOLDER/model_index.json
           scheduler/scheduler_config.json
           tokenizer/vocab.json, merges.txt, ...
           text_encoder/config.json, model.safetensors
           vae/config.json,          diffusion_pytorch_model.safetensors
           unet/config.json,         diffusion_pytorch_model.safetensors
"""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from torch.overrides import TorchFunctionMode

from .files import whole

TEXT_WEIGHTS, WEIGHTS = "model.safetensors", "diffusion_pytorch_model.safetensors"
KEYS_SHOWN = 3  # how many names an error lists before it says how many more there are


def write_json(value: dict, path: Path) -> None:
    """Write a JSON file, whole or not at all."""
    with whole(path) as part:
        part.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict:
    """A file's JSON object; FileNotFoundError or ValueError with one line that says what to do."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: is {path.parent.parent} a model folder in diffusers layout?")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON ({error}); fetch or write the file again") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds no JSON object {{...}}; fetch or write the file again")
    return value


def save_model(
    model: nn.Module, folder: Path, weights: str, class_name: str, dtype: torch.dtype, without: str | None = None
) -> None:
    """Write a network's config.json and weights; tensors are stored as `dtype`.

    `class_name` is the network's in diffusers or transformers, which write it under different keys.
    Tensors whose names begin with `without` are left out: they stand in another file of the model.
    """
    named = {"_class_name": class_name} if weights == WEIGHTS else {"architectures": [class_name]}
    tensors = {name: value.detach().to("cpu", dtype).contiguous() for name, value in model.state_dict().items()
               if without is None or not name.startswith(without)}  # fmt: skip
    with whole(folder / weights) as part:
        save_file(tensors, part, metadata={"format": "pt"})
    write_json({**model.config, **named}, folder / "config.json")


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


class Unfilled(TorchFunctionMode):
    """Leaves parameters as they are where a module would fill them with normal numbers.

    On the meta device there is nothing to fill, yet torch imports its compiler for it: 1.5 seconds.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        return kwargs["tensor"] if function is nn.init.normal_ else function(*args, **kwargs)


def load_model(
    build: type[nn.Module], folder: Path, weights: str, device: str, dtype: torch.dtype, more: Path | None = None
) -> nn.Module:
    """Build a network from a folder's config.json and fill it from its weights, every tensor accounted for.

    Nothing is initialised first: the parameters are made without memory, then taken from the file.
    `more` is a second file of weights: tiny's CLIP takes its text half from text_encoder/.
    """
    config = read_json(folder / "config.json")
    try:
        with torch.device("meta"), Unfilled():
            model = build({key: value for key, value in config.items() if not key.startswith("_")})
    except ValueError as error:
        raise ValueError(f"{folder / 'config.json'}: {error}") from None
    tensors = published_names(read_tensors(folder / weights))
    if more is not None:
        tensors |= published_names(read_tensors(more))
    fill(model, tensors, folder / weights, device, dtype)
    return model


def published_names(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A CLIP tower's tensors under the names of the published checkpoints; other networks' as they are.

    transformers 5 leaves `text_model.` out of a text encoder's names; before 4.31 it stored the numbers
    0, 1, 2 ... beside the position embeddings.
    """
    if "embeddings.token_embedding.weight" in tensors:
        tensors = {f"text_model.{name}": tensor for name, tensor in tensors.items()}
    return {name: tensor for name, tensor in tensors.items() if not name.endswith("embeddings.position_ids")}


def fill(model: nn.Module, tensors: dict[str, torch.Tensor], source: Path, device: str, dtype: torch.dtype) -> None:
    """Give a model its weights: every name used, none missing, every shape right, every number finite.

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
    # The extremes of a tensor with a NaN are NaN; 0.1 s for all of SD 1.5's U-Net, isfinite takes 3.5 s.
    broken = [name for name, tensor in tensors.items() if not all(x.isfinite() for x in tensor.aminmax())]
    if broken:
        raise ValueError(f"{source} holds NaN or infinity in {some(broken)}; the file is damaged or its training "
                         "diverged: fetch or train it again")  # fmt: skip
    model.load_state_dict({name: tensor.to(device, dtype) for name, tensor in tensors.items()}, assign=True)
