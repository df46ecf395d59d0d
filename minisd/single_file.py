"""The single-file layout: all of Stable Diffusion 1.x in one .safetensors or .ckpt file, under CompVis'
names.

    model.diffusion_model.*           the U-Net
    first_stage_model.*               the VAE
    cond_stage_model.transformer.*    the text encoder, whose names are the folder layout's

The tensors are the folder layout's too; so `unet_name` and `vae_name` say under which name the file has each.
"""

import re
from pathlib import Path

import torch

from .checkpoint import build_empty, fill, published_names, read_tensors, some
from .clip import TextEncoder
from .sd15 import SD15
from .unet import UNet
from .vae import AutoencoderKL

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer."
# What such files hold besides the networks: averaged copies of the weights, from training, and the noise
# schedule.
LEFTOVERS = re.compile(
    r"model_ema\..*|betas|(log_|sqrt_)?(one_minus_|recip_|recipm1_)?alphas_cumprod(_prev)?|logvar"
    r"|lvlb_weights|posterior_(variance|log_variance_clipped|mean_coef[12])"
)
# What a file is that has a name with this in it; the first that fits.
SIGNS = {
    r"lora[_.]": "a LoRA, which is added to a model",
    r"control_model\.|controlnet_|input_hint_block": "a ControlNet, which is added to a model",
    r"emb_params|string_to_param": "an embedding from textual inversion, which is added to a model",
    r"conditioner\.embedders\.|add_embedding\.": "SDXL",
    r"cond_stage_model\.model\.": "Stable Diffusion 2",
    r"joint_blocks\.": "Stable Diffusion 3",
    r"(double|single)_blocks\.|single_transformer_blocks\.": "FLUX",
    r"^(down|input)_blocks\.": "a U-Net alone",
    r"^decoder\.": "a VAE alone",
    r"^(text_model|embeddings)\.": "a text encoder alone",
}

UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "conv_norm_out": "out.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_out": "out.2",
}
UNET_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
VAE_PARTS = {
    "conv_norm_out": "norm_out",
    "conv_shortcut": "nin_shortcut",
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out": "proj_out",
}


def unet_name(name: str) -> str:
    """A tensor of the U-Net in the file: down_blocks.1.resnets.0.conv1.bias ->
    input_blocks.4.0.in_layers.2.bias.

    CompVis counts the layers of each path without a break: on the way down conv_in is number 0, then every
    level has two layers and a downsampling; on the way up every level has three layers. The next number
    counts what stands in a layer: ResNet block, transformer, upsampling, as far as it has them.
    """
    match name.split("."):
        case ["down_blocks", i, "downsamplers", _, _, kind]:
            return f"input_blocks.{3 * int(i) + 3}.0.op.{kind}"
        case ["up_blocks", i, "upsamplers", _, _, kind]:  # level 0, the lowest, has no transformers
            return f"output_blocks.{3 * int(i) + 2}.{1 if i == '0' else 2}.conv.{kind}"
        case ["down_blocks", i, what, j, part, *rest]:
            place = f"input_blocks.{3 * int(i) + int(j) + 1}.{int(what == 'attentions')}"
        case ["up_blocks", i, what, j, part, *rest]:
            place = f"output_blocks.{3 * int(i) + int(j)}.{int(what == 'attentions')}"
        case ["mid_block", what, j, part, *rest]:  # ResNet block, transformer, ResNet block
            place = f"middle_block.{1 if what == 'attentions' else 2 * int(j)}"
        case [*module, kind]:
            return f"{UNET_ENDS['.'.join(module)]}.{kind}"
    return ".".join([place, UNET_RESNET.get(part, part), *rest])


def vae_name(name: str) -> str:
    """A tensor of the VAE in the file: decoder.up_blocks.0.resnets.2.conv1.bias ->
    decoder.up.3.block.2.conv1.bias.

    CompVis numbers the decoder's levels from the picture inward, as the encoder's, so its first is number 3.
    """
    match name.replace("to_out.0", "to_out").split("."):
        case ["encoder", "down_blocks", i, what, j, *rest]:
            place = f"encoder.down.{i}." + ("downsample" if what == "downsamplers" else f"block.{j}")
        case ["decoder", "up_blocks", i, what, j, *rest]:
            place = f"decoder.up.{3 - int(i)}." + ("upsample" if what == "upsamplers" else f"block.{j}")
        case [half, "mid_block", what, j, *rest]:
            place = f"{half}.mid.{'attn' if what == 'attentions' else 'block'}_{int(j) + 1}"
        case [place, *rest]:
            pass
    return ".".join([place, *(VAE_PARTS.get(part, part) for part in rest)])


def load_single_file(
    path: Path, device: str, dtype: torch.dtype, configs: dict = SD15
) -> tuple[TextEncoder, UNet, AutoencoderKL]:
    """The three networks of a Stable Diffusion 1.x file, every tensor accounted for.

    They are those of `configs`, but the U-Net reads as many channels as the file says: 4, or 9 for
    inpainting. Raises FileNotFoundError or ValueError, in one line, for a broken file or one of another
    model.
    """
    tensors = {key: tensor for key, tensor in read_tensors(path).items() if not LEFTOVERS.fullmatch(key)}
    strange = sorted(key for key in tensors if not key.startswith((UNET, VAE, TEXT)))
    absent = [prefix for prefix in (UNET, VAE, TEXT) if not any(key.startswith(prefix) for key in tensors)]
    if strange or absent:
        looks = [what for sign, what in SIGNS.items() if any(re.search(sign, key) for key in tensors)]
        found = f"it has {some(strange)}" if strange else f"it has nothing under {absent[0]}"
        raise ValueError(
            f"{path} looks like {[*looks, 'another model, or a part of one'][0]}: {found}; give a whole "
            "checkpoint of Stable Diffusion 1.x"
        )
    first = tensors.get(f"{UNET}input_blocks.0.0.weight")
    channels = {"in_channels": first.shape[1]} if first is not None and first.ndim == 4 else {}
    networks = []
    for build, config, prefix, rename in (
        (TextEncoder, configs["text_encoder"], TEXT, str),
        (UNet, configs["unet"] | channels, UNET, unet_name),
        (AutoencoderKL, configs["vae"], VAE, vae_name),
    ):
        part = {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
        for (
            key
        ) in part:  # the VAE's attention is written as 1x1 convolutions: (out, in, 1, 1) holds our (out, in)
            part[key] = part[key].flatten(1) if ".attn_1." in key and part[key].ndim == 4 else part[key]
        networks.append(build_empty(build, config))
        fill(networks[-1], published_names(part), f"{path} ({prefix}*)", device, dtype, rename)
    return tuple(networks)
