"""The list of commands; each is loaded when it is used, so that `tercet --help` answers at once."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import click

from tercet import __version__
from tercet.cli.main import INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Sequence

# A command, the module that has it (under its own name), and its line in the list.
COMMANDS: tuple[tuple[str, str, str], ...] = (
    ("demo", "tercet.cli.demo", "Start real servers, fill a shop, and climb the ladder on it."),
    ("up", "tercet.cli.up", "Start PostgreSQL, mongod and Redis here and leave them running."),
    ("status", "tercet.cli.status", "Show which servers run here, where, and how they are."),
    ("down", "tercet.cli.down", "Stop the servers that run here; their data stays."),
    ("health", "tercet.cli.health", "Ask every store how it is, each within a second."),
    ("doctor", "tercet.cli.doctor", "Say what is well and what is not, and set up a feed of changes."),
    ("advise", "tercet.cli.advise", "Say what would make slow statements faster, and prove it."),
    ("cache", "tercet.cli.cache", "Ask Redis about a cache and its entries: explain KEY, stats."),
    ("changes", "tercet.cli.changes", "See what is committed, and what became of events."),
)


class Commands(click.Group):
    """A group whose commands are modules."""

    def list_commands(self, _context: click.Context) -> list[str]:
        """Their names, in the order in which they are needed."""
        return [name for name, _, _ in COMMANDS]

    def get_command(self, _context: click.Context, cmd_name: str) -> click.Command | None:
        """Load the one that is asked for."""
        for name, module, _ in COMMANDS:
            if name == cmd_name:
                command: click.Command = getattr(import_module(module), name)
                return command
        return None

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        """The list, without loading anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, _, line in COMMANDS])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tercet", message="%(prog)s %(version)s")
def tercet() -> None:
    """The data layer for Python services that live on PostgreSQL, MongoDB and Redis at once."""


def invoke(arguments: Sequence[str] | None) -> int:
    """Run it and return the exit code; tercet's own errors pass through."""
    try:
        code = tercet.main(
            args=None if arguments is None else list(arguments), prog_name="tercet", standalone_mode=False
        )
    except click.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return code if isinstance(code, int) else 0
