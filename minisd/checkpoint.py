"""Reading and writing models in the folder layout of diffusers, strictly.

    FOLDER/model_index.json
           scheduler/scheduler_config.json
           tokenizer/vocab.json, merges.txt, ...
           text_encoder/config.json, model.safetensors
           vae/config.json,          diffusion_pytorch_model.safetensors
           unet/config.json,         diffusion_pytorch_model.safetensors

A weight file may have a twin in half precision (model.fp16.safetensors), or be a pickle (pytorch_model.bin).
"""

import json
import math
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn.init import kaiming_uniform_, normal_, uniform_
from torch.overrides import TorchFunctionMode

from .files import whole

TEXT_WEIGHTS, WEIGHTS = "model.safetensors", "diffusion_pytorch_model.safetensors"
# What is often found under a weight file's name: how such a file begins, in lower case, and what it is.
NO_WEIGHTS = {
    b"<!doctype": "a web page: fetch the file itself",
    b"<html": "a web page: fetch the file itself",
    b"version https://git-lfs": "a git-lfs pointer: run git lfs pull, or fetch the file itself",
}
OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}  # of early VAEs
PRECISIONS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
ENDS = 2**13  # numbers at either end of a mapped tensor: 32 KB of float32, what a page fault brings in anyway
KEYS_SHOWN = 3  # how many names an error lists before it says how many more there are


def write_json(value: dict, path: Path) -> None:
    """Write a JSON file, whole or not at all."""
    with whole(path) as part:
        part.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict:
    """A file's JSON object; FileNotFoundError or ValueError with one line that says what to do."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: is {path.parent.parent} a model folder in diffusers layout?"
        )
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON ({error}); fetch or write the file again") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds no JSON object {{...}}; fetch or write the file again")
    return value


def save_model(
    model: nn.Module,
    folder: Path,
    weights: str,
    class_name: str,
    dtype: torch.dtype,
    without: str | None = None,
) -> None:
    """Write a network's config.json and weights; tensors are stored as `dtype`.

    `class_name` is the network's in diffusers or transformers, which write it under different keys.
    Tensors whose names begin with `without` are left out: they stand in another file of the model.
    """
    named = {"_class_name": class_name} if weights == WEIGHTS else {"architectures": [class_name]}
    tensors = {
        name: value.detach().to("cpu", dtype).contiguous()
        for name, value in model.state_dict().items()
        if without is None or not name.startswith(without)
    }
    with whole(folder / weights) as part:
        save_file(tensors, part, metadata={"format": "pt"})
    write_json({**model.config, **named}, folder / "config.json")


def weights_file(folder: Path, weights: str, dtype: torch.dtype) -> Path:
    """The file with a folder's weights: the half-precision twin if `dtype` is half or there is no other.

    Of two files of one precision it is the safetensors, not the pickle; `weights`, if there is no file at
    all.
    """
    stem = weights.removesuffix(".safetensors")
    pickled = "pytorch_model" if stem == "model" else stem
    order = (".fp16", "") if dtype == torch.float16 else ("", ".fp16")
    names = [name for half in order for name in (f"{stem}{half}.safetensors", f"{pickled}{half}.bin")]
    return next((folder / name for name in names if (folder / name).is_file()), folder / weights)


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a safetensors file or a pickle (.ckpt, .bin), mapped from disk.

    Raises FileNotFoundError or ValueError, in one line, for a missing or broken file.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: fetch the model again, or train it (minisd train --help)"
        )
    with path.open("rb") as file:
        start = file.read(100).lstrip().lower()
    if kinds := [what for sign, what in NO_WEIGHTS.items() if start.startswith(sign)]:
        raise ValueError(f"{path} is {kinds[0]}")
    if path.suffix != ".safetensors":
        return read_pickle(path)
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}); fetch the file again") from None


def read_pickle(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a .ckpt or .bin file, by torch's unpickler for tensors, which runs no code.

    They are the file's dictionary, or stand in it under "state_dict", beside what a training tool kept.
    """
    twin = path.with_suffix(".safetensors").name.removeprefix("pytorch_")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # a damaged pickle fails in a dozen ways
        code = re.search(r"GLOBAL (\S+)", str(error))
        why = (
            f"asks for {code[1]}, which could run any code and is not loaded"
            if code
            else (f"is not a whole file of tensors ({type(error).__name__})")
        )
        raise ValueError(f"{path} {why}; fetch the same weights as safetensors: {twin}") from None
    tensors = found.get("state_dict", found) if isinstance(found, dict) else found
    if not isinstance(tensors, dict) or not all(
        isinstance(tensor, torch.Tensor) for tensor in tensors.values()
    ):
        raise ValueError(f"{path} holds no dictionary of tensors; fetch the model as safetensors: {twin}")
    return tensors


def some(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - KEYS_SHOWN
    return ", ".join(names[:KEYS_SHOWN]) + (f" and {more} more" if more > 0 else "")


class Unfilled(TorchFunctionMode):
    """Leaves parameters as they are where a module would fill them with random numbers.

    On the meta device there is nothing to fill, yet it takes time, and torch imports its compiler for it: 1.5
    seconds.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        return (
            kwargs["tensor"]
            if function in (normal_, uniform_, kaiming_uniform_)
            else function(*args, **kwargs)
        )


def build_empty(build: type[nn.Module], config: dict) -> nn.Module:
    """A network whose parameters have shapes and no memory: nothing is drawn that a file would replace."""
    with torch.device("meta"), Unfilled():
        return build({key: value for key, value in config.items() if not key.startswith("_")})


def load_model(
    build: type[nn.Module],
    folder: Path,
    weights: str,
    device: str,
    dtype: torch.dtype,
    more: Path | None = None,
) -> nn.Module:
    """Build a network from a folder's config.json and fill it from its weights, every tensor accounted for.

    `more` is a second file of weights: tiny's CLIP takes its text half from text_encoder/.
    """
    config = read_json(folder / "config.json")
    try:
        model = build_empty(build, config)
    except ValueError as error:
        raise ValueError(f"{folder / 'config.json'}: {error}") from None
    path = weights_file(folder, weights, dtype)
    tensors = published_names(read_tensors(path)) | (published_names(read_tensors(more)) if more else {})
    fill(model, tensors, path, device, dtype)
    return model


def published_names(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A network's tensors under the names of the published checkpoints.

    transformers 5 leaves `text_model.` out of a text encoder's names; before 4.31 it stored the numbers
    0, 1, 2 ... beside the position embeddings. Early VAEs name the parts of their attention otherwise.
    """
    if "embeddings.token_embedding.weight" in tensors:
        tensors = {f"text_model.{name}": tensor for name, tensor in tensors.items()}
    tensors = {
        ".".join(OLD_ATTENTION.get(part, part) for part in name.split(".")): tensor
        for name, tensor in tensors.items()
    }
    return {name: tensor for name, tensor in tensors.items() if not name.endswith("embeddings.position_ids")}


def fill(
    model: nn.Module,
    tensors: dict[str, torch.Tensor],
    source: Path | str,
    device: str,
    dtype: torch.dtype,
    in_file: Callable[[str], str] = str,
) -> None:
    """Give a model its weights: every name used, none missing, every shape right, no NaN found (`finite`).

    `in_file` gives a tensor's name in the file. Where dtype and device are the file's, nothing is copied: the
    parameters are the mapped file. Raises ValueError that names the first tensors concerned.
    """
    own = {in_file(name): tensor for name, tensor in model.state_dict().items()}
    missing, extra = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    shapes = [
        f"{name}, which is {tuple(tensors[name].shape)} and should be {tuple(own[name].shape)}"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    for names, what in ((missing, "lacks"), (extra, "has more than the model:"), (shapes, "does not fit:")):
        if names:
            raise ValueError(
                f"{source} {what} {some(names)}; weights and config are not of one model: "
                "fetch the model again"
            )
    if strange := [
        f"{name}, of {tensor.dtype}" for name, tensor in tensors.items() if tensor.dtype not in PRECISIONS
    ]:
        raise ValueError(
            f"{source} does not hold plain floating-point numbers: {some(strange)}; fetch the model in "
            "half or full precision"
        )
    taken = {name: tensor.to(device, dtype) for name, tensor in tensors.items()}
    if broken := [name for name in taken if not finite(taken[name], mapped=taken[name] is tensors[name])]:
        raise ValueError(
            f"{source} holds NaN or infinity in {some(broken)}; the file is damaged or its training "
            "diverged: fetch or train it again"
        )
    model.load_state_dict({name: taken[in_file(name)] for name in model.state_dict()}, assign=True)


def finite(tensor: torch.Tensor, mapped: bool) -> bool:
    """Whether a tensor is free of NaN and infinity; of a large one that is `mapped`, whether its two ends
    are.

    What is mapped is not in memory yet: reading all of SD 1.5's 4.3 GB would cost more than the rest of
    loading.
    """
    flat = tensor.flatten()
    parts = (flat[:ENDS], flat[-ENDS:]) if mapped and len(flat) > 2 * ENDS else (flat,)
    # The extremes of a part with a NaN are NaN; to ask isfinite of all its numbers takes 30 times as long.
    return all(math.isfinite(extreme) for part in parts for extreme in part.aminmax())
