"""What the stories share: the catalogue, and claims files of a few lines."""

import gc
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gpubench import catalogue, claims
from gpubench.catalogue import Catalogue
from gpubench.claims import ClaimsFile

# Torch reads this when it is imported, here or in a process that a test starts. Threads that wait
# for each other take turns when anything else runs: some tests took ten times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ENTRY = """\
  - id: {id}
    category: datasheet-spec
    statement: A statement.
    articles:
      - {{article: 000_8d8314c702c96883, place: section 1, digest: [a0-h200-bandwidth-4-8]}}
"""

Load = Callable[..., ClaimsFile]


def pytest_collection_finish() -> None:
    # Benchmarks collect garbage to give memory back. What the tests import is none, and would be
    # looked through a hundred times.
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shipped() -> Catalogue:
    return catalogue.load()


@pytest.fixture
def load_claims(tmp_path: Path, shipped: Catalogue) -> Load:
    """Loads claims given as the part of their YAML that matters: one text a claim."""

    def _load(*bodies: str, out_of_scope: str = "") -> ClaimsFile:
        text = "claims:\n"
        for number, body in enumerate(bodies, 1):
            text += ENTRY.format(id=f"claim-{number}")
            text += "".join(f"    {line}\n" for line in body.strip().splitlines())
        path = tmp_path / "claims.yaml"
        path.write_text(text + out_of_scope, encoding="utf-8")
        return claims.load(path, shipped)

    return _load
