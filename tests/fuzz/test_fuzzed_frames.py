"""A few thousand hostile frames from a seed, each time; `fuzz_frames.py` has a million of them when asked."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import pytest
from fuzz_frames import through_a_service, through_the_cutter
from hostile_frames import NOW
from oracle_of_frames import Accounts, forms, piece_of

from ingest_actors.binance.parser import EventParser
from ingest_actors.binance.stream_table import StreamTable
from ingest_actors.messages import FrameBatch


@pytest.mark.parametrize("seed", [1, 2])
async def test_every_hostile_message_is_an_event_or_a_dead_letter_byte_for_byte(autojump_clock, seed):
    figures = await through_a_service(seed, 4000)
    assert figures["messages"] == 4000
    assert figures["delivered"] > 1000
    assert figures["dead_letters"] > 500
    assert figures["connections"] >= 1


@pytest.mark.parametrize("seed", [1, 2])
def test_the_cutter_comes_to_what_wsproto_comes_to_alone(seed):
    assert len(through_the_cutter(seed, 4000)["verdicts"]) > 4


def test_what_is_to_be_found_of_a_message_is_told_without_the_program():
    assert forms(b'{"stream":"x","data":{"a":1}}')[2:] == [[b'{"a":1}']]
    assert forms(b'{"data":[1, {"b":2} ],"stream":"x"}')[2:] == [[b"1", b'{"b":2}']]
    assert forms(b"[1,2]")[2:] == [[b"1", b"2"]]
    assert forms(b"junk") == [[b"junk"], [b"junk"]]
    tail = b',"ingestion_timestamp":1,"source":"binance_websocket","event_type":"trade"}'
    assert piece_of(b'{"a":1' + tail) == [b'{"a":1}']
    assert b'{"a":1}' in piece_of(b'{"a":1,"symbol":"X","stream":"x@y"' + tail)


@pytest.mark.parametrize("fast", [True, False])
def test_an_array_and_one_that_has_it_as_an_element_are_both_found_whichever_came_first(fast):
    deep = b'{"a":' * 200 + b"1" + b"}" * 200
    element, around = b"[%b]" % deep, b'["x",[%b],null]' % deep
    for sent in permutations([element, around]):
        parser = EventParser(StreamTable(), fast=fast)
        parsed = parser.parse(FrameBatch(list(sent), received_at_ms=NOW, connection="ws-1"))
        letters = {message: [deep] if message is element else [b'"x"', element, b"null"] for message in sent}
        assert [event[0] for event in parsed.events] == [letter for message in sent for letter in letters[message]]
        assert all(event[3].dead_letter for event in parsed.events)
        accounts = Accounts([event[0] for event in parsed.events], [])
        assert accounts.settle(sent) == Counter()
        assert accounts.missing == 0


def test_what_each_message_became_is_found_though_each_could_be_what_another_became():
    written = [b"1", b"[1]", b"[[1]]"]
    for sent in permutations([b"[1]", b"[[1]]", b"[[[1]]]"]):
        accounts = Accounts(written, [])
        assert accounts.settle(sent) == Counter()
        assert accounts.missing == 0
        accounts = Accounts([*written, b"[1]"], [])
        assert accounts.settle(sent).total() == 1
        assert accounts.missing == 0
        accounts = Accounts(written[:2], [])
        assert accounts.settle(sent) == Counter()
        assert accounts.missing == 1
