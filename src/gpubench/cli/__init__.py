"""The command line: parse, call, print; one file a command group.

Only click is imported here. A command's module is imported when the command is used, so that
`gpubench --help` appears at once.
"""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module

import click

from gpubench import __version__

COMMANDS = {
    "run": "Judge every claim on this machine; write a record and a report.",
    "check": "Judge claims from catalogue and model, measuring and writing nothing.",
    "estimate": "Estimate how fast a language model runs on an accelerator.",
    "list": "List what gpubench knows.",
    "show": "Show one thing, with its sources.",
    "claims": "Check, describe or account for a claims file.",
    "doctor": "Say what works on this machine, and how to mend the rest.",
}
"""Each command with its line in the help. `gpubench.cli.NAME` holds it as `command`."""

_MODULES = {"list": "listing"}
# A submodule named `list` would hide the builtin from this file.

INTERRUPTED, PIPE_CLOSED = 130, 141


class _LazyGroup(click.Group):
    """Knows its commands by name, and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,
        cmd_name: str,
    ) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(
            f"gpubench.cli.{_MODULES.get(cmd_name, cmd_name)}"
        ).command
        return command

    def format_commands(
        self,
        ctx: click.Context,
        formatter: click.HelpFormatter,
    ) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; turn what can be expected to go wrong into a line and an exit code."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except KeyboardInterrupt:
            click.echo("Interrupted; every file already written is complete.", err=True)
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            # The reader has enough. Nothing may be written at interpreter exit either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(PIPE_CLOSED)
        except Exception as error:
            from gpubench.errors import GpubenchError

            if not isinstance(error, GpubenchError):
                raise
            click.echo(f"Error: {error}", err=True)
            ctx.exit(error.exit_code)
        return result


def _columns() -> int:
    """Width for help texts. Asked of the terminal here, since click imports shutil to do so."""
    try:
        return min(os.get_terminal_size().columns - 2, 98)
    except OSError:
        return 98


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "terminal_width": _columns()},
    epilog="Exit codes: 0 done; 1 an outcome named by --fail-on occurred; 2 usage, or an invalid "
    "file; 3 what was asked for cannot be measured or estimated; 130 interrupted.",
)
@click.version_option(__version__, prog_name="gpubench")
def main() -> None:
    """Check published claims about GPU performance against sources, arithmetic and a model."""


# What is imported stays until the end. Excused from collection, it does not slow down the exit.
gc.freeze()
