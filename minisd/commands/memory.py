"""The most memory that was in use at a time."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

STATUS, FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def forget_peak(device: "torch.device") -> str:
    """Let `peak` count from now on, where the system can do that; what `peak` tells, in words.

    Raises ValueError under Windows without a GPU, where Python does not know it.
    """
    import torch

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return "of the GPU, held by torch"
    if sys.platform == "win32":
        raise ValueError("--memory: Python can't tell the peak under Windows; leave it out")
    try:
        FORGET.write_text("5")  # Linux: sets VmHWM to what is resident now
    except OSError:
        return "resident, of this process since its start"
    return "resident, of this process"


def peak(device: "torch.device") -> int:
    """Bytes at most: what torch held on a GPU, or what was resident of this process."""
    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if STATUS.is_file():
        status = dict(line.split(":", 1) for line in STATUS.read_text().splitlines() if ":" in line)
        return 1024 * int(status["VmHWM"].split()[0])
    import resource  # there on every Unix

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
