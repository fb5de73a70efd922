"""What the figures were measured on, and what a process uses."""

import os
import platform
from pathlib import Path


def facts() -> dict[str, str | int]:
    """The machine in a few words."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "unknown"
    )
    return {
        "cpu": model,
        "cores": os.cpu_count() or 0,
        "load1": f"{os.getloadavg()[0]:.2f}",
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def memory_mb(pid: int) -> dict[str, float]:
    """Anonymous and file-backed resident memory of a process, in MB (the mapped database counts as file-backed)."""
    found = {}
    for line in _lines(f"/proc/{pid}/status"):
        name, _, rest = line.partition(":")
        if name in {"RssAnon", "RssFile"}:
            found[name] = int(rest.split()[0]) / 1024
    return found


def cpu_s(pid: int) -> float:
    """Processor time a process has used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def busy_s() -> float:
    """Processor time that the whole machine has used, in seconds, over all cores."""
    user, nice, system, _, _, interrupts, soft, *_ = map(int, _lines("/proc/stat")[0].split()[1:])
    return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")


def _lines(path: str) -> list[str]:
    return Path(path).read_text("utf-8").splitlines()
