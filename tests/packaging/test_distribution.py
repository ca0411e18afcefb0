"""What is published: a wheel that needs nothing else, with all that an index shows; sources that can be tested."""

from __future__ import annotations

import email.policy
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from email.parser import BytesParser
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
STEM = f"ingest_actors-{PROJECT['version']}"
KEPT = ("PATH", "HOME", "TMPDIR")


def run(*command, cwd, **environ):
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    answer = subprocess.run(command, cwd=cwd, env=kept | environ, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A directory with the wheel and the source archive, the wheel made from the archive."""
    directory = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--outdir", directory, REPOSITORY], check=True, capture_output=True)
    return directory


@pytest.fixture(scope="module")
def wheel(built):
    return built / f"{STEM}-py3-none-any.whl"


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    sources = REPOSITORY / "src"
    ours = {str(path.relative_to(sources)) for path in sources.rglob("*") if path.is_file()}
    ours = {name for name in ours if "__pycache__" not in name}
    about = {f"{STEM}.dist-info/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt")}
    assert names == ours | about | {f"{STEM}.dist-info/licenses/LICENSE"}
    assert {"ingest_actors/py.typed", "ingest_actors/kafka/dev_broker_jars.txt"} <= names


def test_an_index_is_told_all_that_it_shows(wheel):
    with zipfile.ZipFile(wheel) as archive:
        content = archive.read(f"{STEM}.dist-info/METADATA")
    metadata = BytesParser(policy=email.policy.compat32).parsebytes(content)
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata["Summary"] == PROJECT["description"]
    assert metadata["Author"]
    assert metadata["Keywords"]
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)} < set(
        metadata.get_all("Classifier")
    )
    assert metadata.get_payload().startswith("# ingest_actors")


def test_every_dependency_has_a_lower_bound():
    requirements = list(PROJECT["dependencies"])
    for extra in PROJECT["optional-dependencies"].values():
        requirements += extra
    loose = [text for text in requirements if ">=" not in text and not text.startswith("ingest-actors[")]
    assert loose == []


def test_the_sources_hold_all_that_the_repository_has(built):
    """Tests, documents and deployment too: what is published can be tested and deployed."""
    tracked = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("no git here")
    with tarfile.open(built / f"{STEM}.tar.gz") as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    there = {name for name in tracked.stdout.splitlines() if (REPOSITORY / name).exists()}
    assert there - names == set()


def test_the_sources_pass_their_own_tests(built, tmp_path):
    with tarfile.open(built / f"{STEM}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    sources = tmp_path / STEM
    some = ["tests/settings", "tests/deployment", "tests/test_deployment.py", "tests/test_ledger.py"]
    answer = run(
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *some),
        cwd=sources,
        PYTHONPATH=str(sources / "src"),
    )
    assert re.search(r"^\d+ passed", answer.stdout, re.MULTILINE), answer.stdout


def test_it_works_installed_from_nothing_else(wheel, tmp_path):
    """In an environment of its own, away from the repository: both ways to call it, and a demo that balances."""
    home = tmp_path / "env"
    venv.create(home, with_pip=True)
    python = str(home / "bin" / "python")
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    run(python, "-m", "pip", "install", "--quiet", str(wheel), cwd=tmp_path, **pip)
    run(python, "-m", "pip", "check", cwd=tmp_path)
    script = str(home / "bin" / "ingest-actors")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert (
        run(script, "--version", cwd=elsewhere).stdout
        == run(python, "-m", "ingest_actors", "--version", cwd=elsewhere).stdout
    )
    every_module = (
        "import importlib, pkgutil, ingest_actors as package\n"
        "for found in pkgutil.walk_packages(package.__path__, 'ingest_actors.'):\n"
        "    found.name.endswith(('__main__', 'testing.fixtures')) or importlib.import_module(found.name)\n"
        "print(package.__file__)"
    )
    assert run(python, "-W", "error", "-c", every_module, cwd=elsewhere).stdout.startswith(str(home))
    demo = run(script, "demo", "--duration", "2", cwd=elsewhere)
    assert json.loads(demo.stdout)["bootstrap_servers"]
    assert "It balances" in demo.stderr
    shutil.rmtree(home)
