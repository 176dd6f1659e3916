"""Options that several commands share, and what they accept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gpubench.cli import printing
from gpubench.errors import offer
from gpubench.model import OUTCOMES

Command = TypeVar("Command", bound=Callable[..., Any])

if TYPE_CHECKING:
    from gpubench.catalogue import Catalogue
    from gpubench.model import LanguageModel


def _outcomes(text: str) -> tuple[str, ...]:
    """The outcomes of a list such as "refuted,inconclusive"."""
    words = tuple(word.strip() for word in text.split(","))
    for word in words:
        if word not in OUTCOMES:
            tip = offer(word, OUTCOMES, f"use {', '.join(OUTCOMES)}")
            raise click.BadParameter(f"unknown outcome '{word}': {tip}")
    return words


def _json_target(text: str) -> str:
    """A file's path, or "-"."""
    if not Path(text).name:
        raise click.BadParameter(f"'{text}' names no file: write a path, or - for stdout")
    return text


def language_model(name: str, known: Catalogue) -> tuple[LanguageModel, Catalogue]:
    """The model that was typed, listed or as a configuration, and a catalogue that holds it."""
    from gpubench.catalogue import configs

    if configs.is_config(name):
        model, known = known.with_model(Path(name))
        if model.remark:
            printing.aside(f"{name}: {model.remark}; --precision says how weights are stored here")
        return model, known
    return known.model(name), known


def misnamed_claims(
    ctx: click.Context, parameter: click.Parameter, value: Path | None
) -> Path | None:
    """Say so where the shipped claims stand in for a file that only looks like claims.yaml."""
    del ctx, parameter
    if value is None and not Path("claims.yaml").exists():
        found = sorted(path for path in Path().glob("[Cc]laims.*") if path.suffix in _LIKE_YAML)
        if found:
            printing.aside(
                f"There is no claims.yaml here, so the claims that came along are taken: for "
                f"{found[0]}, name it or call it claims.yaml"
            )
    return value


_LIKE_YAML = (".yml", ".yaml", ".YAML", ".YML", ".json")

model = click.option(
    "--model",
    required=True,
    metavar="M",
    help="Language model: id or name, or the config.json of one's own.",
)
engine = click.option(
    "--max-sequences",
    type=click.IntRange(1, 10**6),
    metavar="N",
    help="Sequences at once that the engine is built for (max_batch_size, max_num_seqs).",
)
claims_file = click.option(
    "--claims",
    "claims_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    callback=misnamed_claims,
    help="Claims to judge; by default claims.yaml in this folder, else the one that came along.",
)
only = click.option(
    "--only",
    multiple=True,
    metavar="ID",
    help="Judge this claim; may be given several times.",
)


def _where(read: bool) -> Callable[[Command], Command]:
    return click.option(
        "--results",
        type=click.Path(path_type=Path),
        default=Path("results"),
        metavar="DIR",
        show_default=True,
        callback=_missing if read else None,
        help="Folder for records and reports.",
    )


def _missing(ctx: click.Context, parameter: click.Parameter, value: Path) -> Path:
    """Say so where a folder of records is named, and none is there."""
    assert parameter.name
    named = ctx.get_parameter_source(parameter.name) is click.core.ParameterSource.COMMANDLINE
    if named and not value.exists():
        printing.aside(f"There is no folder {value}: nothing measured is taken into account")
    return value


results, recorded = _where(read=False), _where(read=True)
"""Where records are written, and where they are read."""

json_target = click.option(
    "--json",
    "json_target",
    type=_json_target,
    metavar="PATH",
    help="Also write one JSON document to this file; '-' writes it in place of the table.",
)
json_flag = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
fail_on = click.option(
    "--fail-on",
    type=_outcomes,
    default=None,
    metavar="OUTCOME[,OUTCOME]",
    help=f"Exit with 1 if a claim has such an outcome: {', '.join(OUTCOMES)}.",
)
