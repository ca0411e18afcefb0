"""A few thousand hostile frames from a seed, each time; `fuzz_frames.py` has a million of them when asked."""

from __future__ import annotations

import pytest
from fuzz_frames import through_a_service, through_the_cutter
from oracle_of_frames import forms, piece_of


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
