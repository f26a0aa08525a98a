"""The machine is described for its figures and cannot be found by them."""

from __future__ import annotations

import getpass
import platform
import sys
from pathlib import Path

import pytest

from tercet.proof import Machine, describe_machine

FILES = {
    "/proc/cpuinfo": "processor\t: 0\nmodel name\t: Great   CPU @ 3GHz\n\nmodel name\t: Other\n",
    "/etc/os-release": 'NAME=x\nPRETTY_NAME="Some Linux 12"\n',
    "/sys/fs/cgroup/cpu.max": "max 100000\n",
    "/sys/fs/cgroup/memory.max": "max\n",
}


def test_the_machine_is_told_as_the_kernel_names_it() -> None:
    """The first processor, the system's pretty name, and the servers as they were given."""
    machine = describe_machine(("PostgreSQL 18.6",), read=FILES.get)
    assert machine.cpu == "Great CPU @ 3GHz"
    assert machine.system == f"Some Linux 12, {platform.machine()}"
    assert machine.python.endswith(".".join(map(str, sys.version_info[:3])))
    assert machine.servers == ("PostgreSQL 18.6",)
    assert machine.cores >= 1


def test_the_limits_of_a_container_count() -> None:
    """It has what it may use, not what the host has."""
    limits = {**FILES, "/sys/fs/cgroup/cpu.max": "100000 100000", "/sys/fs/cgroup/memory.max": "1048576"}
    machine = describe_machine(read=limits.get)
    assert (machine.cores, machine.memory_bytes) == (1, 1 << 20)


@pytest.mark.parametrize("read", [lambda _: None, lambda _: "nonsense\0: :\n"])
def test_a_machine_without_those_files_is_described_all_the_same(read: object) -> None:
    """macOS has none of them, and ARM's name no model."""
    machine = describe_machine(read=read)  # type: ignore[arg-type]  # a lambda from the list
    assert machine.cpu
    assert machine.system
    assert machine.cores >= 1


def test_no_name_of_host_or_user_or_folder_is_told() -> None:
    """A result can be published."""
    line = describe_machine(("Valkey 9.1.2",)).line
    assert platform.node() not in line
    assert str(Path.cwd()) not in line
    assert "/" not in line.replace("GNU/Linux", "")
    if getpass.getuser() != "root":
        assert getpass.getuser() not in line


def test_the_line_leaves_out_what_is_not_known() -> None:
    """No "0 B of memory"."""
    assert Machine("C", 1, 0, "S", "P").line == "C · 1 core · S · P"
    assert Machine("C", 2, 8 << 30, "S", "P", ("A 1",)).line == "C · 2 cores · 8 GB of memory · S · P · A 1"
