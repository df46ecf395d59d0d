"""The GPU memory that Stable Diffusion 1.5 needs for a picture, by stage: computed, and measured on a GPU.

    python benchmarks/memory.py               compute, write memory.json and memory.md
    python benchmarks/memory.py --small       the same in miniature, written nowhere

The networks run on torch's "meta" device, whose tensors have shapes and no numbers: so the real code paints a
picture of 512 x 512 pixels in seconds on any machine, and every tensor that would be alive is counted.
"""

import argparse
import weakref
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from common import HERE, now_and_here, table, where_and_when, write_text
from loading import tokenizer_of_full_size
from minisd import SD15, AutoencoderKL, StableDiffusion, TextEncoder, UNet
from minisd.checkpoint import write_json
from minisd.commands.memory import forget_peak, peak
from minisd.config import TextConfig
from minisd.tokenizer import BPE

SIZE, SCALE, STEPS, GOAL = 512, 7.5, 2, 4e9  # every step takes the same memory: two show what stays between
PROMPT = "a red house left of a yellow tent"
STAGES = {"reading": "text_encoder", "steps": "unet", "decoding": "vae"}  # and the network that works in each
SMALL = {"block_out_channels": [32, 64, 64, 64]}  # instead of the published widths
aten = torch.ops.aten
ATTENTION, CONVOLUTION = aten.scaled_dot_product_attention.default, aten.convolution.default
ONE_KERNEL = {ATTENTION, aten.upsample_nearest2d.vec}  # not to be taken apart: on a GPU they are one kernel


class Setup(NamedTuple):
    """A way to paint."""

    dtype: str = "float16"
    guidance: bool = True
    offload: bool = False
    tiling: bool = False

    def __str__(self) -> str:
        said = [self.dtype, "offload" if self.offload else "all on the GPU"]
        said += ["VAE in tiles"] if self.tiling else []
        return ", ".join(said + ([] if self.guidance else ["no guidance"]))


SETUPS = [
    Setup(),
    Setup(guidance=False),
    Setup(tiling=True),
    Setup(offload=True),
    Setup(offload=True, tiling=True),
    Setup("float32"),
    Setup("float32", offload=True),
    Setup("float32", offload=True, tiling=True),
]


class LiveMemory(TorchDispatchMode):
    """Counts inside the `with` the bytes of the tensors that are alive on a device, the networks' apart.

    peak: at most. with_copies: at most, if every convolution's workspace held its input, weights and output
    once more, as cuDNN does when it brings them into another order.
    """

    def __init__(self, device: torch.device, networks: Iterable[nn.Module] = ()):
        super().__init__()
        self.device, self.known = device, WeakIdKeyDictionary()
        self.live = self.peak = self.with_copies = 0
        for network in networks:
            for weight in (*network.parameters(), *network.buffers()):
                self.known[weight.untyped_storage()] = True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        with self:  # what an operation is made of is counted too
            if func is CONVOLUTION and self.device.type == "meta":
                args = in_one_order(*args)
            parts = NotImplemented if func in ONE_KERNEL else func.decompose(*args, **kwargs)
        out = func(*args, **kwargs) if parts is NotImplemented else parts
        if self.device.type == "meta":
            out = laid_out(func, args, out)
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and tensor.device.type == self.device.type:
                self.follow(tensor)
        copies = sum(x.nbytes for x in (*args[:2], out)) if func is CONVOLUTION else 0
        self.peak = max(self.peak, self.live)
        self.with_copies = max(self.with_copies, self.live + copies)
        return out

    def follow(self, tensor: Tensor) -> None:
        """Count the memory of a tensor once, until the last that shares it is gone."""
        storage = tensor.untyped_storage()
        if storage not in self.known:
            self.known[storage] = True
            self.live += storage.nbytes()
            weakref.finalize(storage, self.release, storage.nbytes())

    def release(self, size: int) -> None:
        self.live -= size

    def start_anew(self) -> None:
        """Forget the peaks: what is alive now is the first."""
        self.peak = self.with_copies = self.live


def in_one_order(x: Tensor, weight: Tensor, *rest: Any) -> tuple[Any, ...]:
    """A convolution's arguments as torch hands them to cuDNN: channels last if picture or weights are."""
    last = any(in_channels_last(tensor) for tensor in (x, weight))
    order = torch.channels_last if last else torch.contiguous_format
    return x.contiguous(memory_format=order), weight.contiguous(memory_format=order), *rest


def in_channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def laid_out(func: Any, args: tuple[Any, ...], out: Any) -> Any:
    """An operation's output in the order of numbers that it has on a GPU: on "meta" it may be another."""
    if func is ATTENTION:  # as its queries, and nothing else: the fused kernels hold no weights
        return torch.empty_like(args[0])
    if func is CONVOLUTION and in_channels_last(args[0]):
        return out.contiguous(memory_format=torch.channels_last)
    return out


def random_pipeline(device: str | torch.device, dtype: torch.dtype, small: bool) -> StableDiffusion:
    """Stable Diffusion 1.5 with weights that mean nothing."""
    changed: dict[str, Any] = SMALL if small else {}
    tokenizer = BPE([]) if small else tokenizer_of_full_size()
    text = replace(TextConfig.from_dict(SD15["text_encoder"]), vocab_size=len(tokenizer))
    with torch.device(device):
        encoder = TextEncoder(text).to(dtype)
        unet, vae = UNet(SD15["unet"] | changed).to(dtype), AutoencoderKL(SD15["vae"] | changed).to(dtype)
    return StableDiffusion(tokenizer, encoder, unet, vae, SD15["scheduler"], SCALE)


def paint(pipe: StableDiffusion, setup: Setup, size: int, mark: Callable[[str], None]) -> None:
    """Paint a picture; `mark` hears the end of each stage."""
    pipe.vae.enable_tiling(setup.tiling)
    painting = pipe.stream(
        PROMPT,
        num_inference_steps=STEPS,
        guidance_scale=SCALE if setup.guidance else 1.0,
        sampler="ddim",
        height=size,
        width=size,
    )
    mark("reading")
    for step in painting:
        latents = step.latents
    mark("steps")
    with torch.inference_mode(), pipe.at_work(pipe.vae):
        pipe.vae.decode(latents / pipe.vae.scaling_factor).float()
    mark("decoding")


def bytes_of(network: nn.Module) -> int:
    return sum(weight.nbytes for weight in (*network.parameters(), *network.buffers()))


def computed(setup: Setup, small: bool, size: int) -> dict[str, dict[str, int]]:
    """Bytes at most in each stage: the weights on the device, and those with what else is alive."""
    pipe = random_pipeline("meta", getattr(torch, setup.dtype), small)
    networks = {name: getattr(pipe, name) for name in STAGES.values()}
    memory = LiveMemory(torch.device("meta"), networks.values())
    found = {}

    def mark(stage: str) -> None:
        there = [STAGES[stage]] if setup.offload else list(networks)
        weights = sum(bytes_of(networks[name]) for name in there)
        held, copies = weights + memory.peak, weights + memory.with_copies
        found[stage] = {"weights": weights, "held": held, "with_copies": copies}
        memory.start_anew()

    with memory:
        paint(pipe, setup, size, mark)
    return found


def measured(setup: Setup, small: bool, size: int, device: torch.device) -> dict[str, int]:
    """Bytes at most in each stage on a true device."""
    pipe = random_pipeline("cpu", getattr(torch, setup.dtype), small)
    if setup.offload:
        pipe.offload = device
    else:
        for name in STAGES.values():
            getattr(pipe, name).to(device)
    found = {}

    def mark(stage: str) -> None:
        found[stage] = peak(device)
        forget_peak(device)

    paint(pipe, setup, size, lambda stage: None)  # the first picture makes what the libraries keep
    forget_peak(device)
    paint(pipe, setup, size, mark)
    return found


def allocated(network: Callable[..., object], inputs: tuple[Any, ...]) -> int:
    """Bytes that torch's profiler sees on the CPU at most, beyond those of the start."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        network(*inputs)
    events = [event for event in watched.profiler.kineto_results.events() if event.name() == "[memory]"]
    live = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        most = max(most, live)
    return most


def checked() -> dict[str, dict[str, int]]:
    """A step and a decoding in miniature on the CPU: bytes at most, counted here and by torch's profiler."""
    pipe = random_pipeline("cpu", torch.float32, small=True)
    z, context = torch.randn(2, 4, 16, 16), torch.randn(2, 77, pipe.unet.config.cross_attention_dim)
    parts = {"a step": (pipe.unet, (z, 500, context)), "decoding": (pipe.vae.decode, (z,))}
    found = {}
    for name, (network, inputs) in parts.items():
        with torch.inference_mode():
            network(*inputs)  # the first run makes what the libraries keep
            with LiveMemory(torch.device("cpu"), (pipe.unet, pipe.vae)) as memory:
                network(*inputs)
            found[name] = {"counted": memory.peak, "profiler": allocated(network, inputs)}
    return found


def most(setup: dict, figure: str) -> float:
    """The most of all stages, in GB."""
    return max(stage[figure] for stage in setup["stages"].values()) / 1e9


def memory_table(results: dict) -> str:
    """A row for each setup."""
    rows = []
    for setup in results["setups"]:
        stages = [f"{setup['stages'][stage]['held'] / 1e9:.2f}" for stage in STAGES]
        whole = [f"{most(setup, figure):.2f}" for figure in ("held", "with_copies")]
        gpu = f"{max(setup['measured'].values()) / 1e9:.2f}" if setup["measured"] else "–"
        rows.append([setup["name"], *stages, *whole, gpu])
    return table(["GB", *STAGES, "at most", "with cuDNN's copies", "measured"], rows)


def markdown(results: dict) -> str:
    """The whole of memory.md."""
    beyond = [s["name"] for s in results["setups"] if most(s, "with_copies") * 1e9 > GOAL]
    check = [
        [name, *(f"{n:,}" for n in found.values()), f"{found['counted'] / found['profiler']:.3f}"]
        for name, found in results["check"].items()
    ]
    weights = results["setups"][0]["stages"]["steps"]["weights"] / 1e9
    return f"""# Memory of a GPU for Stable Diffusion 1.5

Written by `python benchmarks/memory.py`; the figures are those of `memory.json`.

{where_and_when(results)}

One picture of {SIZE} × {SIZE} pixels, with guidance unless it says otherwise; the weights of all networks \
are {weights:.2f} GB in
float16. "Offload" has one network at a time on the GPU (`--offload`), and the VAE decodes in tiles with \
`--vae-tiling`.
All is computed but for the last column, which needs a GPU ("–": none was there). GB are 10^9 bytes.

{memory_table(results)}

Beyond {GOAL / 1e9:.0f} GB, cuDNN's copies included: {"; ".join(beyond) or "none"}. All others are within.

**How it is computed.** The package's own code paints on torch's "meta" device, and every tensor is counted
from the operation that makes it until the last reference to it is gone; the weights on the GPU are added.
Attention counts as fused: torch's flash and memory-efficient kernels hold queries, keys, values and the
output, never the matrix of weights, which for the U-Net's first level would be 0.54 GB in float16 (2 halves,
8 heads, 4,096 × 4,096 places).

**What it leaves out.** The workspace of convolutions is cuDNN's choice. In half precision its fast kernels
read channels last, while torch's GroupNorm on a GPU returns channels first: so cuDNN may bring the input, the
weights and the output of a convolution into the other order. "With cuDNN's copies" counts all three once more
at every convolution. cuBLAS and the VAE's attention keep some MB. Beyond what torch counts, the driver takes
some hundreds of MB for each process, and torch's allocator keeps free blocks that don't fit what is asked
for: a card needs more than the figure.

**The check.** The same counting on a CPU, in miniature, against torch's profiler, which sees every
allocation:

{table(["bytes at most", "counted", "by the profiler", "ratio"], check)}
"""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Compute the memory of a GPU for SD 1.5, by stage.")
    parser.add_argument("--small", action="store_true", help="in miniature, to try the script")
    options = parser.parse_args(arguments)
    size, gpu = 64 if options.small else SIZE, torch.cuda.is_available()
    setups = []
    for setup in SETUPS:
        found = measured(setup, options.small, size, torch.device("cuda")) if gpu else None
        stages = computed(setup, options.small, size)
        setups.append({"name": str(setup), **setup._asdict(), "stages": stages, "measured": found})
    results = {**now_and_here("torch"), "check": checked(), "setups": setups}
    if not options.small:
        write_json(results, HERE / "memory.json")
        write_text(markdown(results), HERE / "memory.md")
    print(memory_table(results))


if __name__ == "__main__":
    main()
