"""The PNG file of a painting: its name, what made it, and how it is written."""

import argparse
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__
from ..files import reserved, unreserved, whole

if TYPE_CHECKING:
    from PIL import Image

NAME_BYTES = 60  # of the prompt in a file's name
SAMPLERS_ELSEWHERE = {  # our name: AUTOMATIC1111's
    "ddpm": "DDPM",
    "ddim": "DDIM",
    "pndm": "PLMS",
    "euler": "Euler",
    "euler_a": "Euler a",
    "lms": "LMS",
    "dpmpp_2m": "DPM++ 2M",
}


@dataclass(frozen=True)
class Settings:
    """What a picture is painted with, once every default is known.

    negative: "" where it has no effect. karras: whether the noise levels are Karras'. size: (width, height)
    in pixels. strength: None where no picture is painted over. controlnet: None for the model's own, where
    there is a control_image. loras: files and their scales.
    """

    prompts: tuple[str, ...]
    negative: str
    model: str
    seeds: range
    steps: int
    sampler: str
    guidance: float
    size: tuple[int, int]
    karras: bool = False
    strength: float | None = None
    eta: float = 0.0
    clip_skip: int = 0
    vae: Path | None = None
    vae_tiling: bool = False
    control_image: Path | None = None
    controlnet: Path | None = None
    control_scale: float = 1.0
    loras: tuple[tuple[Path, float], ...] = ()
    embeddings: tuple[Path, ...] = ()

    def parameters(self) -> str:
        """In the format of AUTOMATIC1111's web UI, which many programs read.

        Prompts, one a line; the negative prompt; then `Steps: 30, Sampler: DDIM, ...` in one line.
        """
        lines = list(self.prompts)
        if self.negative:
            lines.append(f"Negative prompt: {self.negative}")
        lines.append(", ".join(f"{name}: {quoted(str(value))}" for name, value in self.facts().items()))
        # A name on the disk may be no Unicode text; a PNG file holds nothing else.
        return "\n".join(lines).encode("utf-8", "backslashreplace").decode("utf-8")

    def facts(self) -> dict[str, object]:
        """The last line of `parameters`, by the web UI's names; what is as always is left out."""
        loras = (f"{path.stem} at {scale:g}" for path, scale in self.loras)
        controlnet = self.controlnet.resolve().stem if self.controlnet else self.model
        facts = {
            "Steps": self.steps,
            "Sampler": SAMPLERS_ELSEWHERE[self.sampler],
            "Schedule type": "Karras" if self.karras else "",
            "CFG scale": f"{self.guidance:g}",
            "Seed": self.seeds[0],
            "Size": f"{self.size[0]}x{self.size[1]}",
            "Model": self.model,
            "VAE": self.vae.name if self.vae else "",
            "VAE tiling": "on" if self.vae_tiling else "",
            "Denoising strength": "" if self.strength is None else f"{self.strength:g}",
            "Clip skip": self.clip_skip + 1 if self.clip_skip else "",  # the web UI counts the last layer
            "Eta DDIM": f"{self.eta:g}" if self.eta else "",
            "ControlNet": f"{controlnet} at {self.control_scale:g}" if self.control_image else "",
            "LoRA": ", ".join(loras),
            "Embeddings": ", ".join(path.stem for path in self.embeddings),
            "Seeds": ", ".join(map(str, self.seeds)) if len(self.seeds) > 1 else "",
            "Version": f"minisd {__version__}",
        }
        return {name: value for name, value in facts.items() if value != ""}

    def as_json(self) -> dict[str, object]:
        """For --json: the same facts under the names of `StableDiffusion.stream`."""
        return {
            "prompts": list(self.prompts),
            "negative_prompt": self.negative,
            "model": self.model,
            "seeds": list(self.seeds),
            "num_inference_steps": self.steps,
            "sampler": self.sampler,
            "use_karras_sigmas": self.karras,
            "guidance_scale": self.guidance,
            "eta": self.eta,
            "width": self.size[0],
            "height": self.size[1],
            "strength": self.strength,
            "clip_skip": self.clip_skip,
            "vae": self.vae and str(self.vae),
            "vae_tiling": self.vae_tiling,
            "controlnet": self.controlnet and str(self.controlnet),
            "control_image": self.control_image and str(self.control_image),
            "controlnet_conditioning_scale": self.control_scale if self.control_image else None,
            "loras": [{"file": str(path), "scale": scale} for path, scale in self.loras],
            "embeddings": [str(path) for path in self.embeddings],
            "version": __version__,
        }


def quoted(value: str) -> str:
    """In double quotes if the value holds what separates one from the next."""
    if not set(value) & set(',:"\n'):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def default_name(args: argparse.Namespace, seeds: range) -> str:
    """A file's name that tells what is on it: a-red-house-and-2-more-seeds-0-to-8-trace.png."""
    words = "-".join(re.findall(r"[^\W_]+", args.prompt[0].lower())).encode()
    start = words[:NAME_BYTES].decode(errors="ignore")
    if len(words) > NAME_BYTES and "-" in start:
        start = start.rpartition("-")[0]  # whole words
    parts = [start or "picture"]
    if len(args.prompt) > 1:
        parts.append(f"and-{len(args.prompt) - 1}-more")
    parts.append(f"seed-{seeds[0]}" if args.grid is None else f"seeds-{seeds[0]}-to-{seeds[-1]}")
    if args.trace:
        parts.append("trace")
    return "-".join(parts) + ".png"


def check_out(path: Path) -> None:
    """Raise, before any work is done, if no PNG file can be written there."""
    if path.suffix.lower() != ".png":
        raise ValueError(f"--out {path}: pictures are written as PNG; give a name that ends in .png")
    if path.is_dir():
        raise ValueError(f"--out {path} is a folder; give the name of a file in it")
    if path.exists() and not path.is_file():
        raise ValueError(f"--out {path} is a device or a pipe; give the name of a file")
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"there is no folder {path.parent}; make it first, or name another place with --out"
        )
    if not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise PermissionError(f"{path} is not yours to write; name another place with --out")


@contextmanager
def place(out: Path | None, name: str) -> Iterator[Path]:
    """Where to write: --out, or a name in this folder that no other file has and no other process takes."""
    if out:
        yield out
        return
    path = reserved(Path.cwd() / name)
    try:
        yield path
    finally:
        unreserved(path)


def save_png(picture: "Image.Image", path: Path, text: str) -> None:
    """Write a PNG file with its parameters; a writing that fails leaves what was there before."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("parameters", text)  # a tEXt chunk; iTXt by itself where Latin-1 has not all the letters
    try:
        with whole(path) as part:
            picture.save(part, format="PNG", pnginfo=info)
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"{path} could not be written ({reason}); name another place with --out") from None
