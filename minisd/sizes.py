"""What the shapes of a network's tensors say of its config, where a file brings no config.

The names are those of the single-file layout (`single_file`), without the part's own beginning. No shape
tells how many heads share an attention, nor how many groups a normalisation has: `fitting` takes them from a
known config where they fit.
"""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from .notes import note

Shapes = Mapping[str, tuple[int, ...]]
HEADS, GROUPS = "attention_head_dim", "norm_num_groups"


def shapes_of(part: Mapping[str, Tensor]) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in part.items()}


def numbers(pattern: str, names: Iterable[str]) -> list[int]:
    """The different numbers that stand in a place of the names, in order."""
    return sorted({int(found[1]) for name in names if (found := re.match(pattern, name))})


def down_sizes(shapes: Shapes) -> dict[str, Any]:
    """What the shapes tell of the way down; KeyError or IndexError if one that would tell is not there."""
    halvings = numbers(r"input_blocks\.(\d{1,3})\.0\.op\.", shapes)
    layers = (halvings or numbers(r"input_blocks\.(\d{1,3})\.0\.in_layers", shapes) or [0])[-1]
    each = halvings[0] if halvings else layers + 1  # numbers that a level takes
    downs = [f"input_blocks.{each * i + 1}" for i in range(len(halvings) + 1)]
    words = [name for name in shapes if name.endswith("attn2.to_k.weight")]
    return {
        "in_channels": shapes["input_blocks.0.0.weight"][1],
        "block_out_channels": [shapes[f"{down}.0.out_layers.3.weight"][0] for down in downs],
        "layers_per_block": each - 1,
        "down_block_types": [f"{attends(down, shapes)}DownBlock2D" for down in downs],
        "cross_attention_dim": shapes[words[0]][1],
    }


def unet_sizes(part: Mapping[str, Tensor]) -> dict[str, Any]:
    """The U-Net's config as its shapes tell it; {} if a tensor that would tell is not there."""
    shapes = shapes_of(part)
    try:
        sizes = down_sizes(shapes)
        each, levels = sizes["layers_per_block"] + 1, len(sizes["block_out_channels"])
        ups = [f"output_blocks.{each * i}" for i in range(levels)]
        return sizes | {
            "out_channels": shapes["out.2.weight"][0],
            "up_block_types": [f"{attends(up, shapes)}UpBlock2D" for up in ups],
        }
    except (KeyError, IndexError):
        return {}


def control_sizes(part: Mapping[str, Tensor]) -> dict[str, Any]:
    """A ControlNet's config as its shapes tell it; {} if a tensor that would tell is not there."""
    shapes = shapes_of(part)
    hints = numbers(r"input_hint_block\.(\d{1,2})\.weight", shapes)  # 0; 2, 4 for each halving; the last
    try:
        widths = [shapes[f"input_hint_block.{i}.weight"][0] for i in hints]
        return down_sizes(shapes) | {
            "conditioning_channels": shapes["input_hint_block.0.weight"][1],
            "conditioning_embedding_out_channels": [widths[0], *widths[2:-1:2]],
        }
    except (KeyError, IndexError):
        return {}


def attends(place: str, shapes: Shapes) -> str:
    """Whether there is a transformer after a ResNet block, as diffusers says it."""
    return "CrossAttn" if f"{place}.1.norm.weight" in shapes else ""


def vae_sizes(part: Mapping[str, Tensor]) -> dict[str, Any]:
    """The VAE's config as its shapes tell it; {} if a tensor that would tell is not there."""
    shapes = shapes_of(part)
    levels = len(numbers(r"encoder\.down\.(\d{1,2})\.", shapes))
    try:
        return {
            "in_channels": shapes["encoder.conv_in.weight"][1],
            "out_channels": shapes["decoder.conv_out.weight"][0],
            "latent_channels": shapes["post_quant_conv.weight"][0],
            "block_out_channels": [
                shapes[f"encoder.down.{i}.block.0.conv1.weight"][0] for i in range(max(levels, 1))
            ],
            "layers_per_block": len(numbers(r"encoder\.down\.0\.block\.(\d{1,2})\.", shapes)),
            "down_block_types": ["DownEncoderBlock2D"] * levels,
            "up_block_types": ["UpDecoderBlock2D"] * levels,
        }
    except (KeyError, IndexError):
        return {}


def text_sizes(part: Mapping[str, Tensor]) -> dict[str, Any]:
    """The text encoder's config as its shapes tell it; {} if a tensor that would tell is not there.

    Some files leave out the last layers, which are not used with clip skip.
    """
    shapes = {name.removeprefix("text_model."): shape for name, shape in shapes_of(part).items()}
    try:
        vocabulary, width = shapes["embeddings.token_embedding.weight"]
        return {
            "vocab_size": vocabulary,
            "hidden_size": width,
            "intermediate_size": shapes["encoder.layers.0.mlp.fc1.weight"][0],
            "num_hidden_layers": len(numbers(r"encoder\.layers\.(\d{1,3})\.", shapes)),
            "max_position_embeddings": shapes["embeddings.position_embedding.weight"][0],
        }
    except (KeyError, IndexError, ValueError):
        return {}


def fitting(known: Mapping[str, Any], found: Mapping[str, Any], source: str) -> dict[str, Any]:
    """A known config with the sizes that were found; its heads and groups are kept if they fit the sizes.

    If not, smaller ones are taken that do, with a note: the file then paints, but perhaps not as it should.
    """
    config = {**known, **found}
    shared = {GROUPS: config.get("block_out_channels"), HEADS: config.get("block_out_channels")}
    shared["num_attention_heads"] = [config.get("hidden_size", 0)]
    guessed = []
    for key, widths in shared.items():
        count = config.get(key)
        if isinstance(count, int) and widths and math.gcd(*widths) and math.gcd(*widths) % count:
            config[key] = next(n for n in range(count, 0, -1) if math.gcd(*widths) % n == 0)
            guessed.append(f"{key}={config[key]}")
    if guessed:
        note(
            f"{source} is not of Stable Diffusion 1.5's size and brings no config: {', '.join(guessed)} is a "
            "guess, and pictures may be wrong; a folder with the configs is better"
        )
    return config
