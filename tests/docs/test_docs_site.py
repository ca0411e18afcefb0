"""The site is built without a warning, has every page, and fetches nothing from elsewhere when it is read."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
FETCHED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"(?:https?:)?//"
    r"|<link\b(?![^>]*rel=\"canonical\")[^>]*\bhref=\"(?:https?:)?//"
    r"|@import\s+[^;]*//|url\(\s*[\"']?(?:https?:)?//"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    place = tmp_path_factory.mktemp("site")
    makefile = (REPOSITORY / "Makefile").read_text()
    (command,) = re.findall(r"^\t\$\(BIN\)/python (-m sphinx .*) build/site$", makefile, re.MULTILINE)
    built = subprocess.run(
        [sys.executable, *command.split(), "-d", place / "doctrees", place / "html"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (built.returncode, built.stdout + built.stderr) == (0, "")
    return place / "html"


def test_every_document_has_a_page(site):
    sources = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md"), *(REPOSITORY / "examples").glob("*.md")]
    missing = [path for path in sources if not (site / path.relative_to(REPOSITORY)).with_suffix(".html").exists()]
    assert missing == []
    assert "docs/index.html" in (site / "index.html").read_text()


def test_nothing_is_fetched_from_elsewhere(site):
    files = [path for kind in ("*.html", "*.css") for path in site.rglob(kind)]
    assert [str(path) for path in files if FETCHED.search(path.read_text())] == []
    assert len(files) > 25


def test_every_page_can_be_reached_from_the_index(site):
    index = (site / "docs" / "index.html").read_text()
    pages = {path for path in (site / "docs").rglob("*.html") if path.name != "index.html"}
    linked = {(site / "docs" / link).resolve() for link in re.findall(r'href="([^"#]+\.html)', index)}
    assert pages <= linked
