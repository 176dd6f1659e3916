"""What a wheel must carry beside the package, and what must never exist."""

import tomllib
from pathlib import Path

from gpubench import __version__

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_a_wheel_carries_the_claims_and_the_kernels() -> None:
    included = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included == {"claims.yaml": "gpubench/data/claims.yaml", "kernels": "gpubench/kernels"}
    assert all((ROOT / name).exists() for name in included)


def test_the_base_install_needs_neither_torch_nor_pandas() -> None:
    base = {dependency.split(">")[0] for dependency in PROJECT["project"]["dependencies"]}
    assert base == {"click", "PyYAML", "pydantic", "rich"}


def test_the_distribution_and_the_command_are_called_as_documented() -> None:
    assert PROJECT["project"]["name"] == "gpubench-claims"
    assert PROJECT["project"]["scripts"] == {"gpubench": "gpubench.cli:main"}
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")
