"""The systemd unit: its times and exit codes are the product's, systemd accepts it, and the service runs under it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import unit_file
from unit_file import UNIT, values

from ingest_actors.checks import RELOADABLE, start_problems
from ingest_actors.commands.endings import EXIT_USAGE
from ingest_actors.errors import SecondWriter
from ingest_actors.settings import Settings

AFTER_THE_DRAIN_S = 10
SYSTEMD = UNIT.parent


def settings():
    return Settings.from_env(SYSTEMD / "settings.env", unit_file.environment(), checks=[start_problems])


def test_systemd_waits_ten_seconds_longer_than_the_drain_may_take():
    assert values("TimeoutStopSec") == [str(round(settings().shutdown_timeout_seconds) + AFTER_THE_DRAIN_S)]


def test_it_is_started_again_but_for_wrong_settings_and_another_writer():
    assert values("Restart") == ["on-failure"]
    assert values("StartLimitIntervalSec") == ["0"]
    [unrestarted] = values("RestartPreventExitStatus")
    assert {int(code) for code in unrestarted.split()} == {EXIT_USAGE, SecondWriter.exit_code}


def test_it_never_gives_up_and_spools_to_the_directory_that_systemd_makes():
    assert settings().max_retries == 0
    assert str(settings().spool_dir) == f"/var/lib/{values('StateDirectory')[0]}"


def test_what_a_reload_takes_over_is_not_shadowed_by_the_unit():
    assert not {name.lower() for name in unit_file.environment()} & RELOADABLE
    assert values("ExecReload") == ["/bin/kill -HUP $MAINPID"]
    assert "--env-file /etc/ingest-actors/settings.env" in values("ExecStart")[0]


def test_memory_is_bounded_above_what_the_service_itself_bounds():
    [bound] = values("MemoryMax")
    assert int(bound.removesuffix("M")) * 1024**2 > 4 * settings().buffer_max_bytes


def test_the_example_environment_holds_no_secret():
    lines = (SYSTEMD / "environment").read_text().splitlines()
    assert all(line.startswith("#") for line in lines)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_systemd_reads_it_without_a_word(tmp_path):
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/ingest-actors/bin/ingest-actors", shutil.which("true")))
    command = ["systemd-analyze", "verify", "--man=no", str(copy)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout + found.stderr) == (0, "")


def test_the_service_runs_under_the_filters_of_the_unit():
    """The demo has all the parts of the service, and its exchange."""
    if shutil.which("systemd-analyze") is None or not list(Path("/usr/lib").glob("*/libseccomp.so.2")):
        pytest.skip("systemd-analyze or libseccomp is not here")
    script = Path(__file__).with_name("under_the_unit.py")
    under = [sys.executable, str(script), sys.executable]
    forbidden = "import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)"
    ended = subprocess.run([*under, "-c", forbidden], capture_output=True, text=True, check=False)
    assert "PermissionError" in ended.stderr
    demo = ["-m", "ingest_actors", "demo", "--duration", "2"]
    ended = subprocess.run([*under, *demo], capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["bootstrap_servers"]
    assert "It balances" in ended.stderr
