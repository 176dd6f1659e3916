"""`gpubench --help` loads click and nothing that is slow to import."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("torch", "triton", "pandas", "pydantic", "numpy", "yaml", "rich", "gpubench.model")

PROBE = """
import sys
from gpubench.cli import main
{before}
try:
    main([{arguments}])
except SystemExit as done:
    assert not done.code, done.code
sys.stderr.write(" ".join(name for name in {heavy!r} if name in sys.modules))
"""


def loaded(arguments: str, before: str = "") -> list[str]:
    """Which heavy modules a fresh Python has loaded after a command."""
    code = PROBE.format(arguments=arguments, before=before, heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stderr.split()


def test_help_loads_nothing_heavy() -> None:
    assert loaded("'--help'") == []
    assert loaded("'--version'") == []


def test_help_of_a_command_needs_neither_pydantic_nor_yaml() -> None:
    assert set(loaded("'run', '--help'")) <= {"gpubench.model"}


def test_the_test_above_can_fail() -> None:
    assert loaded("'--help'", before="import yaml") == ["yaml"]


def test_judging_off_a_terminal_does_not_load_rich() -> None:
    assert "rich" not in loaded("'list', 'rules'")
