"""What a shell offers when a line is begun, asked the way in which shells ask."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ingest_actors import cli

SCRIPT = """#!{python}
import sys
from ingest_actors.__main__ import main
sys.exit(main())
"""


@pytest.fixture
def shell(tmp_path):
    """Runs bash with the program on its path; its output."""
    program = tmp_path / "bin" / "ingest-actors"
    program.parent.mkdir()
    program.write_text(SCRIPT.format(python=sys.executable))
    program.chmod(0o755)
    environ = {
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        **{name: value for name, value in os.environ.items() if name.startswith(("COVERAGE_", "PYTHONPATH"))},
    }

    def run(text, **more):
        done = subprocess.run(
            ["bash", "-c", text],
            check=True,
            capture_output=True,
            text=True,
            timeout=30,
            cwd=tmp_path,
            env=environ | more,
        )
        assert done.stderr == ""
        return done.stdout

    return run


COMPLETE = """
eval "$(_INGEST_ACTORS_COMPLETE=source_bash ingest-actors)"
COMP_WORDS=({words}); COMP_CWORD={at}
_ingest_actors_completion ingest-actors
echo "${{COMPREPLY[*]}}"
"""


@pytest.mark.parametrize(
    ("words", "at", "offered"),
    [
        ("ingest-actors ''", 1, " ".join(cli.COMMANDS)),
        ("ingest-actors pl", 1, "plan"),
        ("ingest-actors plan --of", 2, "--offline"),
        ("ingest-actors audit --format ''", 3, "table json"),
    ],
)
def test_bash_offers_commands_options_and_values(shell, words, at, offered):
    assert shell(COMPLETE.format(words=words, at=at)).split() == offered.split()


def test_zsh_and_fish_are_offered_the_same_with_help(shell):
    ask = {"_TYPER_COMPLETE_ARGS": "ingest-actors setup"}
    found = shell("ingest-actors", _INGEST_ACTORS_COMPLETE="complete_zsh", **ask)
    assert '"setup-topics":"Create the topics that are missing' in found
    ask["_TYPER_COMPLETE_FISH_ACTION"] = "get-args"
    found = shell("ingest-actors", _INGEST_ACTORS_COMPLETE="complete_fish", **ask)
    assert found.startswith("setup-topics\tCreate the topics that are missing")
    for shell_name, beginning in (("zsh", "#compdef ingest-actors"), ("fish", "complete --command ingest-actors")):
        script = shell("ingest-actors", _INGEST_ACTORS_COMPLETE=f"source_{shell_name}")
        assert script.lstrip().startswith(beginning)


def test_completion_installs_itself_for_the_shell_at_hand(shell, tmp_path):
    told = shell("ingest-actors --install-completion; true")
    assert "bash completion installed in" in told
    assert (
        "complete -o default -F _ingest_actors_completion ingest-actors"
        in next((tmp_path / ".bash_completions").iterdir()).read_text()
    )


def test_the_program_goes_by_the_name_by_which_it_was_called(shell):
    assert "Usage: ingest-actors plan" in shell("ingest-actors plan --help")
