"""How the documents become a site: `make docs`.

The source is the whole repository, so that a link from one page to another, or to a file beside it, leads to the same
place on the site as it does in a clone. Nothing is fetched from elsewhere, neither when the site is built nor when it
is read.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from sphinx.application import Sphinx

REPOSITORY = Path(__file__).resolve().parent.parent

project = "ingest_actors"
author = "the ingest_actors authors"
release = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
version = release

extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**.md", "bench/**.md", "examples/**.md", "deploy/**.md"]
exclude_patterns = [
    ".*",
    "**/.*",
    "build",
    "dist",
    "src",
    "tests",
    "bench/clients/rust/target",
    "docs/site",
]

myst_heading_anchors = 4
highlight_language = "none"  # what is indented is commands and pictures

html_theme = "furo"
html_title = f"ingest_actors {release}"
html_extra_path = ["site"]  # index.html, which leads to docs/
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False

OTHERS = "{others}"
"""In the index: pages of `docs/` that it does not name, so that none can be forgotten."""


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", add_others)


def add_others(_app: Sphinx, name: str, source: list[str]) -> None:
    """Put the pages that the index does not name where it wants them."""
    if name == root_doc:
        named = set(source[0].split())
        pages = sorted(path.stem for path in (REPOSITORY / "docs").glob("*.md"))
        others = [page for page in pages if page not in named and page != "index"]
        source[0] = source[0].replace(OTHERS, "\n".join(others))
