"""The pages of reference say what the code says."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

import ingest_actors
from ingest_actors import cli, errors
from ingest_actors.binance.gaps import ResolvedBy, State
from ingest_actors.binance.stream_table import KINDS

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = DOCS / "reference"


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("reference", DOCS / "reference.py")
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    yield module
    sys.path[:] = before


def page(name):
    return (PAGES / f"{name}.md").read_text()


def test_the_committed_pages_are_current(reference, capsys):
    assert reference.main(["--check"]) == 0, "run: make reference"
    assert capsys.readouterr().out == "current\n"


def test_stale_pages_are_told_and_written_and_what_people_wrote_stays(reference, tmp_path, capsys):
    stale = tmp_path / "page.md"
    stale.write_text("before\n<!-- code: gap-reasons -->\nold\n<!-- /code -->\nafter\n")
    assert reference.main(["--check"], tmp_path) == 1
    assert reference.main([], tmp_path) == 0
    assert reference.main(["--check"], tmp_path) == 0
    assert "stale: page.md" in capsys.readouterr().out
    assert re.fullmatch(
        r"before\n<!-- code: gap-reasons -->\n\n\|.*`exchange_reset`.*\|\n\n<!-- /code -->\nafter\n",
        stale.read_text(),
        re.DOTALL,
    )


def test_every_command_has_a_chapter():
    assert re.findall(r"^## `(.*)`$", page("commands"), re.MULTILINE) == list(cli.COMMANDS)


def test_every_public_name_has_a_chapter_that_says_something():
    chapters = dict(
        re.findall(r"^### `(\w+)`\n(.*?)(?=^###? )", page("python-api") + "\n### ", re.MULTILINE | re.DOTALL)
    )
    assert vars(ingest_actors)["_HOMES"].keys() <= chapters.keys()
    assert [
        name for name, text in chapters.items() if not re.sub(r"```.*?```", "", text, flags=re.DOTALL).strip()
    ] == []


def test_every_stream_type_of_the_table_has_a_row():
    rows = set(re.findall(r"^\|[^|]+\| `(\w+)` \|", page("records"), re.MULTILINE))
    assert {kind.event_type for kind in KINDS} <= rows


def test_the_words_of_the_journal_are_told():
    text = page("records")
    for word in (*State, *ResolvedBy):
        assert f"`{word}`" in text


def test_every_exit_code_of_an_error_is_told():
    codes = {value.exit_code for value in vars(errors).values() if hasattr(value, "exit_code")}
    told = re.findall(r"`(\d+)`", "".join(re.findall(r"^\| (`[^|]*) \|", page("exit-codes"), re.MULTILINE)))
    assert codes | {0} <= set(map(int, told))
