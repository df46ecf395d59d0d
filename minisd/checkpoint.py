"""Reading and writing models in the folder layout of diffusers, strictly.

    FOLDER/model_index.json
           scheduler/scheduler_config.json
           tokenizer/vocab.json, merges.txt, ...
           text_encoder/config.json, model.safetensors
           vae/config.json,          diffusion_pytorch_model.safetensors
           unet/config.json,         diffusion_pytorch_model.safetensors

A weight file may have a twin in half precision (model.fp16.safetensors), be a pickle (pytorch_model.bin), or
be cut into shards with an index that says which tensor is in which.
"""

import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.init import kaiming_uniform_, normal_, uniform_
from torch.overrides import TorchFunctionMode

from .config import LONGEST_NAME, Config, printed, shown
from .files import whole
from .tensors import CHEAP, CHECKSUM, WRAPPERS, check_file, checksum, read_tensors, some

TEXT_WEIGHTS, WEIGHTS = "model.safetensors", "diffusion_pytorch_model.safetensors"
LARGEST_JSON = 2**26  # bytes; the largest that a model has, a tokenizer.json, takes 4 MB
INDEX = ".index.json"
VARIANTS = ("", ".fp16", ".bf16", ".fp32", ".ema", ".non_ema")  # in this order, but half first if asked for
OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}  # of early VAEs
FLOATS = (
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float64,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
)
ENDS = 2**13  # numbers at either end of a mapped tensor: 32 KB of float32, what a page fault brings in anyway
# Parts of a tensor's name that say who saved it: torch.compile, and training on several machines.
SAVERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
OUTER = {*WRAPPERS, "unet", "vae", "text_encoder", "first_stage_model", "diffusion_model"}
# What files of one network hold besides it: the numbers 0, 1, 2 ..., CLIP's other half, a VAE's
# discriminator, averages from training.
LEFTOVERS = re.compile(
    r"(.*\.)?position_ids|(text_model\.)?(logit_scale|text_projection(\.weight)?)"
    r"|(vision_model|visual_projection|loss|discriminator|model_ema|ema)\..*"
)
QUANTISED = re.compile(
    r".*\.(absmax|quant_map|quant_state\..*|SCB|qweight|qzeros|weight_scale|_data|scale_weight)"
)
LAYER = re.compile(r"text_model\.encoder\.layers\.(\d+)\.")
Net = TypeVar("Net", bound=nn.Module)


class Network(Protocol):
    """What `save_model` asks of a network: its config, and its tensors."""

    @property
    def config(self) -> Config: ...

    def state_dict(self) -> dict[str, Any]: ...


# ---- JSON


def write_json(value: Mapping[str, Any], path: Path) -> None:
    """Write a JSON file, whole or not at all."""
    with whole(path) as part:
        part.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """A file's JSON object, in UTF-8, 16 or 32; OSError or ValueError with one line that says what to do."""
    check_file(path, f"is {path.parent.parent} a model folder in diffusers layout?")
    if path.stat().st_size > LARGEST_JSON:
        raise ValueError(f"{path} is larger than any file of settings; fetch or write the file again")
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON ({error}); fetch or write the file again") from None
    except RecursionError:
        raise ValueError(f"{path} is nested too deeply; fetch or write the file again") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds no JSON object {{...}}; fetch or write the file again")
    return value


# ---- writing


def save_model(
    model: Network,
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
        name: value
        for name, value in model.state_dict().items()
        if without is None or not name.startswith(without)
    }
    save_tensors(tensors, folder / weights, dtype)
    write_json({**model.config.to_dict(), **named}, folder / "config.json")


def save_tensors(
    tensors: Mapping[str, Tensor],
    path: Path,
    dtype: torch.dtype,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a safetensors file, floating-point numbers as `dtype`, with their checksum in the metadata."""
    stored = {
        name: tensor.detach().to("cpu", dtype if tensor.is_floating_point() else tensor.dtype).contiguous()
        for name, tensor in tensors.items()
    }
    about = {"format": "pt", CHECKSUM: checksum(stored), **(metadata or {})}
    try:
        with whole(path) as part:
            save_file(stored, part, metadata=about)
            sort_metadata(part)
    except SafetensorError as error:
        raise OSError(f"{path} can't be written: {error}") from None


def sort_metadata(path: Path) -> None:
    """Put the texts in a safetensors file's header in order: the library writes them in a random one, and the
    same model should be the same bytes.
    """
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        file.seek(8)
        file.write(text.ljust(length))


# ---- which file


def weights_file(folder: Path, weights: str, dtype: torch.dtype) -> Path:
    """The file with a folder's weights, or the index of its shards; `weights` if there is none at all.

    The half-precision twin comes first if `dtype` is half, else the plain file; any other twin is better than
    nothing. Of two files of one precision it is the safetensors, not the pickle.
    """
    half = dtype == torch.float16
    order = sorted(VARIANTS, key=lambda variant: variant != ".fp16") if half else VARIANTS
    names = [name for variant in order for name in names_of(weights, variant)]
    return next((folder / name for name in names if (folder / name).exists()), folder / weights)


def names_of(weights: str, variant: str) -> list[str]:
    """The names that weights have as safetensors and pickle, whole and in shards: diffusers and transformers
    have written the variant's name in two places of an index's name.
    """
    stem = weights.removesuffix(".safetensors")
    names = []
    for name, kind in ((stem, ".safetensors"), ("pytorch_model" if stem == "model" else stem, ".bin")):
        whole_file = f"{name}{variant}{kind}"
        names += [whole_file, whole_file + INDEX, f"{name}{kind}.index{variant}.json"]
    return list(dict.fromkeys(names))


def shards(path: Path) -> list[Path]:
    """The files that hold the tensors of a weight file: itself, or those that an index names."""
    if path.suffix != ".json":
        return [path]
    return [path.parent / name for name in dict.fromkeys(read_index(path).values())]


def read_index(path: Path) -> dict[str, str]:
    """Which file each tensor is in, by the index of a model in shards; they stand beside the index."""
    places = read_json(path).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) and name for name in places.values()):
        raise ValueError(f"{path} says of no tensor which file it is in (weight_map); fetch the file again")
    for name in places.values():
        odd = re.search(r"[/\\:]", name) or not name.isprintable() or len(name) > LONGEST_NAME
        if odd or name in (".", "..") or name.endswith(".json"):
            raise ValueError(
                f"{path} names the file {shown(name)}, which is no weight file beside it; fetch it again"
            )
    return places


def read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a weight file, or of all the shards that an index names."""
    if path.suffix != ".json":
        return read_tensors(path)
    places, found = read_index(path), {}
    for name in dict.fromkeys(places.values()):
        if not (path.parent / name).exists():
            raise FileNotFoundError(f"{path.parent / name} is missing, a part of {path.name}: fetch it again")
        for key, tensor in read_tensors(path.parent / name).items():
            if key in found:
                raise ValueError(
                    f"{path}: {name} and another of its files both hold {printed(key)}; fetch them again"
                )
            found[key] = tensor
    if absent := sorted(places.keys() - found.keys()):
        raise ValueError(
            f"{path.parent / places[absent[0]]} lacks {some(absent)}, by {path.name}: fetch it again"
        )
    return found


# ---- reading


class Unfilled(TorchFunctionMode):
    """Leaves parameters as they are where a module would fill them with random numbers.

    On the meta device there is nothing to fill, yet it takes time, and torch imports its compiler for it: 1.5
    seconds.
    """

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        return (
            kwargs["tensor"]
            if function in (normal_, uniform_, kaiming_uniform_)
            else function(*args, **kwargs)
        )


def build_empty(build: Callable[[Any], Net], config: Mapping[str, Any] | Config) -> Net:
    """A network whose parameters have shapes and no memory: nothing is drawn that a file would replace."""
    with torch.device("meta"), Unfilled():
        return build(config)


def load_model(
    build: Callable[[Any], Net],
    folder: Path,
    weights: str,
    device: str | torch.device,
    dtype: torch.dtype,
    more: Path | None = None,
) -> Net:
    """Build a network from a folder's config.json and fill it from its weights, every tensor accounted for.

    `more` is a second file of weights: tiny's CLIP takes its text half from text_encoder/.
    """
    config = read_json(folder / "config.json")
    try:
        model = build_empty(build, config)
    except ValueError as error:
        raise ValueError(f"{folder / 'config.json'}: {error}") from None
    path, own = weights_file(folder, weights, dtype), model.state_dict().keys()
    tensors = own_names(read_weights(path), own, path)
    if more:
        tensors |= own_names(read_weights(more), own, more)
    tensors = without_later_layers(tensors, own)
    fill(model, tensors, path, device, dtype)
    return model


def own_names(tensors: Mapping[str, Tensor], own: Collection[str], source: Path | str) -> dict[str, Tensor]:
    """A network's tensors under its `own` names, those of the published checkpoints; leftovers are left out.

    Tools put their own words before a name or into it. transformers 5 leaves `text_model.` out of a text
    encoder's names; before 4.31 it stored the numbers 0, 1, 2 ... beside the position embeddings. Early VAEs
    name the parts of their attention otherwise. Raises ValueError if two names come to one.
    """
    renamed: dict[str, Tensor] = {}
    heads = {name.split(".")[0] for name in own}
    for name, tensor in tensors.items():
        new = bare(name, heads)
        if new not in own and LEFTOVERS.fullmatch(new):
            continue
        if new in renamed:
            raise ValueError(
                f"{source} holds {printed(new)} twice, under several spellings: fetch the model again"
            )
        renamed[new] = tensor
    return renamed


def without_later_layers(tensors: Mapping[str, Tensor], own: Collection[str]) -> dict[str, Tensor]:
    """The tensors less those of layers beyond a CLIP tower's last: a config may ask for fewer (clip skip).

    transformers leaves them out, too.
    """
    layers = [match[1] for name in own if (match := LAYER.match(name))]
    most = max(map(int, layers), default=-1)
    beyond = {name for name in tensors if (match := LAYER.match(name)) and int(match[1]) > most >= 0}
    return {name: tensor for name, tensor in tensors.items() if name not in beyond}


def bare(name: str, heads: Collection[str]) -> str:
    """A tensor's name without what tools put into it; `heads` are the first parts of the network's names."""
    parts = [OLD_ATTENTION.get(part, part) for part in name.split(".") if part not in SAVERS]
    while len(parts) > 1 and parts[0] in OUTER and parts[0] not in heads:
        parts = parts[1:]
    if "text_model" in heads and parts[0] in ("embeddings", "encoder", "final_layer_norm"):
        parts = ["text_model", *parts]
    return ".".join(parts)


def placed(tensor: Tensor, device: str | torch.device, dtype: torch.dtype) -> Tensor:
    """A tensor on its device in its dtype: itself where it is there already, else a copy.

    A copy of a convolution's weights is laid out channels last, in the order in which convolutions read them:
    the others are reordered at every call.
    """
    moved = tensor.to(device, dtype)
    if moved is tensor or moved.ndim != 4 or moved.device.type == "mps":
        return moved
    return moved.contiguous(memory_format=torch.channels_last)


def fill(
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    source: Path | str,
    device: str | torch.device,
    dtype: torch.dtype,
    in_file: Callable[[str], str] = str,
) -> None:
    """Give a model its weights: every name used, none missing, every shape right, no NaN found (`finite`).

    `in_file` gives a tensor's name in the file. Where dtype and device are the file's, nothing is copied: the
    parameters are the mapped file. Raises ValueError that names the first tensors concerned.
    """
    own = {in_file(name): tensor for name, tensor in model.state_dict().items()}
    tensors = {name: as_convolution(tensor, own.get(name)) for name, tensor in tensors.items()}
    check_tensors(own, tensors, source)
    taken = {name: placed(tensor, device, dtype) for name, tensor in tensors.items()}
    small = sum(tensor.nbytes for tensor in tensors.values()) < CHEAP
    if broken := [
        name for name in taken if not finite(taken[name], taken[name] is tensors[name] and not small)
    ]:
        raise ValueError(
            f"{source} holds NaN or infinity in {some(broken)}; the file is damaged or its training "
            "diverged: fetch or train it again"
        )
    model.load_state_dict({name: taken[in_file(name)] for name in model.state_dict()}, assign=True)


def as_convolution(tensor: Tensor, own: Tensor | None) -> Tensor:
    """A linear layer's weight as the 1x1 convolution that it equals, or back, if the model has the other."""
    if own is not None and {tensor.ndim, own.ndim} == {2, 4} and max(tensor.shape[2:] + own.shape[2:]) == 1:
        return tensor.reshape(own.shape) if tensor.numel() == own.numel() else tensor
    return tensor


def check_tensors(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], source: Path | str) -> None:
    """Raise ValueError unless a file has just a model's `own` names and shapes, as floating-point numbers."""
    if quantised := sorted(filter(QUANTISED.fullmatch, tensors)):
        raise ValueError(
            f"{source} is quantised ({some(quantised)}); fetch the model in half or full precision"
        )
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
    strange = [f"{name}, of {tensor.dtype}" for name, tensor in tensors.items() if tensor.dtype not in FLOATS]
    if strange:
        raise ValueError(
            f"{source} does not hold plain floating-point numbers: {some(strange)}; fetch the model in "
            "half or full precision"
        )


def finite(tensor: Tensor, mapped: bool) -> bool:
    """Whether a tensor is free of NaN and infinity; of a large one that is `mapped`, whether its two ends
    are.

    What is mapped is not in memory yet: reading all of SD 1.5's 4.3 GB would cost more than the rest of
    loading.
    """
    flat = tensor.flatten()
    if not len(flat):
        return True
    parts = (flat[:ENDS], flat[-ENDS:]) if mapped and len(flat) > 2 * ENDS else (flat,)
    # The extremes of a part with a NaN are NaN; to ask isfinite of all its numbers takes 30 times as long.
    return all(math.isfinite(extreme) for part in parts for extreme in part.aminmax())


def not_finite(model: nn.Module) -> list[str]:
    """The names of a network's tensors that hold NaN or infinity, every number looked at."""
    return [name for name, tensor in model.state_dict().items() if not finite(tensor, mapped=False)]
