"""The machine that a measurement was made on, without a name by which it or its user could be found."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tercet.units import size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine as far as it matters for figures; `memory_bytes` 0 is "not known"."""

    cpu: str
    cores: int
    memory_bytes: int
    system: str
    python: str
    servers: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """All of it in one line."""
        cores = f"{self.cores} {'core' if self.cores == 1 else 'cores'}"
        memory = (f"{size(self.memory_bytes)} of memory",) if self.memory_bytes else ()
        return " · ".join((self.cpu, cores, *memory, self.system, self.python, *self.servers))


def describe_machine(servers: Sequence[str] = (), *, read: Callable[[str], str | None] | None = None) -> Machine:
    """This machine now; `servers` are named by who has asked them: "PostgreSQL 18.6".

    Cores and memory are what this process may use, so a container's limits count. `read` gives the text of a
    system file or None.
    """
    read = read or _text
    return Machine(
        cpu=_cpu(read("/proc/cpuinfo") or ""),
        cores=_cores(read("/sys/fs/cgroup/cpu.max") or ""),
        memory_bytes=_memory(read("/sys/fs/cgroup/memory.max") or ""),
        system=_system(read("/etc/os-release") or ""),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        servers=tuple(servers),
    )


def _text(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _cpu(cpuinfo: str) -> str:
    """The model as the kernel names it; ARM kernels name none, macOS has no such file."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in {"model name", "Model", "cpu model"} and value.strip():
            return " ".join(value.split())
    return platform.processor() or platform.machine() or "unknown processor"


def _cores(cpu_max: str) -> int:
    """The cores that the scheduler gives this process, or fewer where a container's quota says so."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(ValueError, ZeroDivisionError):  # without a quota it says "max"
        quota, period = (int(part) for part in cpu_max.split())
        cores = min(cores, max(1, quota // period))
    return cores


def _memory(memory_max: str) -> int:
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        memory = 0
    with suppress(ValueError):  # without a limit it says "max"
        memory = min(memory, int(memory_max)) if memory else int(memory_max)
    return memory


def _system(os_release: str) -> str:
    for line in os_release.splitlines():
        if line.startswith("PRETTY_NAME="):
            return f"{line.partition('=')[2].strip().strip(chr(34))}, {platform.machine()}"
    return f"{platform.system()} {platform.release()}, {platform.machine()}"
