"""One training loop for CLIP, the VAE and the U-Net: on accelerate, with a progress bar, resumable.

Everything random in step k comes from a generator seeded by (seed, k), so a training that was killed
and started again sees what an uninterrupted one would have seen, and ends with the same weights.
"""

import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

LOG_EVERY = 50  # steps that are averaged into one point of the stored loss curve


def learning_rate(step: int, steps: int, peak: float, warmup: int) -> float:
    """A straight climb to `peak` over `warmup` steps, then half a cosine down to zero at `steps`."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def save_atomically(value: dict, path: Path) -> None:
    """torch.save under another name, then rename: a kill in between leaves the old file whole."""
    part = path.with_name(path.name + ".part")
    torch.save(value, part)
    os.replace(part, path)


def fit(
    objective: nn.Module,
    batch: Callable[[np.random.Generator, int], tuple[torch.Tensor, ...]],
    out: Path,
    *,
    name: str,
    steps: int,
    batch_size: int,
    learning_rate_peak: float,
    warmup: int = 200,
    ema_decay: float = 0.999,
    save_every: int = 250,
    seed: int = 0,
    cpu: bool = False,
) -> dict:
    """Train `objective.net`, leave it with its averaged weights, and return {"losses": [...], "seconds": float, "processes": int}.

    `objective(*tensors)` is the loss of one batch, `batch(rng, n)` draws the tensors of n examples.
    The checkpoint `out / name.pt` is written every `save_every` steps and gone on from if it is there;
    a finished training returns at once. Under `accelerate launch` every process takes its share of
    the batch and the gradients are averaged. The averaged weights are the exponential moving average.
    """
    accelerator = Accelerator(cpu=cpu)
    share = batch_size // accelerator.num_processes
    objective = objective.to(memory_format=torch.channels_last)
    plain, net = objective, objective.net  # as they are before accelerate wraps them
    trained = [p for p in objective.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=learning_rate_peak)
    path = Path(out) / f"{name}.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    state = torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None
    if state is not None:
        if state["steps"] != steps:
            raise ValueError(f"{path} was trained towards {state['steps']} steps, now {steps} are asked for; "
                             "give the old number or another --out folder")  # fmt: skip
        objective.load_state_dict(state["objective"])
    average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(ema_decay))
    objective, optimizer = accelerator.prepare(objective, optimizer)
    average.to(accelerator.device)
    first, losses, recent, seconds = 0, [], [], 0.0  # recent: losses since the curve's last point
    if state is not None:
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        first, losses, seconds = state["step"], state["losses"], state["seconds"]
        recent = state.get("recent", [])  # not in older checkpoints

    bar = tqdm(range(first, steps), initial=first, total=steps, desc=name, unit="step",
               disable=not accelerator.is_main_process)  # fmt: skip
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
            raise FloatingPointError(f"{name}: the loss is {recent[-1]} at step {step}; "
                                     "try a lower learning_rate_peak in the config")  # fmt: skip
        bar.set_postfix(loss=f"{np.mean(recent[-LOG_EVERY:]):.4f}")
        if len(recent) == LOG_EVERY or step + 1 == steps:
            losses.append(float(np.mean(recent)))
            recent = []
        saving = (step + 1) % save_every == 0 or step + 1 == steps
        if saving and not all(p.isfinite().all() for p in trained):
            raise FloatingPointError(f"{name}: the weights are no numbers any more at step {step}; "
                                     "try a lower learning_rate_peak in the config")  # fmt: skip
        if saving and accelerator.is_main_process:
            save_atomically(
                {"step": step + 1, "steps": steps, "objective": plain.state_dict(), "average": average.state_dict(),
                 "optimizer": optimizer.state_dict(), "losses": losses, "processes": accelerator.num_processes, "recent": recent,
                 "seconds": seconds + time.perf_counter() - start}, path)  # fmt: skip
    accelerator.wait_for_everyone()
    done = torch.load(path, map_location="cpu", weights_only=True)
    net.load_state_dict({k.removeprefix("module."): v for k, v in done["average"].items() if k != "n_averaged"})
    return {key: done[key] for key in ("losses", "seconds", "processes")}
