"""One training loop for CLIP, the VAE and the U-Net: on accelerate, with a progress bar, resumable.

Everything random in step k comes from a generator seeded by the seed, k and the process's number, so a
training that was killed and started again sees what an uninterrupted one would have seen, and ends with
the same weights. Several processes share a batch, or, where a loss compares all of it (CLIP's), each computes
the whole of the same one.
"""

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm.auto import tqdm

from .machine import machine
from .muon import Muon
from .objectives import Objective
from .recipe import DTYPES, Phase
from .store import check_settings, newest_checkpoint, read_checkpoint, write_checkpoint, write_snapshot

LOG_EVERY = 50  # steps that are averaged into one point of the stored loss curve
LARGEST_GRADIENT = 1.0  # the norm to which all gradients together are cut
PRECISIONS = dict(zip(DTYPES, ("no", "bf16", "fp16"), strict=True))  # as accelerate calls them

Batch = Callable[[np.random.Generator, int], tuple[Tensor, ...]]


def learning_rate(step: int, steps: int, peak: float, warmup: int) -> float:
    """A straight climb to `peak` over `warmup` steps, then half a cosine down to zero at `steps`."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def fit(
    objective: Objective,
    batch: Batch,
    path: Path,
    phase: Phase,
    accelerator: Accelerator,
    *,
    settings: dict[str, Any],
    seed: int = 0,
    shared: bool = True,
) -> dict[str, Any]:
    """Train `objective.net`, leave it on the CPU with its averaged weights, and say how it went.

    Returns {"losses": [...], "seconds": float, "processes": int, "machine": {...}}.
    `objective(*tensors)` is the loss of one batch, `batch(rng, n)` draws the tensors of n examples.
    The checkpoint `path` is written every `save_every` steps and gone on from if it is there; a finished
    training returns at once. Under `accelerate launch` every process takes its share of the batch and the
    gradients are averaged; without `shared` each takes the whole of it, and all find the same gradients. The
    averaged weights are the exponential moving average.
    `settings` are kept in the checkpoint. Raises ValueError for a checkpoint of other settings, of another
    number of processes or precision, and for a batch that can't be shared out; FloatingPointError if it
    diverges.
    """
    state = found_checkpoint(path, settings, accelerator)
    if state is None or state["step"] < phase.steps:
        loop = Loop(objective, path, phase, accelerator, settings, seed, shared)
        if state is not None:
            loop.resume(state)
        loop.run(batch)
        accelerator.wait_for_everyone()
        state = read_checkpoint(path)
    use_average(objective.cpu().net, state)
    return {key: state[key] for key in ("losses", "seconds", "processes", "machine")}


def found_checkpoint(path: Path, settings: dict[str, Any], accelerator: Accelerator) -> dict[str, Any] | None:
    """The newest checkpoint, None without one; ValueError if it was made with other settings."""
    with accelerator.main_process_first():  # the first may have to replace a damaged one
        state = newest_checkpoint(path)
    if state is not None:
        check_settings(path, state["settings"], settings)
    return state


def use_average(net: nn.Module, state: dict[str, Any]) -> None:
    """Give the network the averaged weights of a checkpoint."""
    net.load_state_dict(averaged(state["average"]))


def use_raw(net: nn.Module, state: dict[str, Any]) -> None:
    """Give the network a checkpoint's weights as the last step left them, not their average."""
    inner = {k.removeprefix("net."): v for k, v in state["objective"].items() if k.startswith("net.")}
    net.load_state_dict(inner)


def averaged(average: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights in the state of torch's AveragedModel, under the network's own names."""
    return {k.removeprefix("module."): v for k, v in average.items() if k != "n_averaged"}


class Loop:
    """A training on its way: what is trained, what trains it, and how far it has come."""

    def __init__(
        self,
        objective: Objective,
        path: Path,
        phase: Phase,
        accelerator: Accelerator,
        settings: dict[str, Any],
        seed: int,
        shared: bool,
    ):
        self.place = accelerator.process_index if shared else 0
        self.share, rest = divmod(phase.batch_size, accelerator.num_processes if shared else 1)
        if rest:
            raise ValueError(
                f"{path.stem}: a batch of {phase.batch_size} can't be shared by "
                f"{accelerator.num_processes} processes"
            )
        self.path, self.phase, self.accelerator = path, phase, accelerator
        self.settings, self.seed = settings, seed
        self.plain = objective  # as it is before accelerate wraps it
        objective.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's types lack it
        self.trained = [p for p in objective.parameters() if p.requires_grad]
        self.average = AveragedModel(objective.net, multi_avg_fn=get_ema_multi_avg_fn(phase.ema_decay))
        self.average.to(accelerator.device)
        self.objective, *self.optimizers = accelerator.prepare(objective, *optimizers(objective, phase))
        self.step, self.seconds = 0, 0.0
        self.losses: list[float] = []  # the curve
        self.recent: list[float] = []  # losses since the curve's last point

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint; ValueError if it was begun in another way than this run."""
        for key, now in self._conditions().items():
            if state[key] != now:
                raise ValueError(
                    f"{self.path} was begun with {key} = {state[key]}, now it is {now}; go on as before"
                )
        self.plain.load_state_dict(state["objective"])
        self.average.load_state_dict(state["average"])
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.losses, self.recent = state["losses"], state["recent"]

    def run(self, batch: Batch) -> None:
        """Take the steps that are left, with a checkpoint every `save_every` of them and at the end."""
        first, steps, start = self.step, self.phase.steps, time.perf_counter() - self.seconds
        bar = tqdm(
            range(first, steps),
            initial=first,
            total=steps,
            desc=self.path.stem,
            unit="step",
            disable=not self.accelerator.is_main_process,
        )
        if first == 0:
            self.keep_snapshot()
        for _ in bar:
            self.take_step(batch)
            self.keep_snapshot()
            bar.set_postfix(loss=f"{np.mean(self.recent[-LOG_EVERY:]):.4f}", refresh=False)
            if len(self.recent) == LOG_EVERY or self.step == steps:
                self.losses.append(float(np.mean(self.recent)))
                self.recent = []
            if self.step % self.phase.save_every == 0 or self.step == steps:
                self.seconds = time.perf_counter() - start
                self.save()

    def take_step(self, batch: Batch) -> None:
        """One step: draw a batch, find the gradients, move the weights, and their average after them."""
        phase = self.phase
        rng = np.random.default_rng((self.seed, self.step, 1 + self.place))
        warmup = min(phase.warmup, phase.steps // 2)
        for optimizer, peak in zip(self.optimizers, (phase.learning_rate_peak, phase.muon_peak)):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(self.step, phase.steps, peak, warmup)
        with self.attention():
            loss = self.objective(*(x.to(self.accelerator.device) for x in batch(rng, self.share)))
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.trained, LARGEST_GRADIENT)
        for optimizer in self.optimizers:
            optimizer.step()
        self.average.update_parameters(self.plain.net)
        self.recent.append(loss.item())
        if not math.isfinite(self.recent[-1]):
            raise diverged(self.path, f"the loss is {self.recent[-1]}", self.step)
        self.step += 1

    def attention(self) -> AbstractContextManager[None]:
        """How attention is computed: torch's fused one is slow to train in bfloat16 on CPUs (2.13)."""
        half = self.accelerator.device.type == "cpu" and self.accelerator.mixed_precision == "bf16"
        return sdpa_kernel(SDPBackend.MATH) if half else nullcontext()

    def keep_snapshot(self) -> None:
        """Keep the weights and their average, if the phase says so of this step."""
        if self.step in self.phase.snapshots and self.accelerator.is_main_process:
            average = averaged(self.average.state_dict())
            write_snapshot(self.plain.net.state_dict(), average, self.path, self.step, self.settings)

    def save(self) -> None:
        """Write the checkpoint, unless the weights are no numbers any more."""
        if not all(p.isfinite().all() for p in self.trained):
            raise diverged(self.path, "the weights are no numbers any more", self.step - 1)
        if self.accelerator.is_main_process:
            scaler = self.accelerator.scaler
            state = {
                "step": self.step,
                "settings": self.settings,
                "objective": self.plain.state_dict(),
                "average": self.average.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
                "scaler": None if scaler is None else scaler.state_dict(),
                "losses": self.losses,
                "recent": self.recent,
                "seconds": self.seconds,
                "machine": machine(str(self.accelerator.device)),
            }
            write_checkpoint(state | self._conditions(), self.path)

    def _conditions(self) -> dict[str, Any]:
        """What the end of a training must have in common with its beginning."""
        names = {theirs: ours for ours, theirs in PRECISIONS.items()}
        return {
            "processes": self.accelerator.num_processes,
            "dtype": names[self.accelerator.mixed_precision],
        }


def optimizers(objective: Objective, phase: Phase) -> list[torch.optim.Optimizer]:
    """AdamW for all that is trained; if the phase says so, Muon for matrices and kernels, AdamW for the rest.

    Embeddings (tables of vectors for tokens, places) are no matrices in this sense.
    """
    trained = [(name, p) for name, p in objective.named_parameters() if p.requires_grad]
    if not phase.muon_peak:
        return [torch.optim.AdamW([p for _, p in trained], lr=phase.learning_rate_peak)]
    matrices = [p for name, p in trained if p.ndim in (2, 4) and not name.endswith("embedding.weight")]
    chosen = {id(p) for p in matrices}
    return [
        torch.optim.AdamW([p for _, p in trained if id(p) not in chosen], lr=phase.learning_rate_peak),
        Muon(matrices, lr=phase.muon_peak),
    ]


def diverged(path: Path, what: str, step: int) -> FloatingPointError:
    """The error of a training that came to numbers that are none."""
    return FloatingPointError(
        f"{path.stem}: {what} at step {step}; try a lower learning_rate_peak in the recipe"
    )
