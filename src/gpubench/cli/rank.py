"""`gpubench rank`: one of several processes that measure together. `gpubench run` starts them."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

import click


@click.command("rank", hidden=True)
@click.option("--device", required=True, type=click.Choice(["cpu", "cuda"]))
@click.option("--suite", required=True)
@click.option("--seed", required=True, type=int)
@click.option("--folder", required=True, type=click.Path(path_type=Path))
@click.option("--once", is_flag=True)
def command(device: str, suite: str, seed: int, folder: Path, once: bool) -> None:
    """Measure the collectives of a suite as a rank, and leave the result in a folder."""
    _end_with_parent()
    from gpubench.errors import GpubenchError
    from gpubench.measuring import group
    from gpubench.running import launching, ranks

    where = group.place()
    if where is None:
        raise click.UsageError("gpubench run starts the ranks; this command is not for people")

    def say(text: str) -> None:
        click.echo(f"{launching.LINE}{text}", err=True)

    try:
        ranks.measure(where, device, suite, seed, folder, once, say)
    except GpubenchError as error:
        path = folder / f"{launching.FAILED}{where.rank}.txt"
        path.write_text(str(error), "utf-8")
        # Threads of a backend that lost its peers may wait for them for ever.
        os._exit(error.exit_code)
    sys.stderr.flush()
    # Taking a group apart aborts now and then, when a peer was quicker: there is no need to.
    os._exit(0)


_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def _end_with_parent() -> None:
    """Let the kernel end this rank when its launcher dies, even of a signal it cannot catch."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
