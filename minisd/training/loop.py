"""One training loop for CLIP, the VAE and the U-Net: on accelerate, with a progress bar, resumable.

Everything random in step k comes from a generator seeded by the seed, k and the process's number, so a
training that was killed and started again sees what an uninterrupted one would have seen, and ends with
the same weights.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from ..files import whole
from .machine import machine

LOG_EVERY = 50  # steps that are averaged into one point of the stored loss curve


def learning_rate(step: int, steps: int, peak: float, warmup: int) -> float:
    """A straight climb to `peak` over `warmup` steps, then half a cosine down to zero at `steps`."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def fit(
    objective: nn.Module,
    batch: Callable[[np.random.Generator, int], tuple[torch.Tensor, ...]],
    out: Path,
    *,
    name: str,
    settings: dict,
    steps: int,
    batch_size: int,
    learning_rate_peak: float,
    warmup: int = 200,
    ema_decay: float = 0.999,
    save_every: int = 250,
    seed: int = 0,
    cpu: bool = False,
) -> dict:
    """Train `objective.net`, leave it on the CPU with its averaged weights, and say how it went.

    Returns {"losses": [...], "seconds": float, "processes": int, "machine": {...}}.
    `objective(*tensors)` is the loss of one batch, `batch(rng, n)` draws the tensors of n examples.
    The checkpoint `out / name.pt` is written every `save_every` steps and gone on from if it is there;
    a finished training returns at once. Under `accelerate launch` every process takes its share of
    the batch and the gradients are averaged. The averaged weights are the exponential moving average.
    `settings` are kept in the checkpoint. Raises ValueError for a checkpoint of other settings or another
    number of processes, and for a batch that can't be shared out; FloatingPointError if it diverges.
    """
    accelerator = Accelerator(cpu=cpu)
    share, rest = divmod(batch_size, accelerator.num_processes)
    if rest:
        raise ValueError(
            f"{name}: a batch of {batch_size} can't be shared by {accelerator.num_processes} processes"
        )
    settings = {**settings, "steps": steps}
    objective = objective.to(memory_format=torch.channels_last)
    plain, net = objective, objective.net  # as they are before accelerate wraps them
    trained = [p for p in objective.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=learning_rate_peak)
    path = Path(out) / f"{name}.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    state = torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None
    if state is not None:
        for key in sorted(settings.keys() | state["settings"].keys()):
            if settings.get(key) != state["settings"].get(key):
                raise ValueError(
                    f"{path} was trained with {key} = {state['settings'].get(key)}, now it is "
                    f"{settings.get(key)}; give the old value or another --out folder"
                )
        if state["step"] == steps:
            return finish(net, state)
        if state["processes"] != accelerator.num_processes:
            raise ValueError(
                f"{path} was begun by {state['processes']} processes, now there are "
                f"{accelerator.num_processes}; start as many as before"
            )
        objective.load_state_dict(state["objective"])
    average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(ema_decay))
    objective, optimizer = accelerator.prepare(objective, optimizer)
    average.to(accelerator.device)
    first, losses, recent, seconds = 0, [], [], 0.0  # recent: losses since the curve's last point
    if state is not None:
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        first, losses, seconds = state["step"], state["losses"], state["seconds"]
        recent = state["recent"]

    bar = tqdm(
        range(first, steps),
        initial=first,
        total=steps,
        desc=name,
        unit="step",
        disable=not accelerator.is_main_process,
    )
    start = time.perf_counter()
    for step in bar:
        rng = np.random.default_rng((seed, step, 1 + accelerator.process_index))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, learning_rate_peak, min(warmup, steps // 2))
        with accelerator.autocast():
            loss = objective(*(x.to(accelerator.device) for x in batch(rng, share)))
        optimizer.zero_grad()
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        average.update_parameters(net)
        recent.append(loss.item())
        if not math.isfinite(recent[-1]):
            raise FloatingPointError(
                f"{name}: the loss is {recent[-1]} at step {step}; "
                "try a lower learning_rate_peak in the config"
            )
        bar.set_postfix(loss=f"{np.mean(recent[-LOG_EVERY:]):.4f}")
        if len(recent) == LOG_EVERY or step + 1 == steps:
            losses.append(float(np.mean(recent)))
            recent = []
        saving = (step + 1) % save_every == 0 or step + 1 == steps
        if saving and not all(p.isfinite().all() for p in trained):
            raise FloatingPointError(
                f"{name}: the weights are no numbers any more at step {step}; "
                "try a lower learning_rate_peak in the config"
            )
        if saving and accelerator.is_main_process:
            done = {
                "step": step + 1,
                "settings": settings,
                "objective": plain.state_dict(),
                "average": average.state_dict(),
                "optimizer": optimizer.state_dict(),
                "losses": losses,
                "recent": recent,
                "seconds": seconds + time.perf_counter() - start,
                "processes": accelerator.num_processes,
                "machine": machine(str(accelerator.device)),
            }
            with whole(path) as part:
                torch.save(done, part)
    accelerator.wait_for_everyone()
    plain.cpu()
    return finish(net, torch.load(path, map_location="cpu", weights_only=True))


def finish(net: nn.Module, state: dict) -> dict:
    """Give the network the averaged weights of a finished training's checkpoint; returns what `fit` returns."""
    net.load_state_dict(
        {k.removeprefix("module."): v for k, v in state["average"].items() if k != "n_averaged"}
    )
    return {key: state[key] for key in ("losses", "seconds", "processes", "machine")}
