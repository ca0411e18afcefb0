"""What becomes of other people's clients on a machine that cannot compile one of them."""

import importlib.util
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

INSTALL = Path(__file__).resolve().parents[1] / "peers" / "install.py"


@pytest.fixture
def install(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location("install_peers", INSTALL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.failing = set()

    def run(command, check):
        failed = any(f"requirements-{client}.txt" in str(part) for part in command for client in module.failing)
        return SimpleNamespace(returncode=int(failed))

    monkeypatch.setattr(subprocess, "run", run)
    return module


def test_a_client_that_cannot_be_compiled_is_left_out_with_the_reason(install, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(install, "cannot_compile", lambda: "there is no C compiler (cc)")
    install.failing = {"cryptofeed"}
    install.main(tmp_path)
    assert (tmp_path / "without-cryptofeed").read_text() == "there is no C compiler (cc)"
    assert "cryptofeed is left out, and its tests are skipped: there is no C compiler" in capsys.readouterr().err


def test_it_is_installed_all_the_same_where_somebody_has_compiled_it(install, tmp_path, monkeypatch):
    monkeypatch.setattr(install, "cannot_compile", lambda: "there is no C compiler (cc)")
    (tmp_path / "without-cryptofeed").write_text("from an earlier run")
    install.main(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("client", "reason"), [("cryptofeed", ""), ("ubwa", "there is no C compiler (cc)")])
def test_anything_else_that_cannot_be_installed_is_an_error(install, tmp_path, monkeypatch, client, reason):
    monkeypatch.setattr(install, "cannot_compile", lambda: reason)
    install.failing = {client}
    with pytest.raises(SystemExit, match=f"{client} could not be installed"):
        install.main(tmp_path)


def test_the_reason_names_what_is_missing(install, monkeypatch):
    monkeypatch.setattr(install.shutil, "which", lambda _name: None)
    monkeypatch.setattr(install.sysconfig, "get_path", lambda _name: "/nowhere")
    reason = install.cannot_compile()
    assert "no a C compiler" not in reason
    assert "C compiler" in reason
    assert "/nowhere/Python.h" in reason


def test_a_client_that_need_not_be_compiled_is_none_of_those(install):
    clients = {path.stem.removeprefix("requirements-") for path in INSTALL.parent.glob("requirements-*.txt")}
    assert clients == {"cryptofeed", "sdk-spot", "ubwa"}
    assert clients >= install.COMPILED
