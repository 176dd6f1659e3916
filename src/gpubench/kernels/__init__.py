"""Finds the Triton kernels: in the top-level `kernels/` of a checkout, or beside this file.

The folder at the top is where they are written; a wheel carries a copy inside the package.
"""

from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[3]
if (_CHECKOUT / "pyproject.toml").is_file():
    __path__.append(str(_CHECKOUT / "kernels"))
