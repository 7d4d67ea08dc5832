"""Lets the site show the pages that stand beside `docs/`, with links that fit both places."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

_BESIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages of the repository's root under the names of `_BESIDE`."""
    root = Path(config.config_file_path).parent
    for name, page in _BESIDE.items():
        text = (root / name).read_text(encoding="utf-8")
        text = re.sub(r"`(docs/[\w-]+\.md)`", r"[\1](\1)", text)
        text = re.sub(r"\]\((?:docs/)([^)]*)\)", r"](\1)", text)
        text = text.replace("[Apache-2.0](LICENSE)", "Apache-2.0")
        files.append(File.generated(config, page, content=_inside(text)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Turns links to the repository's root into links to its pages here."""
    return _inside(markdown)


def _inside(text: str) -> str:
    for name, page in _BESIDE.items():
        text = text.replace(f"](../{name})", f"]({page})").replace(f"]({name})", f"]({page})")
    return text
