"""How long other programs take for a guided U-Net step or a VAE decode, in float32 unless the name says more.

    python benchmarks/peers.py PEER FOLDER --runs 3          measure PEER, print one line of JSON

FOLDER is a model in diffusers' layout; `make_folder` writes a full-size one of random numbers. Beside it
stands FOLDER.safetensors, the same as a single file, which stable-diffusion.cpp reads. What is made once,
diffusers' answers and the models that OpenVINO converted, stays in FOLDER/peers (3.6 GB at full size). Needs
Linux; one peer a process, so that its memory is its own, torch's libraries included.
The packages: pip install -c constraints.txt -e '.[test,bench]'
"""

import argparse
import importlib.util
import json
import multiprocessing
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from minisd import StableDiffusion
from minisd.checkpoint import load_model, read_json
from minisd.files import whole
from minisd.models import NETWORKS

THREADS = 2
TOLERANCE = 1e-3  # of the largest number that diffusers answers, for whoever computes in float32
TOKENS = 77


def make_folder(folder: Path) -> None:
    """Write random weights of full size, twice 4.3 GB: `folder`, and FOLDER.safetensors beside it."""
    from loading import random_checkpoint, tokenizer_of_full_size

    file = folder.with_suffix(".safetensors")
    save_file(random_checkpoint(), file)
    tokenizer_of_full_size().save(folder / "tokenizer")
    StableDiffusion.from_pretrained(file, "cpu", tokenizer=folder / "tokenizer").save_pretrained(folder)


# ---- what is asked, and what diffusers answers


def inputs(folder: Path, part: str) -> dict[str, Tensor]:
    """What every peer is given, by diffusers' names. At full size, for the "unet": latents (2, 4, 64, 64), a
    timestep () and two prompts' context (2, 77, 768); for the "vae": latents (1, 4, 64, 64).
    """
    config = read_json(folder / "unet" / "config.json")
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(
        2, config["in_channels"], config["sample_size"], config["sample_size"], generator=generator
    )
    if part == "vae":
        return {"z": latents[:1]}
    context = torch.randn(2, TOKENS, config["cross_attention_dim"], generator=generator)
    return {"sample": latents, "timestep": torch.tensor(500), "encoder_hidden_states": context}


def from_diffusers(folder: Path, part: str, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    """diffusers' own "unet" or "vae", as it comes."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    network = {"unet": UNet2DConditionModel, "vae": AutoencoderKL}[part]
    return network.from_pretrained(folder, subfolder=part, torch_dtype=dtype).eval()


def asked(network: torch.nn.Module, part: str) -> Callable[..., Tensor]:
    """The network's answer as a tensor: of a U-Net the predicted noise, of a VAE the decoded pictures."""
    forward = network.decode if part == "vae" else network
    return lambda **given: forward(**given, return_dict=False)[0]


def in_fresh_process(make: Callable[[Path, str], None], folder: Path, part: str) -> None:
    """make(folder, part), its memory not counted as ours; RuntimeError if it fails."""
    process = multiprocessing.get_context("spawn").Process(target=make, args=(folder, part))
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"{make.__name__} failed for {folder / part}; its words stand above")


def write_answer(folder: Path, part: str) -> None:
    """Keep diffusers' answer as FOLDER/peers/PART.safetensors."""
    with torch.inference_mode():
        answer = asked(from_diffusers(folder, part), part)(**inputs(folder, part))
    (folder / "peers").mkdir(exist_ok=True)
    with whole(folder / "peers" / f"{part}.safetensors") as file:
        save_file({"answer": answer.contiguous()}, file)


def diffusers_answer(folder: Path, part: str) -> Tensor:
    """What diffusers answers to `inputs`, computed once: (2, 4, 64, 64) or (1, 3, 512, 512) at full size."""
    path = folder / "peers" / f"{part}.safetensors"
    if not path.is_file():
        in_fresh_process(write_answer, folder, part)
    return load_file(path)["answer"]


# ---- timing


def clocks() -> tuple[float, float]:
    """Seconds on the wall, and of computing by all threads of this process."""
    return time.perf_counter(), time.process_time()


def memory() -> dict:
    """In bytes, peak: of this process's resident memory so far; own: what of it now is not mapped files."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak, own = (1024 * int(status[key].split()[0]) for key in ("VmHWM", "RssAnon"))
    return {"peak": peak, "own": own}


def report(times: Sequence[tuple[float, float]]) -> dict:
    """Clocks before the warm-up, after it, and after each run, as seconds a run.

    first: of the warm-up; seconds: of each run; cpu: its seconds of computing by all threads, which a busy
    machine changes less.
    """
    steps = [(b[0] - a[0], b[1] - a[1]) for a, b in zip(times, times[1:])]
    seconds, cpu = map(list, zip(*steps, strict=True))
    return {"first": seconds[0], "seconds": seconds[1:], "cpu": cpu[1:]}


def timed(answering: Callable[[], Tensor], wanted: Tensor, runs: int) -> dict:
    """A warm-up and `runs` runs, and the answer's greatest error as a share of the greatest number wanted."""
    times = [clocks()]
    with torch.inference_mode():
        for _ in range(1 + runs):
            answer = answering()
            times.append(clocks())
    error = (answer.float() - wanted).abs().max() / wanted.abs().max()
    return {**report(times), **memory(), "error": error.item()}


# ---- the peers: (folder, runs) to seconds


def with_diffusers(
    folder: Path,
    runs: int,
    *,
    part: str = "unet",
    fast: bool = False,
    compiled: bool = False,
    dtype: torch.dtype = torch.float32,
    tiled: bool = False,
) -> dict:
    """diffusers as it comes, or `fast`: what its page "Accelerate inference" has for every device, that is
    channels_last and fused projections, and if `compiled` torch.compile as well, with PyTorch's setting for
    inference, `freezing`, without which compiling brought nothing.

    Tiles would be as large as our latents and so change nothing: `tiled` takes them half as wide.
    """
    wanted = diffusers_answer(folder, part)
    network = from_diffusers(folder, part, dtype)
    if fast:
        network.to(memory_format=torch.channels_last)
        network.fuse_qkv_projections()
    if tiled:
        network.enable_slicing()
        network.enable_tiling()
        network.tile_latent_min_size //= 2
        network.tile_sample_min_size //= 2
    given = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in inputs(folder, part).items()
    }
    if compiled:
        from torch._inductor import config

        config.freezing = True
        network = torch.compile(network, fullgraph=True)
    call = asked(network, part)
    return timed(lambda: call(**given), wanted, runs)


def with_minisd(folder: Path, runs: int, *, part: str = "unet", dtype: torch.dtype = torch.float32) -> dict:
    """Our own networks, as `from_pretrained` loads them."""
    wanted, (build, weights, _) = diffusers_answer(folder, part), NETWORKS[part]
    network = load_model(build, folder / part, weights, "cpu", dtype).eval()
    given = inputs(folder, part)
    if part == "vae":
        return timed(lambda: network.decode(given["z"].to(dtype)), wanted, runs)
    z, t, context = given.values()
    return timed(lambda: network(z.to(dtype), t, context.to(dtype)), wanted, runs)


def silent_openvino():
    """The package, without its telemetry: it does without where openvino_telemetry can't be imported."""
    sys.modules["openvino_telemetry"] = None
    import openvino

    return openvino


def write_openvino(folder: Path, part: str) -> None:
    """Convert diffusers' network to OpenVINO's format, in float32: FOLDER/peers/PART.xml and PART.bin."""
    openvino = silent_openvino()
    network, given = from_diffusers(folder, part), inputs(folder, part)
    if part == "vae":
        network.forward = network.decode
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # fixed shapes are what we want
        warnings.simplefilter("ignore", DeprecationWarning)  # OpenVINO still traces
        model = openvino.convert_model(
            network, example_input=given, input=[(name, list(x.shape)) for name, x in given.items()]
        )
    openvino.save_model(model, folder / "peers" / f"{part}.new.xml", compress_to_fp16=False)
    for suffix in (".bin", ".xml"):  # the .xml last: where it stands, both are whole
        (folder / "peers" / f"{part}.new{suffix}").replace(folder / "peers" / f"{part}{suffix}")


def with_openvino(folder: Path, runs: int, *, part: str = "unet", precision: str = "f32") -> dict:
    """OpenVINO's CPU plugin, told to answer one request as soon as it can."""
    wanted, path = diffusers_answer(folder, part), folder / "peers" / f"{part}.xml"
    if not path.is_file():
        in_fresh_process(write_openvino, folder, part)
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": THREADS,
        "PERFORMANCE_HINT": "LATENCY",
    }
    network = silent_openvino().Core().compile_model(path, "CPU", settings)
    given = [x.numpy() for x in inputs(folder, part).values()]
    return timed(lambda: torch.from_numpy(network(given)[0]), wanted, runs)


def with_cpp(folder: Path, runs: int) -> dict:
    """stable-diffusion.cpp paints from its single file: the time from each step to the next.

    It runs the two halves of the batch one after the other, and has the convolutions' weights in float16. It
    paints its own noise and words, so there is no answer to compare. Its one decode is timed, too: decode.
    """
    from cyllama.sd import stable_diffusion as cpp

    times, peaks = [], []

    def after_step(_step: int, _steps: int, _milliseconds: float) -> None:  # and once before the first
        times.append(clocks())
        peaks.append(memory())

    cpp.set_log_callback(lambda _level, _text: None)
    cpp.set_progress_callback(lambda _step, _steps, _milliseconds: None)  # else loading draws a bar
    settings = cpp.SDContextParams()
    settings.model_path = str(folder.with_suffix(".safetensors"))
    settings.n_threads = THREADS
    painter = cpp.SDContext(settings)
    cpp.set_progress_callback(after_step)
    painter.generate(prompt="a house", width=512, height=512, seed=0, sample_steps=1 + runs, cfg_scale=7.5)
    decode = time.perf_counter() - times[1 + runs][0]
    return {**report(times[: 2 + runs]), **peaks[1 + runs], "decode": decode}


INEXACT = ("bfloat16", "tiled")
PEERS: dict[str, Callable[[Path, int], dict]] = {
    "minisd": with_minisd,
    "minisd, bfloat16": partial(with_minisd, dtype=torch.bfloat16),
    "diffusers": with_diffusers,
    "diffusers, fast": partial(with_diffusers, fast=True),
    "diffusers, compiled": partial(with_diffusers, fast=True, compiled=True),
    "diffusers, bfloat16": partial(with_diffusers, fast=True, dtype=torch.bfloat16),
    "openvino": with_openvino,
    "openvino, bfloat16": partial(with_openvino, precision="bf16"),
    "stable-diffusion.cpp": with_cpp,
    "vae: minisd": partial(with_minisd, part="vae"),
    "vae: minisd, bfloat16": partial(with_minisd, part="vae", dtype=torch.bfloat16),
    "vae: diffusers": partial(with_diffusers, part="vae"),
    "vae: diffusers, tiled": partial(with_diffusers, part="vae", tiled=True),
    "vae: openvino": partial(with_openvino, part="vae"),
    "vae: openvino, bfloat16": partial(with_openvino, part="vae", precision="bf16"),
}


def packages(peer: str) -> list[str]:
    """What must be installed for a peer."""
    if peer == "stable-diffusion.cpp":
        return ["cyllama"]
    if "minisd" in peer:
        return ["torch"]
    return ["torch", "diffusers", *(["openvino"] if "openvino" in peer else [])]


def missing(peer: str) -> list[str]:
    """The packages that `peer` needs and that are not installed."""
    return [name for name in packages(peer) if importlib.util.find_spec(name) is None]


def measure(peer: str, folder: Path, runs: int) -> dict:
    """What one peer takes, in this process; RuntimeError if in float32 it doesn't answer as diffusers."""
    if missing(peer):
        return {"peer": peer, "skipped": f"not installed: {', '.join(missing(peer))}"}
    found = PEERS[peer](folder, runs)
    if not (found.get("error", 0) <= TOLERANCE or peer.endswith(INEXACT)):  # NaN is refused, too
        raise RuntimeError(f"{peer} differs from diffusers by {found['error']:.1e} of the greatest number")
    return {
        "peer": peer,
        "versions": {name: version(name) for name in packages(peer)},
        "threads": THREADS,
        **found,
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Time another program's U-Net step or VAE decode.")
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("folder", type=Path, help="a model in diffusers' layout")
    parser.add_argument("--runs", type=int, default=3, help="timed after one warm-up")
    options = parser.parse_args(arguments)
    if options.runs < 1:
        parser.error("--runs must be at least 1")
    torch.set_num_threads(THREADS)
    print(json.dumps(measure(options.peer, options.folder, options.runs)))


if __name__ == "__main__":
    main()
