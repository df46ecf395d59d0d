"""What is fuzzed: every reader of files that people bring, with good inputs to begin from.

A target's input is written under the name that its readers expect, beside the files that belong to it. They
may take it or refuse it in one line; `fuzz.fault` judges that.
"""

import base64
import copy
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import save
from torch import Tensor, nn

import fuzz_mutate as change
from minisd import hub, sd15
from minisd.checkpoint import TEXT_WEIGHTS, WEIGHTS, load_model, read_json, read_weights
from minisd.clip import TextEncoder
from minisd.commands.picture_file import Settings, save_png
from minisd.config import CLIPConfig, Config, ImageConfig, TextConfig, UNetConfig, VAEConfig
from minisd.embeddings import add_embedding
from minisd.lora import LoRA
from minisd.models import read_scale
from minisd.pictures import FORMATS, known_formats, open_picture, prepare
from minisd.prompts import other_syntax
from minisd.samplers import SAMPLERS
from minisd.schedule import schedule_of
from minisd.single_file import load_single_file, load_vae, parts_of, read_settings, save_single_file
from minisd.tensors import intact, read_metadata, read_tensors
from minisd.tokenizer import BPE
from minisd.training.recipe import TINY_RECIPE, read_recipe
from minisd.unet import UNet
from minisd.vae import AutoencoderKL
from small import SCHEDULER, SENTENCES, small_pipeline

Reader = Callable[[Path], object]
GROUPS = (  # of targets, as the report lists them
    "safetensors headers",
    "pickles",
    "configs",
    "tokenizer files",
    "LoRA and embedding names",
    "pictures",
    "recipes",
    "TOML",
    "PNG metadata",
)


@dataclass(frozen=True)
class Target:
    """One kind of input.

    group: one of GROUPS. file: the name under which an input is written. readers: what is called
    with the file's path. seeds: good inputs. share: how many inputs are for it, among those of the others.
    named: what an error has to name; None for the folder of the file. beside: files in the same folder.
    """

    name: str
    group: str
    file: str
    change: change.Change
    readers: tuple[Reader, ...]
    seeds: tuple[bytes, ...]
    share: int
    named: str | None = None
    beside: dict[str, bytes] = field(default_factory=dict)


# ---- tensors

TENSORS: dict[str, Tensor] = {
    "model.diffusion_model.out.2.bias": torch.zeros(4),
    "a.weight": torch.arange(15.0).reshape(5, 3),
    "b": torch.ones(3, dtype=torch.float16),
    "c": torch.arange(4),
}


def torch_bytes(value: object, zipped: bool = True) -> bytes:
    """What torch.save writes."""
    made = io.BytesIO()
    torch.save(value, made, _use_new_zipfile_serialization=zipped)
    return made.getvalue()


def tensors_and_parts(path: Path) -> object:
    """A file's tensors, sorted into the three networks of a checkpoint."""
    return parts_of(read_tensors(path), path)


PIPE = small_pipeline()
SAVED = {"model.safetensors": save(TENSORS, {"minisd.settings": '{"unet": {}}', "format": "pt"})}


def single_file(folder: Path) -> bytes:
    """A whole small checkpoint in one file."""
    save_single_file(PIPE.text_encoder, PIPE.unet, PIPE.vae, folder / "x.safetensors", torch.float16)
    return (folder / "x.safetensors").read_bytes()


def load_whole(path: Path) -> object:
    return load_single_file(path, "cpu", torch.float32)


def vae_of(path: Path) -> object:
    return load_vae(path, "cpu", torch.float32)


def tensor_targets(folder: Path) -> list[Target]:
    """Safetensors, pickles of both forms, checkpoints of one file, indices of shards."""
    wrapped = {"state_dict": TENSORS, "epoch": 3, "optimizer": {"state": [1.5, None]}}
    pickled = (read_tensors, tensors_and_parts)
    reading = (*pickled, read_settings, intact, read_metadata)
    index = {"metadata": {"total_size": 9}, "weight_map": dict.fromkeys(TENSORS, "model.safetensors")}
    named = {"a.weight": TENSORS["a.weight"]}
    zips = (
        torch_bytes(TENSORS),
        torch_bytes(wrapped),
        torch_bytes({"model": {"a": nn.Parameter(torch.ones(2))}}),
    )
    old = (torch_bytes(TENSORS, False), torch_bytes(wrapped, False))
    st = "safetensors headers"
    whole = (single_file(folder),)
    return [
        Target(
            "safetensors",
            st,
            "x.safetensors",
            change.change_safetensors,
            reading,
            (SAVED["model.safetensors"], save(named)),
            170,
        ),
        Target(
            "checkpoint in one file",
            st,
            "x.safetensors",
            change.change_safetensors,
            (load_whole, vae_of),
            whole,
            2,
        ),
        Target("zip pickles", "pickles", "x.ckpt", change.change_zip, pickled, zips, 60),
        Target("pickles before torch 1.6", "pickles", "x.pt", change.change_pickle, pickled, old, 60),
        Target(
            "index of shards",
            "configs",
            "x.index.json",
            change.change_json,
            (read_weights, read_json),
            (json.dumps(index).encode(),),
            40,
            beside=SAVED,
        ),
    ]


# ---- configs


def shell(kind: type[Config]) -> Reader:
    """A reader of a network's folder that builds nothing: its network is the config alone."""

    class Shell(nn.Module):
        def __init__(self, config: Any):
            super().__init__()
            self.config = kind.from_dict(config)

    def load(path: Path) -> object:
        return load_model(Shell, path.parent, WEIGHTS, "cpu", torch.float32)

    return load


def network(build: Any, weights: str) -> Reader:
    """A reader of a network's folder that has no weights: it builds the network and misses all of them."""

    def load(path: Path) -> object:
        return load_model(build, path.parent, weights, "cpu", torch.float32)

    return load


def scheduler(path: Path) -> object:
    return schedule_of(read_json(path))


def ways(path: Path) -> object:
    """A way through the noise for every sampler, by a scheduler's config."""
    config = read_json(path)
    schedule = schedule_of(config)
    return [one.way(schedule, min(5, schedule.steps), **one.settings(config)) for one in SAMPLERS.values()]


def model_index(path: Path) -> object:
    return read_scale(read_json(path).get("_guidance_scale", 7.5), path)


def hub_answer(path: Path) -> object:
    """What the hub says of a repository, as `fetch` reads it."""
    model = hub.Published("owner/name")
    with mock.patch.object(hub, "small_body", lambda *_: path.read_bytes()):
        _, entries = hub.listing(model)
    return [
        hub.described(model, name, entries[name]) for name in hub.needed(entries, None) if name in entries
    ]


def as_json(*values: dict[str, Any]) -> tuple[bytes, ...]:
    return tuple(json.dumps(value).encode() for value in values)


def config_targets() -> list[Target]:
    """Every config of a model's folder, and the hub's description of one."""
    empty, group, file = {WEIGHTS: save({})}, "configs", "config.json"
    sd, small = sd15.SD15, (PIPE.unet.config, PIPE.vae.config, PIPE.text_encoder.config)
    unet, vae, text = (config.to_dict() for config in small)
    siblings = [{"rfilename": name, "size": 9, "blobId": "0" * 40} for name in hub.CONFIGS]
    siblings += [{"rfilename": f"{hub.WEIGHTS[1]}.safetensors", "size": 9, "lfs": {"sha256": "0" * 64}}]
    kinds = {
        "U-Net": (UNetConfig, (unet, dict(sd["unet"]))),
        "VAE": (VAEConfig, (vae, dict(sd["vae"]))),
        "text encoder": (TextConfig, (text, dict(sd["text_encoder"]))),
        "image encoder": (ImageConfig, (ImageConfig().to_dict(),)),
        "CLIP": (CLIPConfig, (CLIPConfig().to_dict(),)),
    }
    targets = [
        Target(
            f"config of the {name}",
            group,
            file,
            change.change_json,
            (shell(kind),),
            as_json(*seeds),
            40,
            beside=empty,
        )
        for name, (kind, seeds) in kinds.items()
    ]
    for name, build, config in (
        ("U-Net", UNet, unet),
        ("VAE", AutoencoderKL, vae),
        ("text encoder", TextEncoder, text),
    ):
        weights = TEXT_WEIGHTS if build is TextEncoder else WEIGHTS
        targets.append(
            Target(
                f"{name}, built",
                group,
                file,
                change.change_json,
                (network(build, weights),),
                as_json(config),
                2,
                beside={weights: save({})},
            )
        )
    return [
        *targets,
        Target(
            "scheduler",
            group,
            "scheduler_config.json",
            change.change_json,
            (scheduler,),
            as_json(SCHEDULER),
            20,
            named="schedule",
        ),
        Target(
            "ways of the samplers",
            group,
            "scheduler_config.json",
            change.change_json,
            (ways,),
            as_json(SCHEDULER),
            20,
            named="",
        ),
        Target(
            "model_index.json",
            group,
            "model_index.json",
            change.change_json,
            (model_index,),
            as_json({"_class_name": "StableDiffusionPipeline", "_guidance_scale": 7.5}),
            20,
        ),
        Target(
            "answers of the hub",
            group,
            "answer",
            change.change_json,
            (hub_answer,),
            as_json({"sha": "0" * 40, "siblings": siblings}),
            20,
            named="owner/name",
        ),
    ]


# ---- words


def read_words(path: Path) -> object:
    """A tokenizer's folder, and a prompt read with it."""
    return BPE.from_files(path.parent).read(["a red house <cat> !"])


def saved_tokenizer(folder: Path) -> dict[str, bytes]:
    """The files of a small tokenizer with added words."""
    tokenizer = BPE.train(SENTENCES, 530)
    tokenizer.add("<cat>", 3)
    tokenizer.save(folder / "tokenizer")
    return {path.name: path.read_bytes() for path in sorted((folder / "tokenizer").iterdir())}


def one_json(files: dict[str, bytes]) -> bytes:
    """The same tokenizer as one tokenizer.json."""
    merges = files["merges.txt"].decode().split("\n")[1:-1]
    vocab = json.loads(files["vocab.json"])
    return json.dumps(
        {
            "added_tokens": [
                {"id": len(vocab), "content": "<cat>", "normalized": True, "single_word": False}
            ],
            "normalizer": {"normalizers": [{"type": kind} for kind in ("NFC", "Replace", "Lowercase")]},
            "pre_tokenizer": {"pretokenizers": [{"type": kind} for kind in ("Split", "ByteLevel")]},
            "model": {"type": "BPE", "end_of_word_suffix": "</w>", "merges": merges, "vocab": vocab},
        }
    ).encode()


def prompt(path: Path) -> object:
    """A prompt, read, and looked through for other tools' syntax; bytes that are no text are surrogates."""
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    return PIPE.tokenizer.read([text]), other_syntax(text)


PROMPTS = (
    "a (red:1.3) house AND [a|b] <lora:x:1> \\(tent\\) --ar 2:3",
    "it's 2024!! Ü Σ\u0301 <|endoftext|>\U0001f600",
)


def word_targets(folder: Path) -> list[Target]:
    """Each file of a tokenizer's folder, beside good ones; prompts."""
    files = saved_tokenizer(folder)
    targets = []
    for name, share in (
        ("vocab.json", 20),
        ("merges.txt", 25),
        ("tokenizer_config.json", 25),
        ("special_tokens_map.json", 20),
        ("added_tokens.json", 20),
    ):
        rules = change.change_lines if name.endswith(".txt") else change.change_json
        targets.append(
            Target(name, "tokenizer files", name, rules, (read_words,), (files[name],), share, beside=files)
        )
    seeds = tuple(text.encode() for text in PROMPTS)
    return [
        *targets,
        Target(
            "tokenizer.json",
            "tokenizer files",
            "tokenizer.json",
            change.change_json,
            (read_words,),
            (one_json(files),),
            20,
        ),
        Target("prompts", "tokenizer files", "prompt", change.change_lines, (prompt,), seeds, 30, named=""),
    ]


# ---- LoRA and embeddings


def merge_lora(path: Path) -> object:
    """A LoRA read and attached to a small model, then taken off again."""
    lora = LoRA.from_file(path)
    lora.attach(PIPE)
    lora.remove()
    return lora


def learn(path: Path) -> object:
    """An embedding taught to a small model, whose words are forgotten afterwards."""
    tokenizer = copy.copy(PIPE.tokenizer)
    for name in ("added", "_whole", "_exact", "_tokens"):
        setattr(tokenizer, name, dict(getattr(tokenizer, name)))
    encoder = SimpleNamespace(text_model=PIPE.text_encoder.text_model, add_tokens=lambda _: None)
    return add_embedding(SimpleNamespace(tokenizer=tokenizer, text_encoder=encoder), path)


def png(**texts: str) -> bytes:
    """A small PNG with texts in it."""
    info, made = PngInfo(), io.BytesIO()
    for key, text in texts.items():
        info.add_text(key.replace("_", "-"), text)
    Image.new("RGB", (8, 8), "red").save(made, "PNG", pnginfo=info)
    return made.getvalue()


def embedding_in_json(data: bytes, rng: Any) -> bytes:
    """A PNG whose learned word, JSON in base 64, is changed as JSON."""
    if rng.random() < 0.3:
        return change.change_png(data, rng)
    text = change.change_json(CARRIED, rng)
    return png(sd_ti_embedding=base64.b64encode(text).decode())


CARRIED = json.dumps({"string_to_param": {"*": {"TORCHTENSOR": [[0.5] * 16] * 2}}, "name": "cat"}).encode()


def small_file_targets() -> list[Target]:
    """LoRA and its kin by names and by settings; embeddings in their three kinds of file."""
    layer = "lora_unet_mid_block_attentions_0_proj_in."
    pair = {f"{layer}lora_down.weight": torch.ones(2, 32), f"{layer}lora_up.weight": torch.ones(32, 2)}
    peft = {f"base_model.model.{layer[10:]}lora_{x}.weight": pair[name] for x, name in zip("AB", pair)}
    settings = {
        "peft_type": "LORA",
        "r": 2,
        "lora_alpha": 4,
        "alpha_pattern": {"proj_in": 1},
        "use_rslora": False,
    }
    vectors = torch.ones(2, 16)
    old = {"string_to_param": {"*": vectors}, "name": "cat", "step": 100}
    picture = png(sd_ti_embedding=base64.b64encode(CARRIED).decode())
    lora, emb = "LoRA and embedding names", (learn,)
    return [
        Target("LoRA", lora, "x.safetensors", change.new_lora, (merge_lora,), (save(pair),), 70),
        Target(
            "adapter_config.json",
            lora,
            "adapter_config.json",
            change.change_json,
            (lambda path: merge_lora(path.parent),),
            as_json(settings),
            20,
            beside={"adapter_model.safetensors": save(peft)},
        ),
        Target(
            "embedding",
            lora,
            "cat-toy.safetensors",
            change.new_embedding,
            emb,
            (save({"emb_params": vectors}),),
            50,
        ),
        Target(
            "embedding, pickled",
            lora,
            "cat-toy.pt",
            change.change_zip,
            emb,
            (torch_bytes(old), torch_bytes({"<cat>": vectors[0]})),
            15,
        ),
        Target(
            "embedding in a picture", "PNG metadata", "cat-toy.png", embedding_in_json, emb, (picture,), 40
        ),
    ]


# ---- pictures, recipes


def look(path: Path) -> object:
    """A picture opened, and read as one to paint over and as a mask.

    Of a picture that is in memory an error says "the image": there is one. Here the file is put before it.
    """
    picture = open_picture(path)
    try:
        return [prepare(picture, name, 1, 64, 64, 8) for name in ("image", "mask_image")]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def picture_files() -> tuple[bytes, ...]:
    """A small picture in every format that is read, with modes and EXIF data that Pillow writes."""
    found = []
    for kind in sorted(set(FORMATS) & known_formats() - {"PNG"}):
        for mode in ("RGB", "L", "RGBA", "P", "I;16", "F", "CMYK", "1"):
            made = io.BytesIO()
            picture = Image.new(mode if mode != "P" else "L", (9, 6), 1).convert(mode)
            try:
                picture.save(
                    made, kind, **({"exif": b"Exif\0\0" + change.CONTENTS[4]} if kind == "JPEG" else {})
                )
            except (OSError, ValueError, KeyError):  # a mode that this format has not
                continue
            found.append(made.getvalue())
    return tuple(found)


def metadata(path: Path) -> object:
    """A prompt and names, whatever they hold, written into a PNG and read again as they were."""
    first, *others = path.read_bytes().decode("utf-8", "surrogateescape").split("\n")
    rest = "\n".join(others)
    files = ((Path(rest[:40].replace("\0", "") or "x"), 0.5),)
    settings = Settings((first, rest), rest, first, range(3), 9, "ddim", 7.5, (64, 64), loras=files)
    text, out = settings.parameters(), path.with_name("made.png")
    save_png(Image.new("RGB", (2, 2)), out, text)
    with Image.open(out) as picture:
        assert picture.text["parameters"] == text  # type: ignore[attr-defined]
    return settings.as_json()


def picture_targets() -> list[Target]:
    """Pictures of every format; PNG chunk by chunk; the metadata that minisd writes; recipes."""
    recipe = (TINY_RECIPE.read_bytes(),)
    pngs = (png(parameters="a house"), png())
    return [
        Target("pictures but PNG", "pictures", "x", change.change_bytes, (look,), picture_files(), 60),
        Target("PNG, read", "pictures", "x.png", change.change_png, (look,), pngs, 30),
        Target(
            "PNG metadata, written",
            "PNG metadata",
            "x",
            change.change_lines,
            (metadata,),
            tuple(text.encode() for text in PROMPTS),
            20,
            named="",
        ),
        Target("recipes", "recipes", "recipe.toml", change.change_toml, (read_recipe,), recipe, 30),
        Target("TOML", "TOML", "recipe.toml", change.change_bytes, (read_recipe,), recipe, 25),
    ]


def all_targets(folder: Path) -> list[Target]:
    """Every target; `folder` is scratch space for their first inputs."""
    groups = (
        tensor_targets(folder),
        config_targets(),
        word_targets(folder),
        small_file_targets(),
        picture_targets(),
    )
    return [target for group in groups for target in group]
