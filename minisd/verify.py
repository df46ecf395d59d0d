"""Is a checkpoint whole, and does minisd paint with it what diffusers paints? A report that can be pasted as
it is.

For Stable Diffusion 1.x: every tensor's name and shape against the published files (keys/*.tsv), and the
pixels that diffusers publishes in its own tests for v1-4 and v1-1 (goldens.json). For any other model: that
it loads with no tensor left over, and paints the same finite picture twice.
"""

import hashlib
import json
import math
import platform
import re
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open

from . import __version__
from .checkpoint import TEXT_WEIGHTS, WEIGHTS, some, weights_file
from .hub import PUBLISHED, fetch
from .pipeline import TINY, StableDiffusion
from .samplers import SAMPLERS
from .sd15 import published_shapes

GOLDENS = Path(__file__).with_name("goldens.json")
PARTS = {"unet": WEIGHTS, "vae": WEIGHTS, "text_encoder": TEXT_WEIGHTS}


@dataclass(frozen=True)
class Line:
    """A line of the report; result: "ok", "FAILED", "not run", or "" for what is only told."""

    result: str
    subject: str
    figures: str


def verify(
    model: str | Path,
    device: str | None = None,
    dtype: torch.dtype = torch.float32,
    release: str | None = None,
    seconds: float = math.inf,
    tokenizer: str | Path | None = None,
    goldens: dict | None = None,
    shapes: Callable[[str], dict[str, tuple[int, ...]]] = published_shapes,
) -> Iterator[Line]:
    """The report, line by line as it is found out.

    model, device, tokenizer: as for StableDiffusion.from_pretrained; model may also be a name in
    hub.PUBLISHED. release: the Stable Diffusion that it is, such as "v1-4"; None tells it by the U-Net's
    SHA-256, then by names. seconds: after which no further picture is begun. goldens, shapes: others than
    minisd's own, for tests.
    """
    began = time.perf_counter()
    place = TINY if str(model) == "tiny" else Path(model) if Path(model).exists() else fetch(str(model))
    files = [place] if place.is_file() else [weights_file(place / part, PARTS[part], dtype) for part in PARTS]
    yield Line(
        "",
        "minisd",
        f"{__version__}, Python {platform.python_version()}, torch {torch.__version__}, numpy "
        f"{np.__version__}, {platform.platform()}, {torch.get_num_threads()} threads",
    )
    digests = {}
    for path in filter(Path.is_file, files):
        with path.open("rb") as file:
            digests[path] = hashlib.file_digest(file, "sha256").hexdigest()
        whose = [key for key, published in PUBLISHED.items() if digests[path] in published.sha256.values()]
        whose = f", as published for {' and '.join(whose)}" if whose else ""
        name = path.relative_to(place.parent if path == place else place).as_posix()
        yield Line("", "file", f"{name}, {path.stat().st_size:,} bytes, SHA-256 {digests[path]}{whose}")
    try:
        pipe = StableDiffusion.from_pretrained(place, device, dtype, tokenizer)
    except (ValueError, OSError) as error:
        yield Line("FAILED", "loading", str(error))
        return
    yield Line(
        "ok",
        "loading",
        f"every tensor has its place, none is missing, all are finite; {pipe.device}, {dtype}",
    )
    tables = {part: shapes(part) for part in PARTS}
    if pipe.inpaints or pipe.unet.state_dict().keys() != tables["unet"].keys():
        yield Line("", "model", "not a Stable Diffusion 1.x for text to image: nothing is published for it")
        yield twice(pipe)
        return
    for part, table in tables.items():
        yield compare(part, getattr(pipe, part), table)
    release, why = (release, "by --as") if release else recognised(place, digests)
    yield Line(
        "", "model", f"taken for {release}, {why}" if release else "not known which; name it with --as"
    )
    goldens = goldens or json.loads(GOLDENS.read_text(encoding="utf-8"))
    exact = dtype == torch.float32 and not any(
        in_half(path) for path in digests if path.suffix == ".safetensors"
    )
    for case in goldens["cases"]:
        if time.perf_counter() - began > seconds:
            yield Line("not run", subject(case), f"more than {seconds:g} seconds have passed")
        else:
            yield golden(pipe, case, goldens, release, exact)


def compare(part: str, net: torch.nn.Module, table: dict[str, tuple[int, ...]]) -> Line:
    """A network's names and shapes against a table of published ones."""
    own = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    wrong = [
        f"{name} is {own.get(name, 'absent')} and should be {table.get(name, 'absent')}"
        for name in sorted(own.keys() | table.keys())
        if own.get(name) != table.get(name)
    ]
    if wrong:
        return Line("FAILED", f"tensors of {part}", some(wrong))
    figures = f"{len(own)}, as published: {sum(map(math.prod, own.values())):,} parameters"
    return Line("ok", f"tensors of {part}", figures)


def recognised(place: Path, digests: dict[Path, str]) -> tuple[str | None, str]:
    """Which Stable Diffusion 1.x this is, and how one can tell; None if one can't."""
    for key, published in PUBLISHED.items():
        if {digest for name, digest in published.sha256.items() if name.startswith("unet")} & set(
            digests.values()
        ):
            return ("v1-5" if key == "sd15" else key), "by the SHA-256 of its U-Net"
    index = place / "model_index.json"
    said = json.loads(index.read_text(encoding="utf-8")).get("_name_or_path", "") if index.is_file() else ""
    # In the hub's cache the name stands three folders up:
    # models--CompVis--stable-diffusion-v1-4/snapshots/COMMIT.
    for name in (*reversed(place.absolute().parts[-3:]), said):
        if found := re.search(r"v-?1[-.]([1-5])(?!\d)", name):
            return f"v1-{found[1]}", f"by the name {name}"
    return None, ""


def in_half(path: Path) -> bool:
    """Whether a safetensors file holds numbers of 16 bits: rounded ones don't paint the published values."""
    with safe_open(path, framework="pt") as file:
        return any(file.get_slice(name).get_dtype() in ("F16", "BF16") for name in file.keys())


def subject(case: dict) -> str:
    return f"{case['checkpoint'].rpartition('stable-diffusion-')[2]}, {case['sampler']}"


def golden(pipe: StableDiffusion, case: dict, goldens: dict, release: str | None, exact: bool) -> Line:
    """Paint one published case and compare the nine values; a difference counts only for the case's own
    model.

    image[0, -3:, -3:, -1] of the float picture (diffusers, tests/pipelines/stable_diffusion). exact: whether
    weights and computation are float32, as published.
    """
    begun, own = time.perf_counter(), subject(case).partition(",")[0]
    if case["sampler"] not in SAMPLERS:
        return Line("not run", subject(case), "minisd has no such sampler")
    shape = tuple(goldens["latents"]["shape"])
    latents = torch.from_numpy(np.random.RandomState(0).standard_normal(shape)).to(torch.float32)
    # In float32 on a GPU convolutions round to 10 bits unless told not to.
    on_gpu = pipe.device.type == "cuda"
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False) if on_gpu else nullcontext():
        picture = pipe(
            goldens["prompt"],
            num_inference_steps=goldens["num_inference_steps"],
            latents=latents,
            guidance_scale=goldens["guidance_scale"],
            sampler=case["sampler"],
            height=shape[2] * 8,
            width=shape[3] * 8,
            output_type="np",
        )
    painted = picture[0, -3:, -3:, -1].flatten()
    difference = float(np.abs(painted - case["expected"]).max())
    figures = (
        f"largest difference {difference:.5f}, allowed {case['atol']:g}; {time.perf_counter() - begun:.0f} s"
    )
    values = f"painted {' '.join(f'{value:.5f}' for value in painted)}"
    if not np.isfinite(picture).all():
        return Line("FAILED", subject(case), f"the picture is not finite; {figures}")
    if difference < case["atol"]:
        return Line("ok", subject(case), figures)
    if release == own and exact:
        return Line("FAILED", subject(case), f"{figures}; {values}")
    why = (
        f"these are values of {own}"
        if release != own
        else "these values are float32's, this is half precision"
    )
    return Line("", subject(case), f"{why}; {figures}; {values}")


def twice(pipe: StableDiffusion) -> Line:
    """Paint the same picture twice."""
    grey = np.full((1, 64, 64, 3), 0.5, np.float32)
    more = {"image": grey, "mask_image": np.round(grey[..., :1] + 0.1)} if pipe.inpaints else {}
    first, second = (pipe("a red house", num_inference_steps=2, output_type="np", **more) for _ in range(2))
    if not np.isfinite(first).all():
        return Line("FAILED", "a picture, twice", "it is not finite")
    difference = float(np.abs(first - second).max())
    figures = f"{first.shape[2]}x{first.shape[1]} pixels, largest difference {difference:g}"
    return Line("FAILED" if difference else "ok", "a picture, twice", figures)
