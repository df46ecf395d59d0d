"""Small files that teach a model something new: low-rank adapters (LoRA) and learned words (textual
inversion).

A LoRA changes a weight W into W + scale * alpha / rank * up @ down (Hu et al. 2021, section 4.1, with up = B,
down = A, rank = r). Files spell the names of the same tensors in several ways:

    lora_unet_mid_block_attentions_0_proj_in.lora_down.weight, .lora_up.weight, .alpha            kohya's scripts
    unet.mid_block.attentions.0.proj_in.lora_A.weight, .lora_B.weight; also .lora.down.weight     diffusers, PEFT
    text_encoder.text_model.encoder.layers.0.mlp.fc1.lora_linear_layer.down.weight                diffusers
    unet.mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.down.weight        diffusers of 2023
"""

import json
import math
import pickle
import re
from collections import defaultdict
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .checkpoint import read_tensors, some
from .files import whole

TENSOR_NAME = re.compile(r"(.+?)(?:[._]lora(?:_linear_layer)?[._](down|up|A|B)\.weight|\.(alpha))")
ATTENTION = ("to_q", "to_k", "to_v", "to_out_0")  # what a new LoRA changes, as in diffusers' training scripts
ROLES = {"A": "down", "B": "up"}
SPELLINGS = {  # from every way of writing a layer's name to one, applied in this order
    r"\.processor\b": "",
    r"\.": "_",
    r"^lora_unet_": "unet_",
    r"^(lora_te|text_encoder)_(text_model_)?": "text_encoder_",  # transformers 5 leaves text_model out
    r"_self_attn_to_(q|k|v|out)$": r"_self_attn_\1_proj",
    r"(attn\d_to_out)$": r"\1_0",
    r"^(?!unet_|text_encoder_)": "unet_",  # a file for the U-Net alone may have no prefix
}
# What else goes by the name of LoRA, told by a part of its tensors' names.
OTHERS = {
    "lora_te1_": "made for SDXL",
    "lora_te2_": "made for SDXL",
    "text_encoder_2": "made for SDXL",
    "transformer.": "made for a later model",
    "hada_": "a LyCORIS LoHa",
    "lokr_": "a LyCORIS LoKr",
    "lora_mid": "a LyCORIS with three matrices",
    "oft_": "an OFT",
    "dora_scale": "a DoRA",
    "lora_magnitude": "a DoRA",
}


def one_name(name: str) -> str:
    """A layer's name, the same for all spellings: unet.conv_in and lora_unet_conv_in -> unet_conv_in."""
    for pattern, replacement in SPELLINGS.items():
        name = re.sub(pattern, replacement, name)
    return name


def layers_of(pipe) -> dict[str, nn.Linear | nn.Conv2d]:
    """Every layer of U-Net and text encoder that a LoRA can change, by its one name."""
    return {
        one_name(f"{part}.{name}"): layer
        for part in ("unet", "text_encoder")
        for name, layer in getattr(pipe, part).named_modules()
        if isinstance(layer, (nn.Linear, nn.Conv2d))
    }


def stored_config(path: Path) -> dict:
    """The adapter's settings that diffusers keeps in a safetensors file: "unet.lora_alpha" and the like."""
    if path.suffix != ".safetensors":
        return {}
    with safe_open(path, framework="pt") as file:
        return json.loads((file.metadata() or {}).get("lora_adapter_metadata", "{}"))


class LowRank(nn.Module):
    """The change of one layer, alpha / rank * up @ down; without an alpha, up @ down.

    down (rank, in) or, for a convolution, (rank, in, height, width); up (out, rank) or (out, rank, 1, 1).
    """

    def __init__(self, down: Tensor, up: Tensor, alpha: float | None = None):
        super().__init__()
        self.down, self.up = nn.Parameter(down), nn.Parameter(up)
        self.factor = 1.0 if alpha is None else float(alpha) / len(down)

    def forward(self, layer: nn.Linear | nn.Conv2d, x: Tensor) -> Tensor:
        """What is added to the layer's output: two thin layers, never the product of their weights."""
        down, up = (
            self.down.to(layer.weight).reshape(-1, *layer.weight.shape[1:]),
            self.up.to(layer.weight).flatten(1),
        )
        if isinstance(layer, nn.Linear):
            return self.factor * F.linear(F.linear(x, down), up)
        return self.factor * F.conv2d(
            F.conv2d(x, down, None, layer.stride, layer.padding), up[:, :, None, None]
        )


class LoRA(nn.Module):
    """Low-rank changes of a model, to be merged into its weights or kept apart.

        lora = LoRA.from_file("style.safetensors")
        lora.merge(pipe, scale=0.7)      # changes the weights
        lora.attach(pipe, scale=0.7)     # or: leaves the weights as they are;
        lora.scale = 0.3                 #     can be made stronger or weaker between two pictures
        lora.remove()                    #     and taken off again

    `layers` holds a LowRank for each changed layer; their tensors are parameters and can be trained while
    attached. Several LoRAs can be attached at a time; their changes add up.
    """

    def __init__(self, layers: dict[str, LowRank]):
        super().__init__()
        self.layers, self.scale, self._hooks = nn.ModuleDict(layers), 1.0, []

    @classmethod
    def from_file(cls, path: str | Path) -> "LoRA":
        """Read a LoRA for Stable Diffusion 1.x, its names spelt in any of the ways above.

        Raises FileNotFoundError, or ValueError in one line for a file that holds anything else or more.
        """
        path, parts = Path(path), defaultdict(dict)
        tensors, config = read_tensors(path), stored_config(path)
        odd = [key for key in tensors if not TENSOR_NAME.fullmatch(key)]
        for match in filter(None, map(TENSOR_NAME.fullmatch, tensors)):
            role = match[2] or match[3]
            parts[one_name(match[1])][ROLES.get(role, role)] = tensors[match[0]]
        odd += [
            key
            for key, on in config.items()
            if on and key.endswith(("alpha_pattern", "use_rslora", "use_dora"))
        ]
        odd += [
            name
            for name, part in parts.items()
            if not {"down", "up"} <= part.keys()
            or part["up"].shape[1:2] != part["down"].shape[:1]
            or not all(tensor.isfinite().all() for tensor in part.values())
        ]
        other = [(kind, key) for sign, kind in OTHERS.items() for key in tensors if sign in key]
        if odd or other or not parts:
            kind, names = (
                (other[0][0], [key for _, key in other]) if other else ("no whole LoRA", odd or ["nothing"])
            )
            raise ValueError(
                f"{path} is {kind}, with {some(names)}: minisd reads plain LoRA for Stable Diffusion 1.x"
            )
        for name, part in parts.items():
            network = "unet" if name.startswith("unet_") else "text_encoder"
            alpha = config.get(f"{network}.lora_alpha", config.get("lora_alpha"))
            parts[name] = LowRank(part["down"], part["up"], part.get("alpha", alpha))
        return cls(parts)

    @classmethod
    def new(cls, pipe, rank: int, targets: tuple[str, ...] = ATTENTION, seed: int = 0) -> "LoRA":
        """A LoRA to be trained, for every layer whose name ends in one of `targets`; at first it changes
        nothing.

        down is Gaussian, up zero (Hu et al. 2021, section 4.1); 1 / rank is diffusers' standard deviation.
        """
        generator = torch.Generator().manual_seed(seed)
        weights = {name: layer.weight for name, layer in layers_of(pipe).items() if name.endswith(targets)}
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
        tensors = {}
        for name, low in self.layers.items():
            name = name.replace("unet_", "lora_unet_", 1).replace("text_encoder_", "lora_te_text_model_", 1)
            tensors |= {
                f"{name}.lora_down.weight": low.down,
                f"{name}.lora_up.weight": low.up,
                f"{name}.alpha": torch.tensor(low.factor * len(low.down)),
            }
        with whole(Path(path)) as part:
            save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, part)

    def _places(self, pipe) -> list[tuple[nn.Linear | nn.Conv2d, LowRank]]:
        """Each layer that is changed, with its change; ValueError if one is absent or has another size."""
        layers, odd = layers_of(pipe), []
        for name, low in self.layers.items():
            shape = tuple(layers[name].weight.shape) if name in layers else ()
            if (len(low.up), *low.down.shape[1:2], low.down[0].numel()) != (*shape[:2], math.prod(shape[1:])):
                odd.append(
                    f"{name} by {tuple(low.up.shape)} @ {tuple(low.down.shape)} (here {shape or 'absent'})"
                )
        if odd:
            raise ValueError(
                f"the LoRA was made for another model, SD 2 or SDXL perhaps: it changes {some(odd)}"
            )
        return [(layers[name], low) for name, low in self.layers.items()]

    @torch.no_grad()
    def merge(self, pipe, scale: float = 1.0) -> None:
        """Change the weights, once; the same again with the opposite scale takes it out, but for rounding."""
        for layer, low in self._places(pipe):
            up, down = (x.flatten(1).to(layer.weight.device, torch.float32) for x in (low.up, low.down))
            layer.weight.copy_(layer.weight + scale * low.factor * (up @ down).reshape(layer.weight.shape))

    def attach(self, pipe, scale: float = 1.0) -> "LoRA":
        """Add the changes to the outputs of the model's layers until `remove`; the weights stay as they are."""
        if self._hooks:
            raise ValueError("this LoRA is attached already: set its scale, or remove it first")
        self.scale = scale
        for layer, low in self._places(pipe):
            add = lambda layer, inputs, output, low=low: output + self.scale * low(layer, inputs[0])  # noqa: E731
            self._hooks.append(layer.register_forward_hook(add))
        return self

    def remove(self) -> None:
        """Take the changes off again: the model computes exactly what it did before."""
        while self._hooks:
            self._hooks.pop().remove()


def add_embedding(pipe, path: str | Path, token: str | None = None) -> str:
    """Teach a model a learned word from its file; returns the word as prompts must hold it (Gal et al. 2022).

    The files: diffusers' {word: vector or vectors}, AUTOMATIC1111's {"string_to_param": {"*": vectors},
    "name": word}, or a safetensors with "emb_params", whose word is the file's name. `token` replaces the
    word of the file. Raises ValueError, in one line, for another file, for vectors of another width, for a
    word that is a token already.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        found = read_tensors(path)
    else:
        try:
            found = torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError):
            raise ValueError(
                f"{path} is damaged, or holds what could run any code: it is not loaded"
            ) from None
    if isinstance(found, dict) and isinstance(params := found.get("string_to_param"), dict):
        found = {found.get("name") or path.stem: params.get("*")}
    name, vectors = [*found.items()][0] if isinstance(found, dict) and len(found) == 1 else ("", None)
    if not isinstance(vectors, Tensor) or not vectors.numel() or not vectors.isfinite().all():
        raise ValueError(
            f"{path} holds no vectors of one word for Stable Diffusion 1.x, or NaN: give a file of "
            "textual inversion, from diffusers or AUTOMATIC1111"
        )
    vectors, table = (
        torch.atleast_2d(vectors.detach()),
        pipe.text_encoder.text_model.embeddings.token_embedding,
    )
    if vectors.shape != (len(vectors), table.embedding_dim):
        made_for = {768: "SD 1.x", 1024: "SD 2", 1280: "SDXL"}.get(vectors.shape[-1], "another model")
        raise ValueError(
            f"{path} was made for {made_for}: its vectors are {tuple(vectors.shape)}, a word of this "
            f"model has {table.embedding_dim} numbers"
        )
    token = token or (path.stem if name == "emb_params" else name)
    pipe.tokenizer.add(token, len(vectors))
    old = table.weight
    table.weight = nn.Parameter(torch.cat([old.detach(), vectors.to(old)]), old.requires_grad)
    table.num_embeddings = pipe.text_encoder.vocab_size = len(table.weight)
    return token
