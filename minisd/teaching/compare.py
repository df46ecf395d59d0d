"""The microscope: two programs on the same inputs, tensor by tensor, and where and why they part.

    from minisd.teaching import microscope
    microscope(my_unet, their_unet, (latents, 981, context))
    microscope(my_pipeline, their_pipeline, {"prompt": "a red house", "num_inference_steps": 4})

How it works. Each program runs once with a hook before and after every module whose name both have; the
hooks keep copies of what goes in and what comes out. Every output is measured against its namesake. Where
one tensor is off, most of those after it are off too, so the place to look at is the first module that
makes a difference out of inputs that agree. There the known traps are tried one by one
(`minisd.teaching.traps`); where none explains the difference, the weights are compared.
"""

import functools
import html
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .traps import Record, Spot, likely

TOLERANCE = 1e-5  # of the largest number in the reference's tensor: float32 through a whole network
NOISE = 3e-7  # float32 in one module
NORMS = (nn.GroupNorm, nn.LayerNorm)  # a wrong eps hides below the tolerance, so these are looked at closely
# a module is to blame when its output is so many times further off than its inputs (guidance makes 2 s - 1)
JUMP = 30
FLIPPED = 0.01  # the share of an 8-bit picture's numbers that float32's noise may round the other way
HEAD, AROUND, TAIL = 6, 4, 6  # rows of a long table that are shown: first, about the difference, last


@dataclass
class Row:
    """One tensor in both programs: largest difference, the same over the reference's largest number, verdict.

    Of 8-bit pictures `relative` is the share of numbers that differ. `inputs` is the largest `relative`
    among the tensors that this one was made from.
    """

    name: str
    shape: str
    dtype: str
    max_abs: float
    relative: float
    inputs: float
    verdict: str


@dataclass
class Report:
    """What `microscope` saw. `first` is the row to look at (None: the programs agree), `cause` says why.

    `trap` is the number of the trap that explains it, None where none does. `ours` and `reference` hold
    every recorded tensor: report.ours[report.first.name].inputs, .output.
    """

    rows: list[Row] = field(repr=False)
    first: Row | None
    cause: str
    trap: int | None = None
    ours: dict[str, Record] = field(default_factory=dict, repr=False)
    reference: dict[str, Record] = field(default_factory=dict, repr=False)

    def table(self) -> list[list[str]]:
        """The rows as text, long runs of rows left out; the first difference has an arrow."""
        middle = self.rows.index(self.first) if self.first else 0
        lines, skipped = [["", "tensor", "shape", "dtype", "max |diff|", "relative", "verdict"]], []
        for i, row in enumerate([*self.rows, None]):
            if row and HEAD <= i < len(self.rows) - TAIL and not (self.first and abs(i - middle) <= AROUND):
                skipped.append(row.verdict)
                continue
            if skipped:
                lines.append(["", f"... {len(skipped)} more, {skipped.count('agrees')} agree", *[""] * 5])
                skipped = []
            if row:
                lines.append(
                    [
                        "->" if row is self.first else "",
                        row.name,
                        row.shape,
                        row.dtype,
                        f"{row.max_abs:.1e}",
                        f"{row.relative:.1e}",
                        row.verdict,
                    ]
                )
        return lines

    def __str__(self) -> str:
        lines = self.table()
        widths = [max(map(len, column)) for column in zip(*lines)]
        text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines]
        return "\n".join([*text, "", self.cause])

    def _repr_html_(self) -> str:
        rows = [
            f"<tr{' style=font-weight:bold' * (line[0] == '->')}>"
            + "".join(f"<td style=text-align:left>{html.escape(cell)}</td>" for cell in line)
            + "</tr>"
            for line in self.table()
        ]
        return f"<table>{''.join(rows)}</table><p>{html.escape(self.cause)}</p>"


# ---- what a program did


def tensors(values: Any) -> list[Tensor]:
    """Copies of all tensors in nested arguments or outputs; numbers count as tensors."""
    if isinstance(values, Tensor):
        return [values.detach().clone()]
    if isinstance(values, (int, float)) and not isinstance(values, bool):
        return [torch.tensor(values)]
    if isinstance(values, dict):
        values = list(values.values())
    return [t for value in values for t in tensors(value)] if isinstance(values, (list, tuple)) else []


def plain(name: str) -> str:
    """A module's or weight's name without the part that transformers 5 dropped."""
    return name.removeprefix("text_model.")


@contextmanager
def wrapped(owner: Any, name: str, wrap: Callable[[Callable], Callable]) -> Iterator[None]:
    """Put `wrap(method)` in the place of one object's method while the block runs."""
    own, method = vars(owner).get(name), getattr(owner, name)
    setattr(owner, name, functools.wraps(method)(wrap(method)))
    try:
        yield
    finally:
        if own is None:
            delattr(owner, name)
        else:
            setattr(owner, name, own)


class Recording:
    """One run of a program: a Record for every call, in the order in which the calls ended.

    `scope` begins the names. An exception ends the run and stands in the records of what it stopped.
    """

    def __init__(self, program: Callable[["Recording"], None]):
        self.records: dict[str, Record] = {}
        self.modules: set[str] = set()
        self.open: list[tuple[str, Record]] = []
        self.scope = ""
        try:
            program(self)
        except Exception as error:  # noqa: BLE001 (whatever stops the reader's own program, it is written down)
            if not self.open:
                self.enter("between the modules", ())
            while self.open:
                self.leave(None, f"{type(error).__name__}: {error}".splitlines()[0])

    def enter(self, name: str, inputs: Any, module: Any = None) -> None:
        self.open.append((self.scope + name, Record(tensors(inputs), module=module)))

    def leave(self, output: Any, error: str = "") -> None:
        name, record = self.open.pop()
        record.output, record.error = next(iter(tensors(output)), None), error
        calls = 2
        while name in self.records:
            name, calls = f"{name.split(' (call')[0]} (call {calls})", calls + 1
        self.records[name] = record

    def note(self, name: str, output: Any, *inputs: Any) -> None:
        """Record a tensor that no module made."""
        self.enter(name, inputs)
        self.leave(output)

    def output(self, name: str) -> Tensor | None:
        """What was recorded under this name within the scope, or else outside of any."""
        record = self.records.get(self.scope + name) or self.records.get(name)
        return record.output if record else None

    @contextmanager
    def listening(self, net: nn.Module, label: str) -> Iterator[None]:
        """Record every call of the modules of `net`, and of its `decode` if it has one."""

        def before(name: str, module: nn.Module, args: tuple, kwargs: dict) -> None:
            self.enter(name, (args, kwargs), module)

        def decoding(decode: Callable) -> Callable:
            def recorded(z: Tensor, *args: Any, **kwargs: Any) -> Any:
                latents, self.scope = self.output("latents"), ""
                self.note("latents for the VAE", z, latents)
                self.enter("decoded picture", z)
                output = decode(z, *args, **kwargs)
                self.leave(output)
                return output

            return recorded

        with ExitStack() as stack:
            for name, module in net.named_modules():
                if name != "text_model":
                    full = f"{label}.{plain(name)}".rstrip(".")
                    self.modules.add(full)
                    hook = module.register_forward_pre_hook(functools.partial(before, full), with_kwargs=True)
                    stack.callback(hook.remove)
                    hook = module.register_forward_hook(lambda m, args, output: self.leave(output))
                    stack.callback(hook.remove)
            if hasattr(net, "decode"):
                stack.enter_context(wrapped(net, "decode", decoding))
            yield


# ---- the programs


def call(net: Any, inputs: Any, label: str) -> Callable[[Recording], None]:
    """One call of a network; an autoencoder encodes pictures and decodes their mean, or decodes latents."""

    def program(recording: Recording) -> None:
        given = inputs if isinstance(inputs, tuple) else (inputs,)
        args = [x.clone() if isinstance(x, Tensor) else x for x in given]
        with recording.listening(net, label):
            if not hasattr(net, "decode"):
                net(*args)
            elif args[0].shape[1] != net.encoder.conv_in.in_channels:
                net.decode(args[0])
            else:
                posterior = net.encode(args[0])
                posterior = getattr(posterior, "latent_dist", posterior)
                moments = recording.output(f"{label}.quant_conv")
                recording.note("posterior mean", posterior.mean, moments)
                recording.note("posterior logvar", posterior.logvar, moments)
                net.decode(posterior.mean)

    return program


class Steps:
    """Follows the latents of a painting from step to step, and notes what goes into each and comes out."""

    def __init__(self, recording: Recording, pictures: int):
        self.recording, self.pictures = recording, pictures
        self.index = -1
        self.latents: Tensor | None = None

    def begin(self, unet: nn.Module, args: tuple, kwargs: dict) -> None:
        """A hook: the U-Net is about to be called."""
        z, t, context = tensors((args, kwargs))[:3]
        note = self.recording.note
        if self.latents is None:
            self.latents = z[: self.pictures]
            note("initial latents", self.latents)
        self.index += 1
        self.recording.scope = f"step {self.index}: "
        note("timestep", t.double().flatten()[0])
        note("U-Net input", z, self.latents)
        note("context", context, self.recording.output("text_encoder"))

    def end(self, noise: Tensor, after: Tensor) -> None:
        note, output = self.recording.note, self.recording.output
        note("guided noise", noise, output("unet"))
        note("latents", after, noise, self.latents, output("timestep"))
        self.latents = after.clone()

    def streaming(self, stream: Callable) -> Callable:
        """minisd's `pipe.stream`, listened to."""
        return lambda *args, **kwargs: Listened(stream(*args, **kwargs), self.end)

    def stepping(self, step: Callable) -> Callable:
        """diffusers' `scheduler.step`, listened to."""

        def recorded(noise: Tensor, *args: Any, **kwargs: Any) -> Any:
            result = step(noise, *args, **kwargs)
            self.end(noise, result[0])
            return result

        return recorded


class Listened:
    """A painting that tells `end` of every step before it passes it on; all else is the painting's."""

    def __init__(self, painting: Any, end: Callable[[Tensor, Tensor], None]):
        self.painting, self.end = painting, end

    def __iter__(self) -> Iterator:
        for step in self.painting:
            self.end(step.noise, step.latents)
            yield step

    def __len__(self) -> int:
        return len(self.painting)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.painting, name)


def paint(pipe: Any, options: dict) -> Callable[[Recording], None]:
    """A picture from a prompt, by minisd's pipeline (it has `stream`) or diffusers'."""
    ours, o = hasattr(pipe, "stream"), dict(options)
    seed, sampler = o.pop("seed"), o.pop("sampler")
    prompts, negative = ([x] if isinstance(x, str) else list(x) for x in (o["prompt"], o["negative_prompt"]))
    negative *= len(prompts) // len(negative) if o["guidance_scale"] != 1 else 0

    def program(recording: Recording) -> None:
        if ours:
            ids = pipe.tokenizer(negative + prompts)
        else:
            how = {"padding": "max_length", "truncation": True, "return_tensors": "pt"}
            ids = pipe.tokenizer(negative + prompts, **how).input_ids
        recording.note("tokens", ids)
        with recording.listening(pipe.text_encoder, "text_encoder"):
            pipe.text_encoder(ids.to(pipe.device))
        steps = Steps(recording, len(prompts))
        hook = pipe.unet.register_forward_pre_hook(steps.begin, with_kwargs=True)
        if ours:
            each = wrapped(pipe, "stream", steps.streaming)
        else:
            each = wrapped(pipe.scheduler, "step", steps.stepping)
        with recording.listening(pipe.unet, "unet"), recording.listening(pipe.vae, "vae"), each:
            try:
                if ours:
                    pictures = pipe(**o, seed=seed, sampler=sampler)
                else:
                    generators = [torch.Generator().manual_seed(seed + i) for i in range(len(prompts))]
                    pictures = pipe(**o, generator=generators).images
            finally:
                hook.remove()
        pixels = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]))
        recording.note("8-bit picture", pixels, recording.output("decoded picture"))

    return program


# ---- the comparison


def off(ours: Tensor, theirs: Tensor) -> tuple[float, float]:
    """Largest difference, and the same over the reference's largest number; 8-bit: the share that differs."""
    a, b = (x.detach().cpu().double().flatten() for x in (ours, theirs))
    if torch.equal(a, b):  # also where all is zero
        return 0.0, 0.0
    largest, scale = (a - b).abs().max().item(), b.abs().max().item()
    if theirs.dtype == torch.uint8:
        return largest, (a != b).double().mean().item()
    return largest, largest / scale if largest < float("inf") and scale else float("inf")


def inputs_off(ours: Record | None, theirs: Record | None) -> float:
    """The largest relative difference among the inputs, each of the reference's against the like of ours.

    Programs order their arguments otherwise and pass some that the other has no use for, so an input
    is looked for among ours of its size; only the first must be there.
    """
    worst = 0.0
    if ours is None or theirs is None:
        return worst
    for i, b in enumerate(theirs.inputs):
        same = [off(a, b)[1] for a in ours.inputs if a.numel() == b.numel()]
        if same or i == 0:
            worst = max(worst, min(same, default=float("inf")))
    return worst


def row_of(name: str, ours: Record | None, theirs: Record | None, tolerance: float) -> Row:
    """The row of one name; either program may lack it."""
    a, b = (record.output if record else None for record in (ours, theirs))
    shape, dtype = (
        " / ".join(dict.fromkeys(str(read(x)).removeprefix("torch.") for x in (a, b) if x is not None))
        for read in (lambda x: tuple(x.shape), lambda x: x.dtype)
    )
    largest, relative, verdict = float("nan"), float("inf"), "agrees"
    if stopped := [
        f"{who} stopped: {record.error}"
        for who, record in (("ours", ours), ("the reference", theirs))
        if record and record.error
    ]:
        verdict = stopped[0]
    elif a is None or b is None:
        verdict = "not called in ours" if a is None else "only in ours"
        relative = float("inf") if name.endswith("timestep") else 0.0
    elif a.numel() != b.numel():
        verdict = "shape differs"
    else:
        largest, relative = off(a, b)
        limit = FLIPPED if b.dtype == torch.uint8 else tolerance if b.is_floating_point() else 0
        verdict = "differs" if relative > limit else "dtype differs" if a.dtype != b.dtype else "agrees"
    return Row(name, shape, dtype, largest, relative, inputs_off(ours, theirs), verdict)


def weights(spot: Spot) -> str:
    """The first weight beneath the module that is not the reference's, in words."""
    ours, theirs = spot.ours.get(spot.name), spot.theirs.get(spot.name)
    if not (ours and theirs and ours.module and theirs.module):
        return ""
    mine = {plain(name): weight for name, weight in ours.module.named_parameters()}
    for name, weight in ((plain(name), weight) for name, weight in theirs.module.named_parameters()):
        if name not in mine:
            return f"the weights differ: ours has no {name}"
        if mine[name].shape != weight.shape or off(mine[name], weight)[1] > NOISE:
            return f"the weights differ: {name}"
    return ""


def replayed(spot: Spot) -> Spot:
    """The same place with the reference's module run on our inputs: what is off now, it alone makes."""
    ours, module = spot.ours[spot.name], spot.module
    again = Record(ours.inputs, module(ours.inputs[0]), module)
    return replace(spot, theirs={**spot.theirs, spot.name: again})


def judge(
    rows: list[Row], tolerance: float, spot_of: Callable[[str], Spot]
) -> tuple[Row | None, str, int | None]:
    """The first row that is off although its inputs agree, the likely cause, the number of its trap."""
    for row in rows:
        spot = spot_of(row.name)
        blamed = row.verdict != "agrees" and (
            row.relative > JUMP * row.inputs or row.verdict == "dtype differs"
        )
        if blamed and "stopped" in row.verdict:
            return row, f"{row.name}: {row.verdict}", None
        # of dtype "float32/float16" the two programs' tensors differ
        norm = isinstance(spot.module, NORMS) and "/" not in row.dtype
        if norm and np.isfinite(row.max_abs + row.inputs):
            spot = replayed(spot)
            mine, theirs = spot.outputs()
            suspect = mine is not None and off(mine, theirs)[1] > NOISE
        else:
            suspect = False
        if not blamed and not suspect:
            continue
        cause, trap, untold = likely(spot)
        if blamed and not cause:
            inside = [r.name for r in rows if r.name.startswith(f"{row.name}.") and r.relative > tolerance]
            where = f"look inside {row.name}" + (f", before {inside[0]}" if inside else "")
            cause = weights(spot) or f"unknown: {where}{untold}"
        if cause:
            return row, f"{row.name}: {cause}", trap
    worst = max((row for row in rows if row.dtype != "uint8"), key=lambda row: row.relative)
    said = f"the largest relative difference of {len(rows)} tensors is {worst.relative:.1e}, at {worst.name}"
    if worst.relative <= tolerance:
        return None, f"the two agree: {said}", None
    return None, f"no one place parts the two, but small differences add up: {said}", None


@torch.inference_mode()
def microscope(ours: Any, reference: Any, inputs: Any, tolerance: float = TOLERANCE) -> Report:
    """Run both on the same inputs and compare them tensor by tensor; see the head of this file.

    ours, reference: two networks whose modules have the same names (our UNet, TextEncoder, AutoencoderKL or
    any part of them, and diffusers' or transformers'), with `inputs` a tensor or a tuple of arguments in
    order; or two whole pipelines, with `inputs` a prompt or a dictionary of `prompt`, `negative_prompt`,
    `num_inference_steps` (4), `guidance_scale` (7.5), `seed` (0), `height`, `width`, `eta`, `latents` and,
    for ours alone, `sampler` ("ddim"): the reference samples with its own scheduler. Every tensor of both
    runs is kept: at Stable Diffusion's size look at 128x128 pixels and few steps, where one call of both
    U-Nets keeps 1.3 GB.
    """
    if isinstance(ours, nn.Module):
        options: dict[str, Any] = {}
        label = type(ours).__name__
        programs = [call(net, inputs, label) for net in (ours, reference)]
    else:
        options = {
            "negative_prompt": "",
            "num_inference_steps": 4,
            "guidance_scale": 7.5,
            "seed": 0,
            "sampler": "ddim",
            **({"prompt": inputs} if isinstance(inputs, str) else inputs),
        }
        programs = [paint(pipe, options) for pipe in (ours, reference)]
    mine, theirs = (Recording(program) for program in programs)
    foreign = mine.modules ^ theirs.modules  # a Dropout of theirs, say, where we have none
    names, place = list(theirs.records), 0
    for name, record in mine.records.items():
        if name in theirs.records:
            place = names.index(name) + 1
        elif record.module is None or record.error:  # a step too many, or the error that stopped ours
            names.insert(place, name)
            place += 1
    rows = [
        row_of(name, mine.records.get(name), theirs.records.get(name), tolerance)
        for name in names
        if re.sub(r"^step \d+: | \(call \d+\)$", "", name) not in foreign
    ]
    places = mine.records, theirs.records
    first, cause, trap = judge(rows, tolerance, lambda name: Spot(name, *places, reference, options))
    return Report(rows, first, cause, trap, *places)
