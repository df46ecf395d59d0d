"""Low-rank adapters: small files that change a model (LoRA and its kin).

A LoRA changes a weight W into W + scale * alpha / rank * up @ down (Hu et al. 2021, section 4.1, with up = B,
down = A, rank = r). Its kin compute the change otherwise: from three matrices (LoCon's Tucker form), from two
products multiplied number by number (LoHa) or as a Kronecker product (LoKr), both of LyCORIS (Yeh et al.
2023), or they store all of it; and DoRA (Liu et al. 2024) then gives each row its own length.
"""

import functools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from .config import printed
from .embeddings import Model
from .embeddings import add_embedding as add_embedding  # what else a small file teaches a model
from .files import whole
from .lora_files import READS, Part, one_name, read_lora
from .single_file import unet_name
from .tensors import some

ATTENTION = ("to_q", "to_k", "to_v", "to_out_0")  # what a new LoRA changes, as in diffusers' training scripts
Layer = nn.Linear | nn.Conv2d | nn.GroupNorm | nn.LayerNorm  # norms are changed by full differences only
Tensors = dict[str, Tensor]


def layers_of(pipe: Model) -> dict[str, Layer]:
    """Every layer of U-Net and text encoder that a small file can change, by its one name."""
    return {
        one_name(f"{part}.{name}"): layer
        for part in ("unet", "text_encoder")
        for name, layer in getattr(pipe, part).named_modules()
        if isinstance(layer, Layer)
    }


def compvis_layers(pipe: Model) -> dict[str, Layer]:
    """The U-Net's layers by the one name of what the single-file layout calls them: unet_input_blocks_0_0."""
    return {
        one_name("unet." + unet_name(f"{name}.weight", pipe.unet.config).removesuffix(".weight")): layer
        for name, layer in pipe.unet.named_modules()
        if isinstance(layer, Layer)
    }


# ---- the change of a weight, from its tensors: (out, in), or for a convolution (out, in, height, width)


def tucker(core: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """A core (r, r, height, width) between a (r, out) and b (r, in) -> (out, in, height, width)."""
    return torch.einsum("i j k l, i p, j r -> p r k l", core, a, b).contiguous()  # for torch.kron


def low_rank(t: Tensors) -> Tensor:
    """up @ down; with a `mid` between them, LoCon's Tucker form (Yeh et al. 2023)."""
    up, down = t["up"].flatten(1), t["down"]
    if "mid" in t:
        return tucker(t["mid"], up.T, down.flatten(1))
    return (up @ down.flatten(1)).reshape(len(up), *down.shape[1:])


def pair(t: Tensors, name: str, core: str) -> Tensor:
    """The product of NAME_a and NAME_b, about a core if there is one."""
    a, b = t[f"{name}_a"], t[f"{name}_b"]
    return tucker(t[core], a, b) if core in t else a @ b


def hadamard(t: Tensors) -> Tensor:
    """LoHa: two low-rank products, multiplied number by number."""
    return pair(t, "hada_w1", "hada_t1") * pair(t, "hada_w2", "hada_t2")


def kronecker(t: Tensors) -> Tensor:
    """LoKr: each number of w1 times all of w2, either of them whole or a low-rank product."""
    w1, w2 = (
        t[name] if name in t else pair(t, name, core)
        for name, core in (("lokr_w1", "none"), ("lokr_w2", "lokr_t2"))
    )
    return torch.kron(w1.reshape(*w1.shape, *[1] * (w2.ndim - 2)), w2)


def difference(t: Tensors) -> Tensor:
    """The change itself, as it stands in the file."""
    return t["diff"]


FORMULAS: list[tuple[Callable[[Tensors], Tensor], tuple[str, ...]]] = [  # each with the roles that it reads
    (low_rank, ("down", "up", "mid")),
    (hadamard, ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2")),
    (kronecker, ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2")),
    (difference, ("diff",)),
]
RANKS = ("down", "hada_w1_b", "lokr_w1_b", "lokr_w2_b")  # whose first dimension is the rank
FILE_ROLES = {
    "down": "lora_down.weight",
    "up": "lora_up.weight",
    "mid": "lora_mid.weight",
    "magnitude": "dora_scale",
}


def run(layer: Layer, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """What a layer makes of x with other numbers. It's linear in them: the change of the numbers gives the
    change of the output.
    """
    if isinstance(layer, nn.Linear):
        return F.linear(x, weight, bias)
    if isinstance(layer, nn.Conv2d):
        return F.conv2d(x, weight, bias, layer.stride, layer.padding)
    if isinstance(layer, nn.GroupNorm):
        return F.group_norm(x, layer.num_groups, weight, bias, layer.eps)
    return F.layer_norm(x, layer.normalized_shape, weight, bias, layer.eps)


class Change(nn.Module):
    """The change of one layer: factor * formula(tensors) of its weight, and `diff_b` of its bias.

    With a `magnitude`, (out, 1) or (1, in), it is DoRA's: the changed weight's rows or columns are then given
    these lengths.
    """

    def __init__(self, tensors: Tensors, formula: Callable[[Tensors], Tensor], factor: float = 1.0):
        super().__init__()
        self.tensors, self.formula, self.factor = nn.ParameterDict(tensors), formula, factor

    def delta(self, weight: Tensor, scale: float) -> Tensor:
        """What is added to `weight`, in float32."""
        tensors = {role: tensor.to(weight.device, torch.float32) for role, tensor in self.tensors.items()}
        change = scale * self.factor * self.formula(tensors).reshape(weight.shape)
        if "magnitude" not in tensors:
            return change
        rows = (weight + change).flatten(2) if weight.ndim > 2 else (weight + change)[:, :, None]
        magnitude = tensors["magnitude"][:, :, None]
        norm = rows.norm(dim=(1, 2) if magnitude.shape[1] == 1 else (0, 2), keepdim=True)
        turned = rows * (magnitude / norm.clamp(min=torch.finfo(torch.float32).tiny))
        return turned.reshape(weight.shape) - weight

    def bias(self, scale: float) -> Tensor | None:
        """What is added to the bias."""
        return scale * self.tensors["diff_b"].flatten() if "diff_b" in self.tensors else None

    def forward(self, layer: Layer, x: Tensor, scale: float) -> Tensor:
        """What is added to the layer's output."""
        bias = self.bias(scale)
        return run(
            layer, x, self.delta(layer.weight, scale).to(x.dtype), None if bias is None else bias.to(x)
        )

    def fits(self, layer: Layer) -> bool:
        """Whether weight and bias have this layer's shapes; 1x1 convolutions and linear layers do."""
        shape, wanted = self.shape(), tuple(layer.weight.shape)
        bias, magnitude = self.tensors.get("diff_b"), self.tensors.get("magnitude")
        if bias is not None and (layer.bias is None or bias.numel() != layer.bias.numel()):
            return False
        if magnitude is not None and magnitude.shape not in ((wanted[0], 1), (1, *wanted[1:2])):
            return False
        if len(shape) == 2:
            return shape == (wanted[0], math.prod(wanted[1:]))
        return shape in (wanted, (*wanted, 1, 1))

    def shape(self) -> tuple[int, ...]:
        """The shape of the weight's change, found without computing it."""
        return tuple(self.formula({role: tensor.to("meta") for role, tensor in self.tensors.items()}).shape)

    @property
    def rank(self) -> int | None:
        """The rank of the product; None for what is no product of thin matrices."""
        return next((len(self.tensors[role]) for role in RANKS if role in self.tensors), None)


class LowRank(Change):
    """The change of plain LoRA, alpha / rank * up @ down; without an alpha, up @ down.

    down (rank, in) or, for a convolution, (rank, in, height, width); up (out, rank) or (out, rank, 1, 1).
    """

    def __init__(self, down: Tensor, up: Tensor, alpha: float | None = None):
        super().__init__(
            {"down": down, "up": up}, low_rank, 1.0 if alpha is None else float(alpha) / len(down)
        )

    @property
    def down(self) -> nn.Parameter:
        return self.tensors["down"]

    @property
    def up(self) -> nn.Parameter:
        return self.tensors["up"]

    def forward(self, layer: Layer, x: Tensor, scale: float) -> Tensor:
        """What is added to the layer's output: two thin layers, never the product of their weights."""
        weight = layer.weight
        down, up = self.down.to(weight).reshape(-1, *weight.shape[1:]), self.up.to(weight).flatten(1)
        if isinstance(layer, nn.Conv2d):
            up = up[:, :, None, None]
            return scale * self.factor * F.conv2d(run(layer, x, down, None), up)
        return scale * self.factor * F.linear(F.linear(x, down), up)


def magnitudes(tensors: Mapping[str, Tensor]) -> Tensors:
    """DoRA's lengths, of rows (out, 1) or of columns (1, in), from PEFT's or LyCORIS' tensor."""
    found = {}
    for role, lengths in tensors.items():
        columns = role == "dora_scale" and lengths.ndim > 1 and len(lengths) == 1
        found["magnitude"] = lengths.reshape(1, -1) if columns else lengths.reshape(-1, 1)
    return found


def change_of(part: Part) -> Change:
    """A layer's change from its tensors; ValueError, naming the layer, if they don't make one."""
    tensors = {role: tensor for role, tensor in part.tensors.items() if role != "alpha"}
    dora: Tensors = {
        role: tensors.pop(role) for role in ("dora_scale", "lora_magnitude_vector") if role in tensors
    }
    formula, readable = next(
        (entry for entry in FORMULAS if tensors.keys() & set(entry[1])), (difference, ("diff",))
    )
    try:
        if tensors.keys() == {"down", "up"} and not dora:
            change: Change = LowRank(tensors["down"], tensors["up"])
        else:
            change = Change(tensors | magnitudes(dora), formula)
        whole_one = len(change.shape()) > 0 and tensors.keys() <= {*readable, "diff_b"}
    except (KeyError, RuntimeError, IndexError, ValueError):  # what formulas say of missing or unlike tensors
        whole_one = False
    if not whole_one:
        shapes = [f"{role} {tuple(tensor.shape)}" for role, tensor in part.tensors.items()]
        raise ValueError(f"{printed(part.name)} of {some(sorted(shapes))}")
    change.factor = part.factor(change.rank)
    return change


class LoRA(nn.Module):
    """Changes of a model, to be merged into its weights or kept apart.

        lora = LoRA.from_file("style.safetensors")
        lora.merge(pipe, scale=0.7)      # changes the weights
        lora.attach(pipe, scale=0.7)     # or: leaves the weights as they are;
        lora.scale = 0.3                 #     can be made stronger or weaker between two pictures
        lora.remove()                    #     and taken off again

    `layers` holds a Change for each changed layer; their tensors are parameters and can be trained while
    attached. Several LoRAs can be attached at a time; their changes add up.
    """

    def __init__(self, layers: Mapping[str, Change], source: str = "the LoRA"):
        super().__init__()
        self.layers, self.scale = nn.ModuleDict(dict(layers)), 1.0
        self.source = source  # what errors call it
        self._hooks: list[RemovableHandle] = []

    def changes(self) -> dict[str, Change]:
        """The changes by the one names of their layers."""
        return cast("dict[str, Change]", dict(self.layers.items()))

    @classmethod
    def from_file(cls, path: str | Path) -> "LoRA":
        """Read a LoRA for Stable Diffusion 1.x: a file in any of the spellings of `lora_files`, or the folder
        of an adapter.

        Raises FileNotFoundError, or ValueError in one line for a file that holds anything else or more.
        """
        changes, odd = {}, []
        for name, part in read_lora(Path(path)).items():
            try:
                changes[name] = change_of(part)
            except ValueError as error:
                odd.append(str(error))
        if odd or not changes:
            raise ValueError(f"{path} is no whole LoRA, with {some(odd or ['nothing in it'])}: {READS}")
        return cls(changes, str(path))

    @classmethod
    def new(cls, pipe: Model, rank: int, targets: tuple[str, ...] = ATTENTION, seed: int = 0) -> "LoRA":
        """A LoRA to be trained, for every layer whose name ends in one of `targets`; at first it changes
        nothing.

        down is Gaussian, up zero (Hu et al. 2021, section 4.1); 1 / rank is diffusers' standard deviation.
        """
        if rank < 1:
            raise ValueError(f"rank must be at least 1, got {rank}")
        generator = torch.Generator().manual_seed(seed)
        weights = {
            name: layer.weight
            for name, layer in layers_of(pipe).items()
            if name.endswith(targets) and isinstance(layer, nn.Linear | nn.Conv2d)
        }
        return cls(
            {
                name: LowRank(
                    (torch.randn(rank, *w.shape[1:], generator=generator) / rank).to(w),
                    w.new_zeros(len(w), rank, *[1] * (w.ndim - 2)),
                )
                for name, w in weights.items()
            }
        )

    def save(self, path: str | Path) -> None:
        """Write a safetensors file in kohya's spelling, which other programs read too."""
        tensors: Tensors = {}
        for name, change in self.changes().items():
            name = name.replace("unet_", "lora_unet_", 1).replace("text_encoder_", "lora_te_text_model_", 1)
            own = {FILE_ROLES.get(role, role): tensor for role, tensor in change.tensors.items()}
            if change.rank is None:  # no alpha / rank to keep the factor in
                first = next(iter(own))
                own[first] = own[first] * change.factor
            else:
                own["alpha"] = torch.tensor(change.factor * change.rank)
            tensors |= {f"{name}.{role}": tensor for role, tensor in own.items()}
        with whole(Path(path)) as part:
            save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, part)

    def _places(self, pipe: Model) -> list[tuple[Layer, Change]]:
        """Each layer that is changed, with its change; ValueError if one is absent or has another size."""
        layers, places, odd = layers_of(pipe), [], []
        if self.layers.keys() - layers.keys():
            layers = compvis_layers(pipe) | layers
        for name, change in self.changes().items():
            if name in layers and change.fits(layers[name]):
                places.append((layers[name], change))
            else:
                here = tuple(layers[name].weight.shape) if name in layers else "absent"
                odd.append(f"{printed(name)} by {change.shape()} (here {here})")
        if odd:
            raise ValueError(
                f"{self.source} was made for another model, SD 2 or SDXL perhaps: it changes {some(odd)}"
            )
        if len({id(layer) for layer, _ in places}) < len(places):
            raise ValueError(
                f"{self.source} changes a layer twice, under two spellings: convert it to one of them"
            )
        return places

    @torch.no_grad()
    def merge(self, pipe: Model, scale: float = 1.0) -> None:
        """Change the weights, once; the same again with the opposite scale takes it out, but for rounding.

        (A DoRA can't be taken out so: it does not add, it sets lengths.)
        """
        for layer, change in self._places(pipe):
            layer.weight.copy_(layer.weight + change.delta(layer.weight, scale))
            bias = change.bias(scale)
            if bias is not None and layer.bias is not None:
                layer.bias.copy_(layer.bias + bias.to(layer.bias.device))

    def attach(self, pipe: Model, scale: float = 1.0) -> "LoRA":
        """Add the changes to the outputs of the model's layers until `remove`; the weights stay as they
        are.
        """
        if self._hooks:
            raise ValueError("this LoRA is attached already: set its scale, or remove it first")
        self.scale = scale
        for layer, change in self._places(pipe):
            # A partial of a method, where a lambda would do: a model with a LoRA attached can be pickled.
            self._hooks.append(layer.register_forward_hook(functools.partial(self._changed, change)))
        return self

    def _changed(self, change: Change, layer: Layer, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        """A layer's output with the change added."""
        return output + change(layer, inputs[0], self.scale)

    def remove(self) -> None:
        """Take the changes off again: the model computes exactly what it did before."""
        while self._hooks:
            self._hooks.pop().remove()
