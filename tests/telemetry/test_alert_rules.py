"""The shipped rules: each alert is tested by promtool, and has a paragraph in the runbook."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from prometheus_process import DEPLOY, RULES, SHORTER_THRESHOLDS, shortened

RUNBOOK = (DEPLOY.parent / "docs" / "how-to" / "alerts.md").read_text()
ALERTS = (RULES / "alerts.yml").read_text()
NAMES = re.findall(r"- alert: (\w+)", ALERTS)


def promtool(*arguments):
    done = subprocess.run(
        [shutil.which("promtool"), *arguments], cwd=RULES, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_finds_nothing_wrong_with_the_configuration(prometheus_installed):
    assert f"{len(NAMES)} rules found" in promtool("check", "config", "prometheus.yml")


def test_every_alert_fires_upon_its_fault_and_clears_after(prometheus_installed):
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yml")


def test_every_alert_has_a_test_of_firing_and_one_of_not():
    tests = (RULES / "alerts_test.yml").read_text()
    blocks = re.findall(r"alertname: (\w+)(\n +exp_alerts:)?", tests)
    assert {name for name, fires in blocks if fires} == set(NAMES)
    assert {name for name, fires in blocks if not fires} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_leads_to_a_paragraph_of_the_runbook(name):
    body = ALERTS.partition(f"- alert: {name}\n")[2].partition("- alert:")[0]
    assert f"runbook_url: docs/how-to/alerts.md#{name.lower()}\n" in body
    assert re.search(r"severity: (critical|warning|info)\n", body)
    assert 'summary: "' in body
    assert 'action: "' in body
    paragraph = re.search(rf"^### {name}\n\n(.+?)(?=\n##|\Z)", RUNBOOK, re.MULTILINE | re.DOTALL)
    assert paragraph is not None
    assert len(paragraph[1]) > 80


def test_the_runbook_has_no_alert_that_is_not_there():
    assert set(re.findall(r"^### (\w+)$", RUNBOOK, re.MULTILINE)) == set(NAMES)


def test_what_is_shortened_for_the_proof_is_there_to_be_shortened():
    for given in SHORTER_THRESHOLDS:
        assert given in ALERTS
    quick = shortened(ALERTS)
    assert quick.count("- alert:") == len(NAMES)
    assert not re.search(r"for: \d+[mh]|\[\d+[mh]\]", quick)
