"""Where the `tercet` command begins and ends: its exit codes, and the one sentence of an error.

0    done
1    a store or tercet itself said no (StoreError, Refused), or what was asked about is not well
2    the command was not meant like that (UsageError, an unknown option)
130  Ctrl-C
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from tercet.errors import ExtraMissing, TercetError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

FAILED = 1
MISUSED = 2
INTERRUPTED = 130

# What the extra `cli` brings; any other module that is missing is a fault and is shown as one.
_BROUGHT = ("click", "rich")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and leave with its exit code."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    try:
        from tercet.cli.group import invoke  # noqa: PLC0415 - click may be missing, and that has a sentence
        from tercet.cli.screen import Screen  # noqa: PLC0415 - likewise rich
    except ImportError as error:
        if error.name not in _BROUGHT:
            raise
        sys.stderr.write(f"{ExtraMissing('The tercet command', module=error.name, extra='cli')}\n")
        return MISUSED
    try:
        return invoke(arguments)
    except TercetError as error:
        Screen().error(error)
        return MISUSED if isinstance(error, UsageError) else FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read us has gone (`tercet status | head -1`); the interpreter must not complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        from tercet.cli.refusal import refused  # noqa: PLC0415 - most commands end without it

        told = refused(error)
        if told is None:
            raise
        Screen().error(told)
        return FAILED


if __name__ == "__main__":
    main()
