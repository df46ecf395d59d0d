"""Is a checkpoint whole, and does minisd paint with it what diffusers paints? A report that can be pasted as
it is.

For Stable Diffusion 1.x: every tensor's name and shape against the published files (keys/*.tsv), and the
pixels that diffusers publishes in its own tests for v1-4 and v1-1 (goldens.json). For any other model: that
it loads with no tensor left over, and paints the same finite picture twice.
"""

import math
import platform
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import __version__
from .checkpoint import TEXT_WEIGHTS, WEIGHTS, not_finite, read_json, shards, weights_file
from .files import digest
from .hub import PUBLISHED
from .models import locate
from .pipeline import StableDiffusion
from .samplers import SAMPLERS
from .sd15 import published_shapes
from .tensors import intact, read_tensors, some

GOLDENS = Path(__file__).with_name("goldens.json")
PARTS = {"unet": WEIGHTS, "vae": WEIGHTS, "text_encoder": TEXT_WEIGHTS}
Table = Mapping[str, tuple[int, ...]]  # tensors' names and shapes
Digests = dict[Path, str]  # files and their SHA-256


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
    goldens: dict[str, Any] | None = None,
    shapes: Callable[[str], Table] = published_shapes,
) -> Iterator[Line]:
    """The report, line by line as it is found out.

    model, device, tokenizer: as for StableDiffusion.from_pretrained. release: the Stable Diffusion that it
    is, such as "v1-4"; None tells it by the U-Net's SHA-256, then by names. seconds: after which no further
    picture is begun. goldens, shapes: others than minisd's own, for tests.

    Raises FileNotFoundError where there is no model; whatever is wrong with one is a line of the report.
    """
    end = time.perf_counter() + seconds
    place = locate(model)
    yield Line("", "minisd", machine())
    digests: Digests = {}
    for path in files_of(place, dtype):
        digests[path] = digest(path)
        yield from about_file(path, place, digests[path])
    try:
        pipe = StableDiffusion.from_pretrained(place, device=device, dtype=dtype, tokenizer=tokenizer)
    except (ValueError, OSError) as error:
        yield Line("FAILED", "loading", str(error))
        return
    yield about_numbers(pipe)
    tables = {part: shapes(part) for part in PARTS}
    if pipe.inpaints or pipe.unet.state_dict().keys() != tables["unet"].keys():
        yield Line("", "model", "not a Stable Diffusion 1.x for text to image: nothing is published for it")
        yield twice(pipe)
        return
    for part, table in tables.items():
        yield compared(part, getattr(pipe, part), table)
    release, why = (release, "by --as") if release else recognised(place, digests)
    taken = f"taken for {release}, {why}" if release else "not known which; name it with --as"
    yield Line("", "model", taken)
    exact = dtype == torch.float32 and not any(map(in_half, digests))
    yield from painted_cases(pipe, goldens or read_json(GOLDENS), release, exact, end, seconds)


# ---- the files


def machine() -> str:
    """The versions and the machine that the report is of."""
    return (
        f"{__version__}, Python {platform.python_version()}, torch {torch.__version__}, numpy "
        f"{np.__version__}, {platform.platform()}, {torch.get_num_threads()} threads"
    )


def files_of(place: Path, dtype: torch.dtype) -> Iterator[Path]:
    """The weight files of a model that are there; what is wrong with the others is told by loading it."""
    if place.is_file():
        yield place
        return
    for part, weights in PARTS.items():
        try:
            yield from filter(Path.is_file, shards(weights_file(place / part, weights, dtype)))
        except (ValueError, OSError):
            continue


def about_file(path: Path, place: Path, sha256: str) -> Iterator[Line]:
    """A file's size and digest, whose it is, and its checksum, if minisd wrote it and it does not hold."""
    whose = [key for key, published in PUBLISHED.items() if sha256 in published.sha256.values()]
    published = f", as published for {' and '.join(whose)}" if whose else ""
    name = path.relative_to(place.parent if path == place else place).as_posix()
    yield Line("", "file", f"{name}, {path.stat().st_size:,} bytes, SHA-256 {sha256}{published}")
    try:
        changed = intact(path) is False
    except (ValueError, OSError):  # loading tells what is wrong with it
        return
    if changed:
        yield Line("FAILED", "checksum", f"{name} was changed since it was written: fetch or train it again")


def about_numbers(pipe: StableDiffusion) -> Line:
    """Whether all of the model's numbers are finite: loading it looks at the ends of large tensors only."""
    networks = {part: getattr(pipe, part) for part in PARTS}
    broken = [f"{part}: {name}" for part, network in networks.items() for name in not_finite(network)]
    if broken:
        return Line("FAILED", "loading", f"NaN or infinity in {some(broken)}: fetch or train the model again")
    figures = f"every tensor has its place, none is missing, all are finite; {pipe.device}, {pipe.dtype}"
    return Line("ok", "loading", figures)


def compared(part: str, network: torch.nn.Module, table: Table) -> Line:
    """A network's names and shapes against a table of published ones."""
    own = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    wrong = [
        f"{name} is {own.get(name, 'absent')} and should be {table.get(name, 'absent')}"
        for name in sorted(own.keys() | table.keys())
        if own.get(name) != table.get(name)
    ]
    if wrong:
        return Line("FAILED", f"tensors of {part}", some(wrong))
    figures = f"{len(own)}, as published: {sum(map(math.prod, own.values())):,} parameters"
    return Line("ok", f"tensors of {part}", figures)


def recognised(place: Path, digests: Digests) -> tuple[str | None, str]:
    """Which Stable Diffusion 1.x this is, and how one can tell; None if one can't."""
    for key, published in PUBLISHED.items():
        unets = {sha256 for name, sha256 in published.sha256.items() if name.startswith("unet")}
        if unets & set(digests.values()):
            return ("v1-5" if key == "sd15" else key), "by the SHA-256 of its U-Net"
    index = place / "model_index.json"
    said = str(read_json(index).get("_name_or_path", "")) if index.is_file() else ""
    # In the hub's cache the name stands three folders up:
    # models--CompVis--stable-diffusion-v1-4/snapshots/COMMIT.
    for name in (*reversed(place.absolute().parts[-3:]), said):
        if found := re.search(r"v-?1[-.]([1-5])(?!\d)", name):
            return f"v1-{found[1]}", f"by the name {name}"
    return None, ""


def in_half(path: Path) -> bool:
    """Whether a file holds numbers of 16 bits or fewer: rounded ones don't paint the published values."""
    return any(t.is_floating_point() and t.element_size() < 4 for t in read_tensors(path).values())


# ---- the pictures


def painted_cases(
    pipe: StableDiffusion,
    goldens: dict[str, Any],
    release: str | None,
    exact: bool,
    end: float,
    seconds: float,
) -> Iterator[Line]:
    """A line for each published case; none is begun after `end`, on the clock of time.perf_counter()."""
    for case in goldens["cases"]:
        if time.perf_counter() > end:
            yield Line("not run", subject(case), f"more than {seconds:g} seconds have passed")
        elif case["sampler"] not in SAMPLERS:
            yield Line("not run", subject(case), "minisd has no such sampler")
        else:
            yield golden(pipe, case, goldens, release, exact)


def subject(case: dict[str, Any]) -> str:
    """A published case in a few words: its model and sampler."""
    return f"{case['checkpoint'].rpartition('stable-diffusion-')[2]}, {case['sampler']}"


def golden(
    pipe: StableDiffusion, case: dict[str, Any], goldens: dict[str, Any], release: str | None, exact: bool
) -> Line:
    """Paint one published case and compare the nine values; a difference counts for the case's own model.

    image[0, -3:, -3:, -1] of the float picture (diffusers, tests/pipelines/stable_diffusion). exact: whether
    weights and computation are float32, as published.
    """
    begun, own = time.perf_counter(), subject(case).partition(",")[0]
    try:
        picture = painted(pipe, case, goldens)
    except FloatingPointError as error:
        return Line("FAILED", subject(case), f"the picture is not finite; {error}")
    except ValueError as error:  # the scheduler's config asks for what this sampler does not do
        return Line("not run", subject(case), str(error))
    values = picture[0, -3:, -3:, -1].flatten()
    difference = float(np.abs(values - case["expected"]).max())
    took = time.perf_counter() - begun
    figures = f"largest difference {difference:.5f}, allowed {case['atol']:g}; {took:.0f} s"
    if not np.isfinite(picture).all():
        return Line("FAILED", subject(case), f"the picture is not finite; {figures}")
    if difference < case["atol"]:
        return Line("ok", subject(case), figures)
    told = f"{figures}; painted {' '.join(f'{value:.5f}' for value in values)}"
    if release == own and exact:
        return Line("FAILED", subject(case), told)
    half = "these values are float32's, this is half precision"
    return Line("", subject(case), f"{half if release == own else f'these are values of {own}'}; {told}")


def painted(pipe: StableDiffusion, case: dict[str, Any], goldens: dict[str, Any]) -> np.ndarray:
    """The picture of a published case, (1, height, width, 3) in [0, 1]."""
    shape = tuple(goldens["latents"]["shape"])
    latents = torch.from_numpy(np.random.RandomState(0).standard_normal(shape)).to(torch.float32)
    with exact_convolutions(pipe.device):
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
    return np.asarray(picture)


def exact_convolutions(device: torch.device) -> AbstractContextManager[None]:
    """On a GPU, float32 convolutions that round to float32: unless told not to, they round to 10 bits."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


def twice(pipe: StableDiffusion) -> Line:
    """Paint the same picture twice."""
    grey = np.full((1, 64, 64, 3), 0.5, np.float32)
    more = {"image": grey, "mask_image": np.round(grey[..., :1] + 0.1)} if pipe.inpaints else {}
    options: dict[str, Any] = {
        "num_inference_steps": 2,
        "sampler": pipe.default_sampler,
        "output_type": "np",
        **more,
    }
    try:
        first, second = (np.asarray(pipe("a red house", **options)) for _ in range(2))
    except FloatingPointError as error:
        return Line("FAILED", "a picture, twice", f"it is not finite; {error}")
    except ValueError as error:
        return Line("FAILED", "a picture, twice", str(error))
    if not np.isfinite(first).all():
        return Line("FAILED", "a picture, twice", "it is not finite")
    difference = float(np.abs(first - second).max())
    figures = f"{first.shape[2]}x{first.shape[1]} pixels, largest difference {difference:g}"
    return Line("FAILED" if difference else "ok", "a picture, twice", figures)
