"""How much memory a piece of work needs at its peak, beyond what was there before it.

It knows the process and the device, not what the work is.
"""

import mmap
import re
from collections.abc import Callable
from pathlib import Path

import torch

_CLEAR_PEAK = "5"
_KIB = 1024


def measure_peak_bytes(work: Callable[[], object], *, device: torch.device) -> int:
    """Return the peak of memory while ``work`` runs, less what was held before.

    On the CPU it is the process's resident set, whose high-water mark Linux resets on request; the
    work must allocate far more than the allocator keeps for itself. On CUDA it is what torch has
    allocated.

    Raises:
        RuntimeError: The system keeps no high-water mark that can be reset.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        held = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - held
    try:
        Path("/proc/self/clear_refs").write_text(_CLEAR_PEAK, encoding="ascii")
    except OSError as error:
        raise RuntimeError(
            f"peak memory cannot be measured here ({error}); it needs Linux's /proc/self/clear_refs"
        ) from error
    held = _read_status("VmRSS")
    work()
    return max(_read_status("VmHWM") - held, mmap.PAGESIZE)  # so that ratios exist


def _read_status(field: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    found = re.search(rf"^{field}:\s+(\d+) kB$", status, flags=re.MULTILINE)
    assert found is not None
    return int(found.group(1)) * _KIB
