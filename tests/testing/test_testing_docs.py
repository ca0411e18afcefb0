"""Every code block of the how-to, and the example, as a reader would run them, with every warning an error."""

import dataclasses
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ingest_actors import testing
from ingest_actors.simulator.fault_file import parse_faults

REPOSITORY = Path(__file__).resolve().parents[2]
HOW_TO = REPOSITORY / "docs" / "how-to" / "test-your-client.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# ([\w.-]+)(, continued)?\n")


def blocks(language):
    return [text for kind, text in BLOCK.findall(HOW_TO.read_text()) if kind == language]


def write_files(directory):
    for text in blocks("python") + blocks("toml"):
        name, continued = FILE.match(text).groups()
        with (directory / name).open("a" if continued else "x") as file:
            file.write(text)


def run(command, directory):
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=directory)


def pytest_passes(arguments, directory, count):
    options = ["-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:trio"]
    done = run([sys.executable, *options, *arguments], directory)
    assert re.search(rf"^{count} passed", done.stdout, re.MULTILINE), done.stdout + done.stderr


def test_the_how_to_s_tests_pass_as_written(tmp_path):
    write_files(tmp_path)
    (command,) = [line for text in blocks("sh") for line in text.splitlines() if line.startswith("pytest")]
    assert command == "pytest -q test_recorder.py"
    pytest_passes(["test_recorder.py", "test_with_trio.py"], tmp_path, 4)


def test_the_how_to_s_command_serves_with_its_script(tmp_path):
    write_files(tmp_path)
    (script,) = blocks("toml")
    assert len(parse_faults(script).faults) == 1
    (command,) = [line for text in blocks("sh") for line in text.splitlines() if line.startswith("python")]
    with subprocess.Popen(
        [sys.executable, *command.split()[1:]], stdout=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        try:
            assert json.loads(process.stdout.readline()).keys() == {"ws_url", "rest_url", "ca_file"}
        finally:
            process.terminate()
            process.wait(20)


def test_the_how_to_installs_what_there_is():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    installs = [line for text in blocks("sh") for line in text.splitlines() if line.startswith("pip")]
    assert installs == ["pip install . pytest"]
    extras = set(re.findall(r"'\.\[([\w-]+)\]'", HOW_TO.read_text()))
    assert extras == {"simulator-tls"} <= project["optional-dependencies"].keys()


def test_no_block_of_the_how_to_is_left_out_here():
    kinds = [kind for kind, _ in BLOCK.findall(HOW_TO.read_text())]
    assert set(kinds) == {"python", "toml", "sh"}
    assert HOW_TO.read_text().count("```") == 2 * len(kinds)


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)]+)\)", HOW_TO.read_text()))
def test_the_how_to_s_links_lead_somewhere(link):
    assert (HOW_TO.parent / link).exists()


def test_the_how_to_s_tables_tell_the_fields_there_are():
    text = HOW_TO.read_text()
    for row in (testing.TradeRow, testing.AggregateRow, testing.Book):
        (told,) = re.findall(rf"^\| `{row.__name__}` \| (.*) \|$", text, re.MULTILINE)
        assert tuple(re.findall(r"`(\w+)`", told)) == row._fields
    (table,) = re.findall(r"^\| field \| default .*\n((?:\|.*\n)+)", text, re.MULTILINE)
    names = {name for line in table.splitlines()[1:] for name in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert len(names) == 12
    assert names <= {entry.name for entry in dataclasses.fields(testing.SimulatorConfig)}


@pytest.mark.parametrize("code", re.findall(r"`inflict\((.*?)\)`[ ,]", HOW_TO.read_text()))
def test_the_how_to_s_one_line_faults_can_be_made(code):
    assert eval(code, vars(testing))


def test_the_example_passes_from_a_clone_as_it_says():
    path = REPOSITORY / "examples" / "test_your_client.py"
    (command,) = re.findall(r"^    pytest (.*)$", path.read_text(), re.MULTILINE)
    pytest_passes(command.split(), REPOSITORY, 3)


def test_the_example_passes(tmp_path):
    name = "test_your_client.py"
    (tmp_path / name).write_bytes((REPOSITORY / "examples" / name).read_bytes())
    pytest_passes([name], tmp_path, 3)
