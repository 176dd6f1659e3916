"""What the site needs beyond the pages of this folder: README and changelog of the project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[1]
_PAGES = {"overview.md": "README.md", "changelog.md": "CHANGELOG.md"}


def on_files(files: Any, config: Any) -> Any:
    """Add both as pages."""
    from mkdocs.structure.files import File

    for name, source in _PAGES.items():
        text = (_ROOT / source).read_text("utf-8")
        for page in (_ROOT / "docs").iterdir():
            text = text.replace(f"](docs/{page.name})", f"]({page.name})")
            text = text.replace(f"(docs/{page.name}", f"({page.name}")
        text = text.replace("](CHANGELOG.md)", "](changelog.md)")
        text = text.replace("[LICENSE](LICENSE)", "LICENSE")
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Links that lead out of the folder lead to these pages."""
    del page, config, files
    return markdown.replace("](../README.md)", "](overview.md)").replace(
        "](../CHANGELOG.md)", "](changelog.md)"
    )
