"""The files of LoRA and its kin, as kohya's scripts, diffusers, PEFT, LyCORIS and OneTrainer write them.

The same tensors go by many names:

    kohya's scripts    lora_unet_mid_block_attentions_0_proj_in.lora_down.weight, .lora_up.weight, .alpha
    other trainers     lora_unet_middle_block_1_proj_in.lora_down.weight; lora_unet.mid_block. ...
    diffusers          unet.mid_block.attentions.0.proj_in.lora_A.weight, .lora_B.weight; .lora.down.weight
                       text_encoder.text_model.encoder.layers.0.mlp.fc1.lora_linear_layer.down.weight
    ... of 2023        unet.mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.down.weight
    PEFT               base_model.model.mid_block.attentions.0.proj_in.lora_A.weight, with settings beside

`read_lora` gives them one name each, and says of what it can't use what it is.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from .config import printed, shown
from .notes import note
from .tensors import check_file, read_metadata, read_tensors, some

GIVE = "give a LoRA's file, or the folder of an adapter"
READS = "minisd reads LoRA, LoCon, LoHa, LoKr, DoRA and full differences for Stable Diffusion 1.x"
IN_FOLDER = [
    f"{stem}.{end}" for stem in ("adapter_model", "pytorch_lora_weights") for end in ("safetensors", "bin")
]

# A tensor's name: the layer's, then what the tensor is of it (its role).
ROLES = [
    re.compile(r"(.+?)[._]lora(?:_linear_layer)?[._](down|up|mid|A|B)(?:\.default)?\.weight"),
    re.compile(r"(.+)\.(lora_magnitude_vector)(?:\.default)?(?:\.weight)?"),
    re.compile(
        r"(.+)\.(alpha|dora_scale|diff(?:_b)?|[wb]_norm|hada_(?:w[12]_[ab]|t[12])|lokr_(?:w[12](?:_[ab])?|t2))"
    ),
]
ONE_ROLE = {"A": "down", "B": "up", "w_norm": "diff", "b_norm": "diff_b"}
SPELLINGS = {  # from every way of writing a layer's name to one, applied in this order
    r"\.processor\b": "",
    r"^(unet\.|text_encoder\.)?base_model\.model\.": r"\1",
    r"\.": "_",
    r"^lycoris_": "",
    r"^(lora_unet|diffusion_model)_": "unet_",
    r"^(lora_te|text_encoder|text_encoders_clip_l_transformer)_(text_model_)?": "text_encoder_",
    r"^(text_model_)?encoder_layers_": "text_encoder_encoder_layers_",  # transformers 5 leaves text_model out
    r"_self_attn_to_(q|k|v|out)$": r"_self_attn_\1_proj",
    r"(attn\d_to_out)$": r"\1_0",
    r"^(?!unet_|text_encoder_)": "unet_",  # a file for the U-Net alone may have no prefix
}
# What else is given as a LoRA, told by a part of its tensors' names; the first that fits.
OTHERS = {
    r"(double|single)_blocks[._]|single_transformer_blocks": "made for FLUX or another later model",
    r"joint_blocks[._]": "made for Stable Diffusion 3",
    r"(^|[._])blocks[._]\d+[._](self_attn|cross_attn|ffn)": "made for Wan or another later model",
    r"^(base_model\.model\.)?(lora_)?transformer[._]": "made for a later model, with a transformer",
    r"lora_te[12][._]|text_encoder_2|transformer_blocks[._][1-9]": "made for SDXL",
    r"motion_modules|temporal_transformer": "a motion LoRA, for AnimateDiff",
    r"^(image_proj|ip_adapter)\.": "an IP-Adapter, which reads pictures",
    r"controlnet|^control_model": "made for a ControlNet",
    r"oft_(blocks|diag|r|s)\b|oft_[RS]\b": "an OFT or BOFT, which turns weights by rotations",
    r"\.[ab][12]\.weight$": "a GLoRA, which also multiplies the weights by a matrix",
    r"ia3_l|\.on_input$": "an (IA)^3, which scales inputs and outputs",
    r"vera_|hra_|fourierft|poly_lora|lora_embedding": "another kind of adapter of PEFT's",
    r"^(model\.diffusion_model|cond_stage_model|first_stage_model)\.": "a model, to be given with --model",
    r"emb_params$|string_to_param|^clip_[lg]$": "an embedding, to be given with --embedding",
}
LEFTOVERS = re.compile(r"(optimizer(_states)?|lr_schedulers?|global_step|epoch|steps?|iteration)(\.|$)")
BUNDLE = "bundle_emb."  # before the learned words that AUTOMATIC1111's interface reads from a LoRA's file
TURNED = ("pissa", "olora", "loftq", "corda", "eva_turned")  # ways to begin that change the weights, too


@dataclass(frozen=True)
class Part:
    """One layer's tensors by their roles, with the settings of its network."""

    name: str  # the layer's one name
    spelt: str  # the layer's name in the file
    settings: Mapping[str, Any]
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def factor(self, rank: int | None) -> float:
        """What the product of the tensors is multiplied by: alpha / rank, or 1 where there is no alpha.

        The file's own alpha counts before the settings'. Rank-stabilised LoRA divides by the root of the
        rank. Without a rank of its own a product has the settings'.
        """
        if "alpha" in self.tensors:
            return self.tensors["alpha"].item() / rank if rank else 1.0
        alpha = self.settings.get("lora_alpha", self.settings.get("alpha"))
        for pattern, own in (self.settings.get("alpha_pattern") or {}).items():
            if re.match(rf"(.*\.)?({pattern})$", self.spelt):  # as PEFT finds it
                alpha = own
        rank = rank or self.settings.get("r")
        if alpha is None or not rank:
            return 1.0
        return alpha / (math.sqrt(rank) if self.settings.get("use_rslora") else rank)


def one_name(name: str) -> str:
    """A layer's name, the same for all spellings: unet.conv_in and lora_unet_conv_in -> unet_conv_in."""
    for pattern, replacement in SPELLINGS.items():
        name = re.sub(pattern, replacement, name)
    return name


def read_lora(path: Path) -> dict[str, Part]:
    """Each changed layer's tensors, by the layer's one name, from a file or the folder of an adapter.

    Raises FileNotFoundError, or ValueError in one line for a file that holds anything else or more. Learned
    words that are bundled in the file are left out, with a note.
    """
    parts: dict[str, Part] = {}
    for file, prefix in files_of(path):
        tensors = {f"{prefix}{key}": tensor for key, tensor in read_tensors(file).items()}
        words = sorted({key.split(".")[1] for key in tensors if key.startswith(BUNDLE)})
        if words:
            note(
                f"{file} holds learned words as well: {some(words)}; to use them, give the file as an "
                "embedding, too (--embedding)"
            )
        own = {
            key: tensor
            for key, tensor in tensors.items()
            if not key.startswith(BUNDLE) and not LEFTOVERS.match(key)
        }
        gather(own, read_settings(file, own), file, parts)
    return parts


def files_of(path: Path) -> list[tuple[Path, str]]:
    """The files of a LoRA, each with what its tensors' names lack at their beginning."""
    if not path.is_dir():
        check_file(path, GIVE)
        return [(path, "")]
    for place, prefixes in ((path, [""]), (path, ["unet", "text_encoder"])):
        found = [(place / prefix, f"{prefix}." if prefix else "") for prefix in prefixes]
        files = [
            (next(folder / name for name in IN_FOLDER if (folder / name).is_file()), prefix)
            for folder, prefix in found
            if any((folder / name).is_file() for name in IN_FOLDER)
        ]
        if files:
            return files
    single = [file for file in sorted(path.iterdir()) if file.suffix in (".safetensors", ".pt", ".bin")]
    if len(single) != 1:
        raise FileNotFoundError(
            f"{path} is a folder without {IN_FOLDER[0]} or {IN_FOLDER[2]}: give the LoRA's own file"
        )
    return [(single[0], "")]


def gather(tensors: dict[str, Tensor], settings: dict[str, dict], file: Path, parts: dict[str, Part]) -> None:
    """Add a file's tensors to `parts`; ValueError, in one line, if one of them is no part of a LoRA."""
    odd = [key for key in tensors if role_of(key) is None]
    others = [(kind, key) for sign, kind in OTHERS.items() for key in tensors if re.search(sign, key)]
    if odd or others or not tensors:
        kind = others[0][0] if others else "no whole LoRA"
        names = [key for what, key in others if what == kind] or odd or ["nothing in it"]
        raise ValueError(f"{file} is {kind}, with {some(names)}: {READS}")
    for key, tensor in tensors.items():
        spelt, role = role_of(key) or ("", "")
        name = one_name(spelt)
        network = "unet" if name.startswith("unet_") else "text_encoder"
        part = parts.setdefault(name, Part(name, spelt, settings.get(network, settings.get("", {}))))
        if role in part.tensors:
            raise ValueError(
                f"{file} has {role} of {printed(name)} twice, under two spellings: convert it again to one "
                "of them"
            )
        part.tensors[role] = checked(tensor, key, role, file)


def role_of(key: str) -> tuple[str, str] | None:
    """A layer's name and the role of a tensor there; None if the name is of no LoRA's tensor."""
    match = next(filter(None, (pattern.fullmatch(key) for pattern in ROLES)), None)
    return None if match is None else (match[1], ONE_ROLE.get(match[2], match[2]))


def checked(tensor: Tensor, key: str, role: str, file: Path) -> Tensor:
    """A tensor as it is, if it holds finite numbers; else ValueError in one line."""
    fine = tensor.is_floating_point() or (role == "alpha" and not tensor.is_complex())
    if not fine or not tensor.numel() or (role == "alpha" and tensor.numel() != 1):
        raise ValueError(
            f"{file} is no whole LoRA, with {printed(key)} of shape {tuple(tensor.shape)} and type "
            f"{tensor.dtype}: {READS}"
        )
    tensor = tensor if tensor.element_size() > 1 else tensor.float()  # 8 bits know no isfinite
    if not tensor.isfinite().all():
        raise ValueError(
            f"{file} is no whole LoRA, with NaN or infinity in {printed(key)}: train or fetch it again"
        )
    return tensor


def read_settings(file: Path, names: Iterable[str]) -> dict[str, dict]:
    """An adapter's settings, {"unet": ..., "text_encoder": ...}, or {"": ...} for both.

    PEFT keeps them in adapter_config.json, diffusers in the file: "unet.lora_alpha" and the like.
    """
    of_peft = any(name.startswith("base_model.model.") or ".base_model.model." in name for name in names)
    beside = file.with_name("adapter_config.json")
    if file.name.startswith("adapter_model") or of_peft:
        if not beside.is_file():
            note(f"{file} has no {beside.name} beside it, which says how strong it is: taken as it stands")
            return {}
        found, source = parsed(beside.read_bytes(), beside), beside
    else:
        found, source = parsed(read_metadata(file).get("lora_adapter_metadata", "{}").encode(), file), file
    settings: dict[str, dict] = {}
    for key, value in found.items():
        network, _, rest = key.partition(".")
        network, key = (network, rest) if network in ("unet", "text_encoder") else ("", key)
        settings.setdefault(network, {})[key] = value
    for part in settings.values():
        check_settings(part, source)
    return settings


def parsed(text: bytes, source: Path) -> dict[str, Any]:
    """The JSON object of an adapter's settings."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{source} has settings of its adapter that are not JSON: fetch it again") from None
    if not isinstance(found, dict):
        raise ValueError(f"{source} has settings of its adapter that are no JSON object: fetch it again")
    return found


def check_settings(settings: Mapping[str, Any], source: Path) -> None:
    """Raise ValueError for settings that are damaged, or of an adapter that minisd does not compute."""
    if (kind := settings.get("peft_type") or "LORA") not in ("LORA", "LOHA", "LOKR"):
        raise ValueError(f"{source} is of the kind {printed(kind)}: {READS}")
    start = settings.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(TURNED):
        raise ValueError(
            f"{source} began as {printed(start)}, which changes the model's own weights, too: convert it "
            "with PEFT to a plain LoRA"
        )
    if settings.get("fan_in_fan_out"):
        raise ValueError(f"{source} has fan_in_fan_out, for GPT-2's layers: {READS}")
    patterns = settings.get("alpha_pattern") or {}
    if not isinstance(patterns, dict):
        raise ValueError(
            f"{source} has the alpha_pattern {shown(patterns)}, which is no object: fetch it again"
        )
    numbers = {key: settings[key] for key in ("r", "lora_alpha", "alpha") if settings.get(key) is not None}
    for key, value in {**numbers, **patterns}.items():
        if type(value) not in (int, float) or not math.isfinite(value) or (key == "r" and value < 1):
            raise ValueError(f"{source} sets {printed(key)} to {shown(value)}: fetch it again")
    for pattern in patterns:
        if not is_pattern(pattern):
            raise ValueError(
                f"{source} has the pattern {shown(pattern)}, which names no layer: fetch it again"
            )


def is_pattern(pattern: str) -> bool:
    """Whether a text is a simple regular expression on layers' names, one that can't take for ever."""
    try:
        re.compile(pattern)
    except re.error:
        return False
    repeats = re.findall(r"[*+{]", pattern)
    return len(repeats) <= 2 and not re.search(r"\)[*+{]", pattern)
