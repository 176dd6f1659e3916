"""The command line: parse, call, print; one file a command group.

Only click is imported here. A command's module is imported when the command is used, so that
`gpubench --help` appears at once.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any, TextIO

import click
from click.exceptions import Exit

from gpubench import __version__

COMMANDS = {
    "run": "Measure this machine's GPU, judge every claim; write a record and a report.",
    "check": "Judge claims from catalogue, model and newest records; measure and write nothing.",
    "ask": "Judge one figure, or tell what is known of a quantity, without a file of claims.",
    "report": "Write the verdicts as a page, or in another form.",
    "estimate": "Estimate how fast a language model runs on an accelerator.",
    "sweep": "Estimate one accelerator over another under many conditions.",
    "accept": "Say whether a machine gives what its part should.",
    "compare": "Compare two records, case by case.",
    "history": "Show how one machine's rates changed over time.",
    "export": "Write a record in the format of another tool.",
    "import": "Keep another tool's results as a record.",
    "validate": "Hold the performance model against a table of published results.",
    "calibrate": "Fit the model's parameters to a table of published results.",
    "list": "List what gpubench knows.",
    "show": "Show one thing, with its sources.",
    "claims": "Check, describe or account for a claims file.",
    "doctor": "Say what works on this machine, and how to mend the rest.",
}
"""Each command with its line in the help. `gpubench.cli.NAME` holds it as `command`."""

HIDDEN = ("rank",)
"""What gpubench calls itself, and nobody else."""

_MODULES = {"list": "listing", "import": "importing"}
# A submodule named `list` would hide the builtin from this file, and `import` is no name at all.

FAILED, INTERRUPTED, PIPE_CLOSED = 2, 130, 141


class _LazyGroup(click.Group):
    """Knows its commands by name, and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,
        cmd_name: str,
    ) -> click.Command | None:
        if cmd_name not in COMMANDS and cmd_name not in HIDDEN:
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

    def resolve_command(
        self,
        ctx: click.Context,
        args: list[str],
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in (*COMMANDS, *HIDDEN) and not args[0].startswith("-"):
            from gpubench.errors import near_matches

            near = near_matches(args[0], COMMANDS)
            offer = f": did you mean {' or '.join(near)}?" if near else "."
            ctx.fail(f"No such command '{args[0]}'{offer}")
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, **extra: Any) -> Any:
        """Begin. What the output's encoding lacks is shown as a question mark, and ends nothing."""
        with suppress(AttributeError):  # there is no stdout, or one that somebody else made
            sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
        return super().main(*args, **extra)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Read the arguments, which also prints the help."""
        with _failures_told():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        with _failures_told():
            result = super().invoke(ctx)
            if sys.stdout is not None:
                sys.stdout.flush()
            return result


@contextmanager
def _failures_told() -> Iterator[None]:
    """Turn what can be expected to go wrong into a line and an exit code."""
    try:
        yield
    except KeyboardInterrupt:
        _tell("Interrupted; every file already written is complete.")
        raise Exit(INTERRUPTED) from None
    except BrokenPipeError:
        _drop(sys.stdout)
        raise Exit(PIPE_CLOSED) from None
    except OSError as error:
        if error.filename is not None:  # a file's, not that of an output
            raise
        _drop(sys.stdout)
        _tell(f"Error: cannot write the output: {error.strerror or error}")
        raise Exit(FAILED) from None
    except Exception as error:
        from gpubench.errors import ClaimsError, GpubenchError
        from gpubench.invisible import shown

        if not isinstance(error, GpubenchError):
            raise
        # A problem of a claims file begins with its place, for editors to jump to.
        label = "" if isinstance(error, ClaimsError) else "Error: "
        _tell(f"{label}{shown(str(error))}")
        raise Exit(error.exit_code) from None


def _tell(message: str) -> None:
    try:
        click.echo(message, err=True)
    except OSError:  # stderr is full or closed as well
        _drop(sys.stderr)


def _drop(stream: TextIO) -> None:
    """Nothing more can be written there, and the interpreter must not try to when it exits: its
    exit code would be another one.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _columns() -> int:
    """Width for help texts. Asked of the terminal here, since click imports shutil to do so."""
    try:
        return min(os.get_terminal_size().columns - 2, 98)
    except OSError:
        return 98


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "terminal_width": _columns()},
    epilog="Exit codes: 0 done; 1 an outcome named by --fail-on occurred, records differ by more "
    "than --within or --fail-below allows, or a machine fails accept; 2 usage, or an invalid file; "
    "3 what was asked for cannot be measured or estimated; 130 interrupted.",
)
@click.version_option(__version__, prog_name="gpubench")
def main() -> None:
    """Check published claims about GPU performance against sources, arithmetic and a model."""


# What is imported stays until the end. Excused from collection, it does not slow down the exit.
gc.freeze()
