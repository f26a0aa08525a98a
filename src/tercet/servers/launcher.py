"""The last step before a server runs: who it is, who it dies with, and where its process is written down.

Run as a program of its own, with nothing but the standard library, so that all this happens in a process with
one thread. (A `preexec_fn` would run Python between fork and exec of a process that may have many.) It is
given one JSON text and ends by becoming the server: the process number stays the same, so the record it
writes before is the server's, and a starter that is killed at any moment leaves no server that nobody knows
of.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

# What the launcher itself could not do; no server uses these exit codes.
NOT_POSSIBLE = 124
STARTER_GONE = 125
# How its sentence about that begins, in the server's log.
NOT_RUN = "tercet could not start"

_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CLONE_NEWUSER = 0x10000000
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522

_STAT_STATE = 0
_STAT_STARTED = 19


def started_at(pid: int) -> str | None:
    """When this process began, as a text that no other process of that number shares; None when it is gone.

    A zombie is gone: it only waits for its parent to look.
    """
    if not sys.platform.startswith("linux"):
        shown = subprocess.run(  # noqa: S603 - fixed words and a number
            ["/bin/ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
        ).stdout.split(maxsplit=1)
        return None if len(shown) < 2 or shown[0].startswith("Z") else shown[1].strip()  # noqa: PLR2004 - two columns
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    # The second field is the program's name in brackets, and the name may hold brackets and spaces itself.
    fields = stat.rpartition(")")[2].split()
    return None if fields[_STAT_STATE] in "ZX" else f"{boot}:{fields[_STAT_STARTED]}"


def main(text: str) -> None:
    """Become the server that this JSON text describes."""
    order: dict[str, Any] = json.loads(text)
    # The folder's lock came with us, so that nobody begins anew there before the record is written, even
    # when the starter is killed now; the server itself must not hold it.
    for file in order["held"]:
        os.set_inheritable(file, False)
    if order["detached"]:
        _detach()
    if order["record"]:
        _write_record(Path(order["record"]), order["fields"])
    try:
        _become(order["user"], order["uid"], order["gid"])
        if not order["detached"]:
            _die_with(order["starter"], order["signal"])
        os.execv(order["argv"][0], order["argv"])  # noqa: S606 - no shell is the point
    except OSError as error:
        sys.stderr.write(f"{NOT_RUN} {order['argv'][0]} as {order['user']}: {error}\n")
        sys.stderr.flush()
        os._exit(NOT_POSSIBLE)


def _detach() -> None:
    """Go on in a child that init adopts; the parent ends when the child has become the server or failed."""
    closed_by_exec, held = os.pipe()
    if os.fork():
        os.close(held)
        os.read(closed_by_exec, 1)
        os._exit(0)
    os.close(closed_by_exec)
    os.setsid()


def _write_record(path: Path, fields: dict[str, Any]) -> None:
    record = {**fields, "pid": os.getpid(), "started": started_at(os.getpid())}
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    fresh.write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")
    fresh.replace(path)


def _become(user: str, uid: int, gid: int) -> None:
    if user == "namespace":
        _enter_namespace(uid, gid)
    elif user == "nobody":
        _drop_to(uid, gid)


def _enter_namespace(uid: int, gid: int) -> None:
    """Call root by another number inside a user namespace of our own: files and signals stay root's."""
    _checked(_libc().unshare(_CLONE_NEWUSER))
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{uid} 0 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{gid} 0 1", encoding="ascii")


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def _drop_to(uid: int, gid: int) -> None:
    """Change to an ordinary user that may still pass through folders closed to it.

    Keeping that one capability means that neither the binaries (a venv in /root) nor the folder of the
    project have to be copied or opened to everybody.
    """
    libc = _libc()
    _checked(libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0))
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    mask = 1 << _CAP_DAC_OVERRIDE
    kept = (_Data * 2)(_Data(mask, mask, mask), _Data(0, 0, 0))
    _checked(libc.capset(ctypes.byref(_Header(_CAPABILITY_VERSION_3, 0)), kept))
    _checked(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0))


def _die_with(starter: int, signal: int) -> None:
    """Get this signal when the starter ends, however it ends.

    The kernel forgets the wish when a process changes who it is, so it is made after that; and the starter
    may have died in between, which nobody would tell us any more.
    """
    if sys.platform.startswith("linux"):
        _checked(_libc().prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0))
    if os.getppid() != starter:
        os._exit(STARTER_GONE)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    main(sys.argv[1])
