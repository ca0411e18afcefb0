"""The reference and the example file say what the settings are."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from ingest_actors.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("reference_settings", REPOSITORY / "docs" / "reference_settings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_reference_and_example_are_current(reference, capsys):
    assert reference.main(["--check"]) == 0, "run: python docs/reference_settings.py"
    assert capsys.readouterr().out == "current\n"


def test_the_example_file_equals_the_defaults():
    assert Settings.from_env(REPOSITORY / ".env.example", {}) == Settings()


def test_the_example_file_equals_the_defaults_with_every_line_uncommented(tmp_path):
    text = (REPOSITORY / ".env.example").read_text(encoding="utf-8")
    file = tmp_path / "all.env"
    file.write_text(re.sub(r"(?m)^#(?=[A-Z])", "", text), encoding="utf-8")
    settings = Settings.from_env(file, {})
    assert settings.kafka_producer_options == {"linger.ms": "20"}
    assert settings.replace(kafka_producer_options={}, kafka_client_options={}) == Settings()
    assert set(re.findall(r"(?m)^#?([A-Z_]+)=", text)) == {
        *(name.upper() for name in Settings.model_fields if not name.endswith("_options")),
        "KAFKA_PRODUCER_LINGER_MS",
        "KAFKA_CLIENT_CLIENT_RACK",
    }


def test_every_setting_stands_in_the_reference(reference):
    text = reference.markdown()
    for name in Settings.model_fields:
        shown = {"kafka_producer_options": "KAFKA_PRODUCER_<OPTION>", "kafka_client_options": "KAFKA_CLIENT_<OPTION>"}
        assert text.count(f"\n| `{shown.get(name, name.upper())}` | ") == 1


def test_stale_files_are_told_and_written(reference, monkeypatch, tmp_path, capsys):
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(reference, "REPOSITORY", tmp_path)
    assert reference.main(["--check"]) == 1
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0
    assert "stale: docs/SETTINGS.md, .env.example" in capsys.readouterr().out
    assert sys.getsizeof((tmp_path / ".env.example").read_text()) > 1000
