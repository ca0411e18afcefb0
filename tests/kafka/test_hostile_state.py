"""Junk in the state topic, whoever wrote it: refused by name, with what to do, and never as a crash."""

from __future__ import annotations

import random

import pytest

from ingest_actors.binance.marks import Mark, OpenGap, Sheet, decode_spooled, encode_mark, encode_sheet
from ingest_actors.binance.resume import ResumeState
from ingest_actors.errors import JournalTooNew, StateUnreadable
from ingest_actors.kafka.owner import Owner, decode, encode, new_owner

KEY = b"one/series/trade/BTCUSDT"
GAP = OpenGap("btcusdt@trade:5-6", "btcusdt@trade", 5, 6, "disconnected", 1)
GOOD = [
    encode_mark(Mark(10, 1_700_000_000_000, ((5, 6),), (GAP,))),
    encode_sheet(Sheet(3, 1, {"trade/BTCUSDT": Mark(10, 1)})),
    encode_mark(Mark(-1, 0)),
]
JUNK = [
    b"",
    b"\x00",
    b"\xff\xfe",
    b"null",
    b"[]",
    b"5",
    b'{"v":1}',
    b'{"v":"1"}',
    b'{"v":null}',
    b'{"v":1,"last":"x","at":1}',
    b'{"v":1,"last":1e999,"at":1}',
    b'{"v":1,"last":-2,"at":1}',
    b'{"v":1,"last":%d,"at":1}' % 2**63,
    b'{"v":1,"last":%b,"at":1}' % (b"9" * 5000),
    b'{"v":1,"last":1,"at":-1}',
    b'{"v":1,"last":1,"at":1,"holes":[[-1,5]]}',
    b'{"v":1,"last":1,"at":1,"holes":[[1]]}',
    b'{"v":1,"last":1,"at":1,"gaps":[{"gap":"\xff"}]}',
    b'{"v":2,"number":-1,"turn":0,"marks":{}}',
    b'{"v":2,"number":1,"turn":0,"marks":[]}',
    b'{"v":2,"number":1,"turn":0,"marks":{"trade/X":{}}}',
    b'{"v":1,"x":' + b"[" * 100_000 + b"}",
    b'{"v":1,"last":1,"at":1,"x":"\\ud800"}',
]


@pytest.mark.parametrize("value", JUNK, ids=lambda value: value[:40].decode("latin-1"))
@pytest.mark.parametrize("what", ["series", "spool", "owner"])
def test_junk_is_refused_by_name_with_what_to_do(value, what):
    state = ResumeState("one")
    key = {"series": KEY, "spool": b"one/spool", "owner": b"one/owner"}[what]
    newer = what != "series" and value.startswith(b'{"v":2,')
    with pytest.raises(JournalTooNew if newer else StateUnreadable) as caught:
        decode(key, value) if what == "owner" else state.load(key, value)
    assert key.decode() in str(caught.value)
    assert newer or "INSTANCE_NAME" in str(caught.value)
    assert caught.value.exit_code == 1


def test_a_newer_version_is_no_junk():
    with pytest.raises(JournalTooNew):
        ResumeState("one").load(KEY, b'{"v":3}')


@pytest.mark.parametrize("value", [b'{"v":1,"drained":-1}', b'{"v":1,"drained":1e400}', b'{"v":1}'])
def test_a_spool_that_is_drained_up_to_nowhere_is_refused(value):
    with pytest.raises(StateUnreadable):
        decode_spooled("one/spool", value)


@pytest.mark.parametrize("name", ["generation", "started", "at", "commits"])
@pytest.mark.parametrize("number", [b"-1", b"9223372036854775808", b"1e3", b'"1"'])
def test_an_owner_with_numbers_that_nobody_reaches_is_refused(name, number):
    value = encode(Owner("t", 1, 1, 1, 1)).replace(b'"%b":1' % name.encode(), b'"%b":%b' % (name.encode(), number))
    with pytest.raises(StateUnreadable):
        decode(b"one/owner", value)


def test_whoever_follows_the_highest_owner_there_may_be_can_be_written():
    highest = decode(b"one/owner", encode(Owner("t", 2**62, 1, 1, 1)))
    assert decode(b"one/owner", encode(Owner("x", highest.generation, 1, 1, 1))).generation == 2**62
    assert encode(new_owner(highest, clock_ms=1))


@pytest.mark.parametrize("key", [b"one/series/", b"one/series/x", b"one/series/\xff/\x00", b"one/series/a/b/c/../d"])
def test_keys_that_nobody_writes_harm_nobody(key):
    state = ResumeState("one")
    assert state.load(key, GOOD[0])
    assert state.load(key, None)
    assert state.everything() == []


def test_no_record_makes_the_state_raise_anything_but_what_it_says():
    rng = random.Random(11)  # seeded: the same records each time
    good = [*GOOD, encode(Owner("t", 1, 1, 1, 1)), b'{"v":1,"drained":7}']
    for _ in range(2000):
        value = bytearray(rng.choice(good))
        for _ in range(rng.randrange(1, 4)):
            place = rng.randrange(len(value) + 1)
            value[place : place + rng.randrange(4)] = rng.choice([rng.randbytes(2), b'"', b"{", b"-", b"9" * 20, b""])
        state = ResumeState("one")
        for key in (KEY, b"one/spool"):
            try:
                state.load(key, bytes(value))
            except (StateUnreadable, JournalTooNew):
                continue
        assert ResumeState.of("one", state.marks).everything() is not None
        try:
            decode(b"one/owner", bytes(value))
        except (StateUnreadable, JournalTooNew):
            continue
