"""Who takes part: our service and what others write, each a process of its own with the same settings by environment.

A client in another language, or one with an environment of its own, may be missing on a machine: then `missing` says
what for, in words that a report can show.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
CLIENTS_DIR = BENCH / "clients"
BUILD_S_MAX = 900.0
SOURCES = {".rs", ".toml", ".lock", ".go", ".mod", ".sum"}
"""What a built client is made of, by the ends of their names."""
TWO_RECORDS: Mapping[str, float] = {"raw": 1, "trades": 0.5, "depth": 0.5}
ONE_RECORD: Mapping[str, float] = {"trades": 0.5, "depth": 0.5}
PEERS = ROOT / ".venv-peers"
"""An environment for clients that are not to be in ours, as `make test-peers` has it."""


def present() -> str:
    """Nothing is missing."""
    return ""


@dataclass(frozen=True)
class Client:
    """One that takes part.

    Attributes:
        name: in tables and results.
        about: what it is, in a few words.
        command: program and arguments.
        messages_share: of what the fastest get in a bulk run, so that all runs take about as long.
        records: how many records a message becomes, by topic, if trades and depth come in turn.
        records_more: how many there are besides, by topic.
        settings: what it gets beside the settings that all get.
        blaster: options that the exchange gets for it.
        from_memory: whether it has its messages in memory and needs no exchange; see `clients/memory.py`.
        tls: whether it takes nothing but ``wss://``.
        missing: makes it ready to run (builds it, say); why that is impossible here, or nothing.
    """

    name: str
    about: str
    command: tuple[str, ...]
    messages_share: float = 1.0
    records: Mapping[str, float] = field(default_factory=lambda: TWO_RECORDS)
    settings: Mapping[str, str] = field(default_factory=dict)
    records_more: Mapping[str, int] = field(default_factory=dict)
    blaster: tuple[str, ...] = ()
    from_memory: bool = False
    tls: bool = False
    missing: Callable[[], str] = present

    @property
    def ours(self) -> bool:
        """Whether it reads its settings as the service does, and refuses those it does not know."""
        return self.name in {"ingest_actors", "our sink"}


def python_client(script: str, name: str, about: str, messages_share: float, *packages: str, **settings: str) -> Client:
    """A client in ``clients/``, run by this interpreter."""

    def missing() -> str:
        from importlib.util import find_spec  # noqa: PLC0415 - costs nothing to those who ask for nothing

        absent = [package for package in packages if find_spec(package) is None]
        return f"{', '.join(absent)} not installed: pip install -e '.[bench]'" if absent else ""

    command = (sys.executable, str(CLIENTS_DIR / script))
    return Client(name, about, command, messages_share, settings=settings, missing=missing)


def cryptofeed() -> Client:
    """In an environment of its own; a record a message, and a snapshot of each of the ten books at the start."""
    python, note, stamp = PEERS / "bin" / "python", PEERS / "without-cryptofeed", PEERS / ".installed-bench"
    requirements = CLIENTS_DIR / "requirements-cryptofeed.txt"

    @cache
    def missing() -> str:
        wanted = requirements.read_text()
        if not stamp.exists() or stamp.read_text() != wanted:
            install = [sys.executable, str(ROOT / "tests/peers/install.py"), str(PEERS), str(requirements)]
            done = subprocess.run(install, capture_output=True, text=True, timeout=BUILD_S_MAX, check=False)
            if done.returncode:
                return f"could not be installed: {done.stderr.strip()[-300:]}"
            stamp.write_text(wanted)
        return note.read_text().strip() if note.exists() else ""

    return Client(
        "cryptofeed", "cryptofeed's Kafka backends: one record a message, each acknowledgement waited for",
        (str(python), str(CLIENTS_DIR / "cryptofeed_kafka.py")), 0.02,
        records=ONE_RECORD, records_more={"depth": 10}, blaster=("--books",), tls=True, missing=missing,
    )  # fmt: skip


def built_client(name: str, about: str, tool: str, build: tuple[str, ...], binary: str) -> Client:
    """A client in ``clients/<name>/`` that its own toolchain builds, once."""
    directory = CLIENTS_DIR / name

    @cache
    def missing() -> str:
        if not directory.is_dir():
            return f"{directory.relative_to(ROOT)} is not there"
        if newer(
            directory / binary,
            [path for path in directory.rglob("*") if path.suffix in SOURCES and "target" not in path.parts],
        ):
            return ""
        program = find_tool(tool)
        if program is None:
            return f"no {tool} on this machine"
        path = f"{Path(program).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        done = subprocess.run(
            [program, *build], cwd=directory, env=os.environ | {"PATH": path}, capture_output=True, text=True,
            timeout=BUILD_S_MAX, check=False,
        )  # fmt: skip
        return "" if done.returncode == 0 else f"does not build: {done.stderr.strip()[-300:]}"

    return Client(name, about, (str(directory / binary),), missing=missing)


def newer(made: Path, sources: list[Path]) -> bool:
    """Whether it is there, and no source has changed since."""
    return made.exists() and made.stat().st_mtime >= max(path.stat().st_mtime for path in sources)


def find_tool(tool: str) -> str | None:
    """A toolchain's program, also where its own installer puts it without telling the shell."""
    usual = [Path.home() / ".cargo/bin", Path("/usr/local/go/bin")]
    return shutil.which(tool) or next((str(place / tool) for place in usual if (place / tool).exists()), None)


CLIENTS: Mapping[str, Client] = {
    client.name: client
    for client in (
        Client("ingest_actors", "ours, as users run it", (sys.executable, "-m", "ingest_actors", "run")),
        python_client(
            "naive.py", "naive", "trio-websocket, json, memory channels", 0.1, "trio", "trio_websocket"
        ),
        python_client(
            "websockets_asyncio.py", "websockets", "websockets on asyncio, json", 0.3, "websockets"
        ),
        python_client(
            "picows_uvloop.py", "picows", "picows on uvloop, msgspec, by hand, checks nothing", 1.0,
            "picows", "uvloop", "msgspec", CHECK_IDS="0",
        ),
        python_client(
            "picows_uvloop.py", "picows-ids", "the same, checks that ids are consecutive", 1.0,
            "picows", "uvloop", "msgspec", CHECK_IDS="1",
        ),
        cryptofeed(),
        built_client(
            "rust", "tokio-tungstenite, serde, rdkafka", "cargo", ("build", "--release", "--quiet"),
            "target/release/feed",
        ),
        built_client("go", "gorilla, gjson, franz-go", "go", ("build", "-o", "feed", "."), "feed"),
    )
}  # fmt: skip


HANDOVERS: Mapping[str, Client] = {
    client.name: client
    for client in (
        Client(
            "librdkafka", "librdkafka by confluent-kafka, records from memory, nothing else",
            (sys.executable, str(CLIENTS_DIR / "librdkafka_floor.py")), from_memory=True,
        ),
        Client(
            "librdkafka, bounded", "the same, its queue bounded as the service bounds it",
            (sys.executable, str(CLIENTS_DIR / "librdkafka_floor.py")), from_memory=True,
            settings={"OPTIONS": '{"batch.size": 1000000, "queue.buffering.max.kbytes": 16384}'},
        ),
        Client(
            "our sink", "the service's sink, records from memory",
            (sys.executable, str(CLIENTS_DIR / "our_sink.py")), from_memory=True,
        ),
    )
}  # fmt: skip
"""Those that only hand over: the floor of what a client can cost."""


def available(names: tuple[str, ...] | None = None) -> tuple[list[Client], dict[str, str]]:
    """Those who can take part here, and why the others cannot."""
    there, absent = [], {}
    for name in names or tuple(CLIENTS):
        if reason := CLIENTS[name].missing():
            absent[name] = reason
        else:
            there.append(CLIENTS[name])
    return there, absent
