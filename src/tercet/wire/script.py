"""A Lua script as a value: its text from a file beside the room that uses it, and the hash Redis knows it by."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Script:
    """A script that Redis runs as one step; `sha` is the name under which a server keeps it."""

    name: str
    text: str = field(repr=False)
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        # SHA-1 is how Redis names scripts; nothing is secured by it.
        sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", sha)

    @classmethod
    def beside(cls, module_file: str, name: str) -> Script:
        """The script in the file `<name>.lua` that lies beside this module: `Script.beside(__file__, "acquire")`."""
        return cls(name, (Path(module_file).parent / f"{name}.lua").read_text(encoding="utf-8"))
