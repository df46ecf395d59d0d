"""The single-file layout: all of Stable Diffusion 1.x in one file, under CompVis' names.

    model.diffusion_model.*           the U-Net
    first_stage_model.*               the VAE
    cond_stage_model.transformer.*    the text encoder, whose names are the folder layout's
    control_model.*                   a ControlNet, in files of its own or beside the others

The tensors are the folder layout's too; so `unet_name`, `vae_name` and `control_name` say under which name
the file has each.
Files of other tools have other words for the three parts (`PLACES`), and some have the folder layout's names.
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .checkpoint import (
    SAVERS,
    WEIGHTS,
    Net,
    build_empty,
    fill,
    load_model,
    own_names,
    read_json,
    save_tensors,
)
from .clip import TextEncoder
from .config import Config, ControlNetConfig, UNetConfig, VAEConfig, printed
from .controlnet import ControlNet
from .sd15 import CONTROLNET, SD15
from .sizes import control_sizes, fitting, text_sizes, unet_sizes, vae_sizes
from .tensors import WRAPPERS, read_metadata, read_tensors, some
from .unet import UNet
from .vae import AutoencoderKL

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer."
CONTROL = "control_model."
# The three parts' names in the files of other tools; the text encoder's may begin with no word at all.
PLACES = {
    UNET: r"(model\.diffusion_model|diffusion_model|unet)\.",
    VAE: r"(first_stage_model|vae)\.",
    TEXT: r"(cond_stage_model(\.clip_l)?\.transformer|text_encoders\.clip_l\.transformer|text_encoder|te)\."
    r"|te_(?=text_model\.)|(?=text_model\.)",
}
OUTER = rf"(?:(?:{'|'.join(WRAPPERS)})\.)*?"  # before which a training tool may have put its own
# What such files hold besides the networks: averaged copies of the weights, from training, the noise
# schedule, and what training tools and bundles add.
LEFTOVERS = re.compile(
    r"(model_ema|ema|ema_state_dict|optimizer\w*|lr_schedulers?|callbacks|loops|scheduler|safety_checker"
    r"|feature_extractor|embedding_manager|denoiser)\..*"
    r"|(betas|sigmas|alphas|log_sigmas|scale_factor|global_step|epoch|step|iteration)"
    r"|(log_|sqrt_)?(one_minus_|recip_|recipm1_)?alphas_cumprod(_prev)?|logvar"
    r"|lvlb_weights|posterior_(variance|log_variance_clipped|mean_coef[12])"
    r"|cond_stage_model\.(clip_l\.)?(logit_scale|text_projection(\.weight)?)"
    r"|text_encoders\.clip_l\.(logit_scale|text_projection(\.weight)?)"
)
# What a file is that has a name with this in it; the first that fits.
SIGNS = {
    r"lora[_.]": "a LoRA, which is added to a model",
    r"control_model\.|controlnet_|input_hint_block": "a ControlNet, which is added to a model (--controlnet)",
    r"emb_params|string_to_param": "an embedding from textual inversion, which is added to a model",
    r"conditioner\.embedders\.|add_embedding\.|text_encoder_2\.|clip_g\.": "SDXL",
    r"cond_stage_model\.model\.": "Stable Diffusion 2",
    r"^v_pred$|^ztsnr$": "a model that predicts v, which minisd has no sampler for",
    r"joint_blocks\.": "Stable Diffusion 3",
    r"(double|single)_blocks\.|single_transformer_blocks\.": "FLUX",
    r"^(down|input)_blocks\.": "a U-Net alone",
    r"^decoder\.": "a VAE alone",
    r"^(text_model|embeddings)\.": "a text encoder alone",
}
SETTINGS = "minisd.settings"  # the key of a file's metadata under which `save_single_file` writes the configs

UNET_15, VAE_15 = UNetConfig.from_dict(SD15["unet"]), VAEConfig.from_dict(SD15["vae"])

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


def unet_name(name: str, config: UNetConfig = UNET_15) -> str:
    """A tensor of the U-Net in the file: down_blocks.1.resnets.0.conv1.bias ->
    input_blocks.4.0.in_layers.2.bias.

    CompVis counts the layers of each path without a break: on the way down conv_in is number 0, then every
    level has its layers (two in Stable Diffusion) and a downsampling; on the way up every level has a layer
    more. The next number counts what stands in a layer: ResNet block, transformer, upsampling, as far as it
    has them.
    """
    numbers = config.layers_per_block + 1  # that a level takes
    match name.split("."):
        case ["down_blocks", i, "downsamplers", _, _, kind]:
            return f"input_blocks.{numbers * int(i) + numbers}.0.op.{kind}"
        case ["up_blocks", i, "upsamplers", _, _, kind]:
            behind = 2 if "CrossAttn" in config.up_block_types[int(i)] else 1
            return f"output_blocks.{numbers * int(i) + numbers - 1}.{behind}.conv.{kind}"
        case ["down_blocks", i, what, j, part, *rest]:
            place = f"input_blocks.{numbers * int(i) + int(j) + 1}.{int(what == 'attentions')}"
        case ["up_blocks", i, what, j, part, *rest]:
            place = f"output_blocks.{numbers * int(i) + int(j)}.{int(what == 'attentions')}"
        case ["mid_block", what, j, part, *rest]:  # ResNet block, transformer, ResNet block
            place = f"middle_block.{1 if what == 'attentions' else 2 * int(j)}"
        case [*module, kind]:
            return f"{UNET_ENDS['.'.join(module)]}.{kind}"
    return ".".join([place, UNET_RESNET.get(part, part), *rest])


def vae_name(name: str, config: VAEConfig = VAE_15) -> str:
    """A tensor of the VAE in the file: decoder.up_blocks.0.resnets.2.conv1.bias ->
    decoder.up.3.block.2.conv1.bias.

    CompVis numbers the decoder's levels from the picture inward, as the encoder's, so its first is the last.
    """
    last = len(config.block_out_channels) - 1
    match name.replace("to_out.0", "to_out").split("."):
        case ["encoder", "down_blocks", i, what, j, *rest]:
            place = f"encoder.down.{i}." + ("downsample" if what == "downsamplers" else f"block.{j}")
        case ["decoder", "up_blocks", i, what, j, *rest]:
            place = f"decoder.up.{last - int(i)}." + ("upsample" if what == "upsamplers" else f"block.{j}")
        case [half, "mid_block", what, j, *rest]:
            place = f"{half}.mid.{'attn' if what == 'attentions' else 'block'}_{int(j) + 1}"
        case [place, *rest]:
            pass
    return ".".join([place, *(VAE_PARTS.get(part, part) for part in rest)])


def control_name(name: str, config: ControlNetConfig) -> str:
    """A tensor of a ControlNet in the file: controlnet_down_blocks.3.bias -> zero_convs.3.0.bias.

    Its way down and middle are the U-Net's. Of the picture's convolutions every second number is a SiLU.
    """
    match name.split("."):
        case ["controlnet_cond_embedding", "conv_in", kind]:
            return f"input_hint_block.0.{kind}"
        case ["controlnet_cond_embedding", "blocks", i, kind]:
            return f"input_hint_block.{2 * int(i) + 2}.{kind}"
        case ["controlnet_cond_embedding", "conv_out", kind]:
            return f"input_hint_block.{4 * len(config.conditioning_embedding_out_channels) - 2}.{kind}"
        case ["controlnet_down_blocks", i, kind]:
            return f"zero_convs.{i}.0.{kind}"
        case ["controlnet_mid_block", kind]:
            return f"middle_block_out.0.{kind}"
    return unet_name(name, UNetConfig(layers_per_block=config.layers_per_block))


# ---- reading


def load_single_file(
    path: Path,
    device: str | torch.device,
    dtype: torch.dtype,
    configs: Mapping[str, Any] = SD15,
    vae: Path | None = None,
) -> tuple[TextEncoder, UNet, AutoencoderKL]:
    """The three networks of a Stable Diffusion 1.x file, every tensor accounted for.

    Their configs are those that the file holds, if minisd wrote it, else `configs` with the sizes that the
    tensors have: an inpainting U-Net reads 9 channels, some text encoders have fewer layers. `vae`: a file or
    folder to take the VAE from, whether this file has one or not. Raises FileNotFoundError or ValueError, in
    one line, for a broken file or one of another model.
    """
    parts = parts_of(read_tensors(path), path, without_vae=vae is not None)
    own = read_settings(path)
    configs = own if {"text_encoder", "unet", "vae"} <= own.keys() else with_sizes(configs, parts, path)
    return (
        read_part(TextEncoder, configs["text_encoder"], parts[TEXT], f"{path} ({TEXT}*)", device, dtype),
        read_part(UNet, configs["unet"], parts[UNET], f"{path} ({UNET}*)", device, dtype),
        read_part(AutoencoderKL, configs["vae"], parts[VAE], f"{path} ({VAE}*)", device, dtype)
        if vae is None
        else load_vae(vae, device, dtype),
    )


def with_sizes(
    configs: Mapping[str, Any], parts: Mapping[str, Mapping[str, Tensor]], path: Path
) -> dict[str, Any]:
    """The configs of the three networks with the sizes that their tensors have."""
    found = {
        "text_encoder": text_sizes(parts[TEXT]),
        "unet": unet_sizes(parts[UNET]),
        "vae": vae_sizes(parts[VAE]),
    }
    return {part: fitting(configs[part], sizes, f"{path} ({part})") for part, sizes in found.items()}


def parts_of(
    tensors: Mapping[str, Tensor], path: Path, without_vae: bool = False
) -> dict[str, dict[str, Tensor]]:
    """The tensors of U-Net, VAE and text encoder, by UNET, VAE and TEXT, each without that beginning.

    Raises ValueError for a file that has more or less than the three.
    """
    parts: dict[str, dict[str, Tensor]] = {UNET: {}, VAE: {}, TEXT: {}}
    strange = []
    for name, tensor in tensors.items():
        place, rest = place_of(name)
        if place and rest in parts[place]:
            raise ValueError(
                f"{path} holds {printed(place + rest)} twice, under several spellings: fetch it again"
            )
        if place:
            parts[place][rest] = tensor
        elif not is_leftover(name):
            strange.append(name)
    absent = [place for place, part in parts.items() if not part]
    if absent == [VAE] and not strange and not any("lora" in name for name in tensors):
        if not without_vae:
            raise ValueError(
                f"{path} holds no VAE: give one with --vae FILE (vae=PATH in Python), such as the folder "
                "vae/ of any Stable Diffusion 1.x model"
            )
    elif strange or absent:
        looks = [what for sign, what in SIGNS.items() if any(re.search(sign, name) for name in tensors)]
        found = f"it has {some(sorted(strange))}" if strange else f"it has nothing under {absent[0]}"
        raise ValueError(
            f"{path} looks like {[*looks, 'another model, or a part of one'][0]}: {found}; give a whole "
            "checkpoint of Stable Diffusion 1.x"
        )
    return parts


def is_leftover(name: str) -> bool:
    """Whether a tensor is no part of a network: the schedule's, a training tool's."""
    return re.fullmatch(f"{OUTER}({LEFTOVERS.pattern})", name) is not None


def place_of(name: str) -> tuple[str, str]:
    """Which of the three parts a tensor belongs to, and its name there; ("", name) for none of them."""
    clean = ".".join(part for part in name.split(".") if part not in SAVERS)
    if not is_leftover(clean):
        for place, words in PLACES.items():
            if found := re.match(f"{OUTER}({words})", clean):
                return place, clean[found.end() :]
    return "", name


def read_part(
    build: Callable[[Any], Net],
    config: Mapping[str, Any],
    part: Mapping[str, Tensor],
    source: str,
    device: str | torch.device,
    dtype: torch.dtype,
) -> Net:
    """A network of its own tensors, named as CompVis or diffusers name them."""
    try:
        network = build_empty(build, config)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    rename: Callable[[str], str] = str
    if not any(".resnets." in name for name in part):  # CompVis has no such word
        if isinstance(network, UNet):
            rename = partial(unet_name, config=network.config)
        if isinstance(network, AutoencoderKL):
            rename = partial(vae_name, config=network.config)
        if isinstance(network, ControlNet):
            rename = partial(control_name, config=network.config)
    own = {rename(name) for name in network.state_dict()}
    fill(network, own_names(part, own, source), source, device, dtype, rename)
    return network


def load_vae(
    path: Path,
    device: str | torch.device,
    dtype: torch.dtype,
    config: Mapping[str, Any] | None = None,
) -> AutoencoderKL:
    """A VAE from its folder, a model's folder, its own file, or a whole checkpoint's one file.

    config: by default the folder's config.json, also of a file beside one, or what minisd wrote into a
    checkpoint, else Stable Diffusion 1.5's. Raises FileNotFoundError or ValueError, in one line.
    """
    if path.is_dir():
        folder = path / "vae" if (path / "vae").is_dir() else path
        return load_model(AutoencoderKL, folder, WEIGHTS, device, dtype)
    tensors = read_tensors(path)
    part = {
        place_of(name)[1]: tensor for name, tensor in tensors.items() if place_of(name)[0] == VAE
    } or tensors
    config = config or read_settings(path).get("vae") or config_beside(path, VAEConfig)
    if config is None:
        config = fitting(SD15["vae"], vae_sizes(part), f"{path}")
    return read_part(AutoencoderKL, config, part, f"{path}", device, dtype)


def load_controlnet(path: Path, device: str | torch.device, dtype: torch.dtype) -> ControlNet:
    """A ControlNet from its folder, a folder of a model that has one, or its own file, in either layout.

    Its config is the folder's config.json, also of a file beside one, else ControlNet 1.x's with the sizes
    that the tensors have. Raises FileNotFoundError or ValueError, in one line.
    """
    if not path.exists():
        raise FileNotFoundError(f"no ControlNet at {path}: give its folder or its file")
    if path.is_dir():
        folder = path / "controlnet" if (path / "controlnet").is_dir() else path
        if (path / "controlnet_1").exists():
            raise ValueError(f"{path} has several ControlNets; give the folder of one, such as {folder}")
        if not (folder / "config.json").exists():
            raise FileNotFoundError(f"{folder} has no config.json: it is no ControlNet in diffusers layout")
        return load_model(ControlNet, folder, WEIGHTS, device, dtype)
    tensors = read_tensors(path)
    places = {name: re.match(rf"{OUTER}(control_model|controlnet)\.", name) for name in tensors}
    part = {name[place.end() :]: tensors[name] for name, place in places.items() if place} or dict(tensors)
    if any(name.startswith(("label_emb.", "add_embedding.")) for name in part):
        raise ValueError(f"{path} is a ControlNet for SDXL; give one for Stable Diffusion 1.x")
    if not any(name.startswith(("input_hint_block.", "controlnet_cond_embedding.")) for name in part):
        raise ValueError(
            f"{path} holds no ControlNet: it has {some(sorted(part))}; give the file or folder of a "
            "ControlNet for Stable Diffusion 1.x"
        )
    config = config_beside(path, ControlNetConfig) or fitting(CONTROLNET, control_sizes(part), f"{path}")
    return read_part(ControlNet, config, part, f"{path}", device, dtype)


def config_beside(path: Path, kind: type[Config]) -> dict[str, Any] | None:
    """What a config.json beside a file says, if it is of this kind of network."""
    beside = path.with_name("config.json")
    config = read_json(beside) if beside.is_file() else {}
    return config if config.get("_class_name") == kind.CLASS else None


def read_settings(path: Path) -> dict[str, Any]:
    """What `save_single_file` wrote into a file beside the tensors; nothing for another program's file.

    "text_encoder", "unet", "vae", "scheduler": the configs, as far as they were given; "guidance_scale".
    """
    text = read_metadata(path).get(SETTINGS, "{}")
    try:
        settings = json.loads(text)
    except (ValueError, RecursionError):
        settings = None
    if not isinstance(settings, dict) or not all(
        isinstance(settings.get(part, {}), dict) for part in ("text_encoder", "unet", "vae", "scheduler")
    ):
        raise ValueError(f"{path} is damaged: its {SETTINGS} is no JSON object of configs; fetch it again")
    return settings


# ---- writing


def save_single_file(
    text_encoder: TextEncoder,
    unet: UNet,
    vae: AutoencoderKL,
    path: Path,
    dtype: torch.dtype = torch.float32,
    scheduler: Mapping[str, Any] | None = None,
    guidance_scale: float | None = None,
) -> None:
    """Write three networks as one safetensors file, which programs for the original code's files open too.

    Their configs, and those of the scheduler and of guidance where given, go into the file's metadata, so
    that networks of any size come back. A tokenizer is not in such files.
    """
    tensors = {UNET + unet_name(name, unet.config): tensor for name, tensor in unet.state_dict().items()}
    for name, tensor in vae.state_dict().items():
        attention = ".attentions." in name and tensor.ndim == 2  # CompVis has 1x1 convolutions there
        stored = tensor[:, :, None, None] if attention else tensor
        tensors[VAE + vae_name(name, vae.config)] = stored
    tensors |= {TEXT + name: tensor for name, tensor in text_encoder.state_dict().items()}
    positions = torch.arange(text_encoder.config.max_position_embeddings)[None]
    tensors[f"{TEXT}text_model.embeddings.position_ids"] = positions
    networks: dict[str, Config] = {
        "text_encoder": text_encoder.config,
        "unet": unet.config,
        "vae": vae.config,
    }
    settings: dict[str, Any] = {part: config.to_dict() for part, config in networks.items()}
    if scheduler is not None:
        settings["scheduler"] = dict(scheduler)
    if guidance_scale is not None:
        settings["guidance_scale"] = guidance_scale
    save_tensors(tensors, path, dtype, {SETTINGS: json.dumps(settings)})
