"""What the figures were measured on, and what a process uses."""

import os
import platform
from pathlib import Path

import apsw


def facts() -> dict[str, str | int]:
    """The machine in a few words."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "unknown"
    )
    return {
        "cpu": model,
        "cores": cores(),
        "memory GB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "load before": f"{os.getloadavg()[0]:.2f}",
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
        "system": platform.platform(),
    }


def memory_mb(pid: int) -> dict[str, float]:
    """Memory of a process in MB: all that is resident (RSS, the mapped database too), and its own (RssAnon)."""
    found = {}
    for line in _lines(f"/proc/{pid}/status"):
        name, _, rest = line.partition(":")
        if name in {"RssAnon", "VmRSS"}:
            found[name.replace("VmRSS", "RSS")] = int(rest.split()[0]) / 1024
    return found


def cpu_s(pid: int) -> float:
    """Processor time a process has used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def busy_s() -> float:
    """Processor time that the whole machine has used, in seconds, over all cores."""
    user, nice, system, _, _, interrupts, soft, *_ = map(int, _lines("/proc/stat")[0].split()[1:])
    return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")


def cores() -> int:
    """How many cores there are."""
    return os.cpu_count() or 1


def family(pid: int) -> list[int]:
    """A process and those it has started."""
    return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split())]


def _lines(path: str) -> list[str]:
    return Path(path).read_text("utf-8").splitlines()
