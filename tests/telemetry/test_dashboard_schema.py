"""The dashboard as Grafana's own types have it: no unknown field, no wrong type.

Wants ``npm install @grafana/schema typescript`` somewhere, and ``INGEST_GRAFANA_SCHEMA`` to name that directory.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from prometheus_process import DEPLOY

OPTIONS = [
    "--noEmit",
    "--strict",
    "--skipLibCheck",
    "--module",
    "node16",
    "--moduleResolution",
    "node16",
    "--target",
    "es2020",
]


@pytest.fixture
def typescript():
    directory = Path(os.environ.get("INGEST_GRAFANA_SCHEMA", ""))
    if not (directory / "node_modules" / "@grafana" / "schema").is_dir():
        pytest.skip("INGEST_GRAFANA_SCHEMA names no directory with @grafana/schema and typescript")
    return directory


def tsc(directory, dashboard):
    text = json.dumps(dashboard, indent=1)
    # Enumerations have no literals in TypeScript.
    text = text.replace('"mode": "absolute"', '"mode": ThresholdsMode.Absolute')
    source = directory / "dashboard.ts"
    source.write_text(
        f"import {{ Dashboard, ThresholdsMode }} from '@grafana/schema';\nexport const d: Partial<Dashboard> = {text};"
    )
    compiler = directory / "node_modules" / ".bin" / "tsc"
    done = subprocess.run([compiler, *OPTIONS, source.name], cwd=directory, capture_output=True, text=True, check=False)
    return done.stdout


def test_every_field_is_one_of_grafanas(typescript):
    dashboard = json.loads((DEPLOY / "grafana" / "ingest-actors.json").read_text())
    for annotation in dashboard["annotations"]["list"]:
        del annotation["target"]["expr"]  # what a query is, is the data source's affair
    assert tsc(typescript, dashboard) == ""
    dashboard["panels"][1]["colour"] = "red"
    assert "colour" in tsc(typescript, dashboard)
