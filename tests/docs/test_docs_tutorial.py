"""The tutorial, as a reader types it: every command, in its order, and what it shows."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from tutorial_terminals import Step, follow, steps

REPOSITORY = Path(__file__).resolve().parents[2]
TUTORIAL = REPOSITORY / "docs" / "tutorial.md"
PORTS = ("8000", "9092", "9443", "9444")


def environment(**more):
    """What a new shell knows, without settings of ours and without the caller's environment of Python."""
    ours = re.compile(r"(BINANCE|KAFKA|HTTP|INGEST|COV|COVERAGE|PYTEST)_|VIRTUAL_ENV|PYTHONPATH|LOG_|COV_CORE")
    return {name: value for name, value in os.environ.items() if not ours.match(name)} | more


def with_free_ports(text):
    with ExitStack() as stack:
        for port in PORTS:
            free = stack.enter_context(socket.socket())
            free.bind(("127.0.0.1", 0))
            text = re.sub(rf"\b{port}\b", str(free.getsockname()[1]), text)
    return text


@pytest.mark.broker
def test_the_tutorial_does_and_shows_what_it_says(tmp_path):
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    told = [step for step in steps(with_free_ports(TUTORIAL.read_text())) if not step.set_up]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    follow(told, tmp_path, environment(PATH=path))


@pytest.mark.long
def test_what_the_tutorial_installs_in_a_fresh_clone_is_enough_for_it(tmp_path):
    clone = tmp_path / "ingest-actors"
    subprocess.run(["git", "clone", "--quiet", REPOSITORY, clone], check=True)
    told = [step for step in steps(TUTORIAL.read_text()) if step.set_up]
    assert [step.typed.split()[:2] for step in told] == [["make", "demo"], [".", ".venv/bin/activate"]]
    shown = follow([*told, Step("first", "python -m ingest_actors --version\n")], clone, environment())
    assert any(re.fullmatch(r"\d+\.\d+\.\d+\S*", line) for lines in shown.values() for line in lines)


def test_every_fence_of_the_tutorial_is_a_command_or_what_one_shows():
    text = TUTORIAL.read_text()
    assert text.count("\n```") == 2 * (
        len(re.findall(r"^```sh$", text, re.MULTILINE)) + len(re.findall(r"^```text$", text, re.MULTILINE))
    )
    assert not re.search(r"^    \S", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    assert shutil.which("bash")
