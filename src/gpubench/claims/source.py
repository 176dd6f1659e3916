"""The bytes of a claims file, refused early when they cannot be one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gpubench import yaml_text
from gpubench.errors import ClaimsError

# Ten thousand claims take about 6 MB; a file of twice that is no list of claims.
MAX_BYTES = 16 * 2**20


def read(path: Path) -> tuple[bytes, Any, yaml_text.Problems]:
    """The file's bytes, its content with the place of every value, and what is wrong so far.

    Raises:
        ClaimsError: the file is missing, too large, not UTF-8, not YAML, or uses what is refused.
    """
    data = _bytes(path)
    problems = yaml_text.Problems(str(path))
    tree = yaml_text.parse(data, problems)
    if problems and tree is None:
        raise ClaimsError(problems.lines())
    return data, tree, problems


def _bytes(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            # Devices and pipes have no size; they are read no further than a file may be long.
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ClaimsError(
                [
                    f"{path}:1:1: the file has {_megabytes(size)}, a list of claims at most "
                    f"{_megabytes(MAX_BYTES)}: split it, or check that it is the right file"
                ]
            )
        return data
    except FileNotFoundError:
        raise ClaimsError([f"{path}: no such file: check the path"]) from None
    except OSError as error:
        raise ClaimsError([f"{path}: cannot be read: {error.strerror or error}"]) from None


def _megabytes(size: int) -> str:
    """A size in words; that of a device or pipe is not known."""
    return f"{size / 1e6:.3g} MB" if size else "no end"
