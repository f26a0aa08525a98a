"""Shared libraries that a program needs and the system lacks, borrowed from an installed wheel.

mongod wants libcurl and OpenSSL 3, which slim systems do not have; the wheel of pycurl carries both under
names of its own. A folder of links gives them the names that the loader asks for, and only that one child is
told of it.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

# What mongod asks the loader for, and how the wheel's file of it begins and goes on.
_WANTED = (
    ("libcurl.so.4", "libcurl-", ".so.4"),
    ("libssl.so.3", "libssl-", ".so.3"),
    ("libcrypto.so.3", "libcrypto-", ".so.3"),
)


def borrow(links: Path) -> dict[str, str]:
    """What to add to mongod's environment so that it finds its libraries; nothing when nobody lends them.

    Only the three are linked by their common names: a program is never given another library than it asks
    for.
    """
    shelf = _shelf()
    if shelf is None:
        return {}
    links.mkdir(parents=True, exist_ok=True)
    for name, begins, goes_on in _WANTED:
        lent = sorted(one for one in shelf.iterdir() if one.name.startswith(begins) and goes_on in one.name)
        if lent:
            _link(links / name, lent[0])
    return {"LD_LIBRARY_PATH": os.pathsep.join((str(links), str(shelf)))}


def _shelf() -> Path | None:
    """The folder beside pycurl in which its wheel keeps its libraries."""
    spec = find_spec("pycurl")
    if spec is None or spec.origin is None:
        return None
    # The module lies in site-packages itself in some versions and in a package folder in others.
    for parent in list(Path(spec.origin).parents)[:2]:
        if (parent / "pycurl.libs").is_dir():
            return parent / "pycurl.libs"
    return None


def _link(link: Path, target: Path) -> None:
    fresh = link.with_name(f"{link.name}.{os.getpid()}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)
