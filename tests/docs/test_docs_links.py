"""No link in a document leads nowhere: neither to a file that is not there, nor to a heading that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PLACES = ("*.md", "docs/**/*.md", "bench/*.md", "bench/clients/*.md", "examples/*.md", "deploy/**/*.md")
DOCUMENTS = sorted(path for place in PLACES for path in REPOSITORY.glob(place))
FENCES = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^()\s]+(?:\([^()\s]*\))?)\)")
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


def links(text):
    """Where it points to, without what stands in code. (A link's text may be code: `[`x`](y)`.)"""
    without = re.sub(r"\[`([^`\n]+)`\]", "[code]", FENCES.sub("", text))
    return LINK.findall(re.sub(r"`[^`\n]+`", "", without))


def anchors(path):
    """The headings of a page as they are linked to, by the rules that hosts of repositories and the site share."""
    found = {}
    names = []
    for heading in HEADING.findall(FENCES.sub("", path.read_text())):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
        name = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        count = found[name] = found.get(name, -1) + 1
        names.append(f"{name}-{count}" if count else name)
    return names


def dead(path):
    for link in links(path.read_text()):
        place, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", place):
            assert place.startswith(("https://", "http://127.0.0.1")), f"{link} in {path}"
            continue
        target = (path.parent / place).resolve() if place else path
        there = target.exists() and REPOSITORY in (target, *target.parents)
        if not there or (anchor and anchor not in anchors(target)):
            yield link


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_link_leads_somewhere(path):
    assert list(dead(path)) == []


def test_the_documents_are_found_and_have_links():
    assert {"README.md", "CHANGELOG.md", "docs/tutorial.md", "docs/how-to/embed.md", "bench/README.md"} <= {
        str(path.relative_to(REPOSITORY)) for path in DOCUMENTS
    }
    assert len(links((REPOSITORY / "README.md").read_text())) > 30


def test_a_dead_link_and_a_dead_anchor_are_noticed(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "REPOSITORY", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("# A `b` c\n\n[x](page.md#a-b-c) [x](#a-b-c) [x](no.md) [x](#no) `[x](code.md)` [`x`](no2.md)\n")
    assert list(dead(page)) == ["no.md", "#no", "no2.md"]
