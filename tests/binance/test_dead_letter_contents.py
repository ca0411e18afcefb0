from sys import getsizeof

import pytest
from exchange_frames import BY_STREAM, NOW, TRADE, batch, both_ways, combined, headers, parser

from ingest_actors.binance.dead_letters import DETAIL_MAX_CHARACTERS, PARSER_REASONS, DeadLetters, Origin
from ingest_actors.binance.stream_table import StreamTable
from ingest_actors.messages import EventBatch, Route

DEAD_LETTERS = ("binance-dead-letters",)


@pytest.mark.parametrize(
    ("frame", "reason", "event_type"),
    [
        (b"", "malformed_json", "unparsed"),
        (b"garbage", "malformed_json", "unparsed"),
        (b"\x00\xff\xfe", "invalid_utf8", "unparsed"),
        (b"NaN", "malformed_json", "unparsed"),
        (b"17", "not_an_object", "unparsed"),
        (b'"text"', "not_an_object", "unparsed"),
        (b"null", "not_an_object", "unparsed"),
        (b"{}", "empty_event", "unparsed"),
        (b'{"hello":"world"}', "unknown_event", "unparsed"),
        (b'{"e":""}', "unknown_event", "unparsed"),
        (b'{"e":"a-b","s":"ETHUSDT"}', "unknown_event", "unparsed"),
        (b'{"lastUpdateId":1,"bids":[],"asks":[]}', "unknown_event", "unparsed"),
        (b'{"e":"trade","t":1}', "no_symbol", "trade"),
        (b"[" * 100_000, "malformed_json", "unparsed"),
        (b'{"a":' * 100_000, "malformed_json", "unparsed"),
        (b"[[]]", "not_an_object", "unparsed"),
        (b"[%b1]" % (b"1," * 10_000), "too_many_elements", "unparsed"),
        (b"[1,", "malformed_json", "unparsed"),
        (b'{"e":"trade","s":"ETHUSDT","t":1}{"e":"trade","s":"ETHUSDT","t":2}', "malformed_json", "unparsed"),
        (combined("ethusdt@trade", b"{}"), "empty_event", "trade"),
        (combined("ethusdt@avgPrice", b"{ }"), "empty_event", "average_price"),
        (combined("ethusdt@trade", b"7"), "not_an_object", "trade"),
        (combined("ethusdt@trade", b"null"), "not_an_object", "trade"),
        (combined("ethusdt@trade", TRADE[:-1]), "malformed_json", "trade"),
        (combined("ethusdt@trade", TRADE)[:-1], "malformed_json", "trade"),
        (combined("ethusdt@trade", TRADE)[:60], "malformed_json", "trade"),
        (combined("ethusdt@trade", TRADE) + b"}", "malformed_json", "trade"),
        (combined("ethusdt@trade", TRADE.replace(b"true", b"NaN")), "malformed_json", "trade"),
        (combined("ethusdt@trade", TRADE.replace(b'"4410.25000000"', b"04410")), "malformed_json", "trade"),
        (combined("ethusdt@trade", TRADE.replace(b"USDT", b"US\x01T")), "malformed_json", "trade"),
        (combined("ethusdt@trade", TRADE.replace(b"USDT", b"US\xffT")), "invalid_utf8", "trade"),
        (combined("ethusdt@trade", TRADE.replace(b"2999110042", b'"2999110042"')), "no_identity", "trade"),
        (combined("ethusdt@trade", TRADE.replace(b"2999110042", b"1.5")), "no_identity", "trade"),
        (combined("ethusdt@trade", TRADE.replace(b"2999110042", b"true")), "no_identity", "trade"),
        (combined("ethusdt@trade", TRADE.replace(b'"t"', b'"tt"')), "no_identity", "trade"),
        (combined("ethusdt@trade", TRADE.replace(b'"trade"', b'"aggTrade"')), "no_identity", "aggregate_trade"),
        (combined("ethusdt@depth20", b'{"bids":[],"asks":[]}'), "no_identity", "partial_depth"),
        (combined("ethusdt@whatever", b'{"x":1}'), "unknown_event", "unparsed"),
        (combined("!whatever@arr", b'[{"e":"24hrMiniTicker"}]'), "no_symbol", "mini_ticker"),
        (combined("ethusdt@trade", TRADE.replace(b",", b"\n,", 1)[:-1]), "malformed_json", "trade"),
    ],
)
def test_what_cannot_be_parsed_is_a_dead_letter_as_it_came_and_harms_no_neighbour(frame, reason, event_type):
    good = combined("ethusdt@trade", TRADE)
    events = both_ways(good, frame, good)
    assert [event[3].dead_letter for event in events] == [False, True, False]
    value, key, time, route = events[1]
    stream = headers(events[1]).get("stream", "")
    assert frame.find(value) >= 0
    assert value == frame or frame.startswith((b"[", b'{"stream":"!'))
    assert time == NOW
    assert route.topics == DEAD_LETTERS
    assert route.event_type == event_type
    assert headers(events[1])["reason"] == reason
    assert headers(events[1])["received_at"] == str(NOW)
    assert headers(events[1])["detail"]
    assert headers(events[1]).get("event_type", "unparsed") == event_type
    if stream.startswith("ethusdt@"):
        assert key == b"ETHUSDT"
        assert headers(events[1])["symbol"] == "ETHUSDT"


def test_the_reasons_above_are_all_that_there_are():
    reasons = {parameters[1] for parameters in _cases()} | {"binary_frame"}
    assert reasons == PARSER_REASONS


def _cases():
    mark = test_what_cannot_be_parsed_is_a_dead_letter_as_it_came_and_harms_no_neighbour.pytestmark[0]
    return mark.args[1]


def test_each_binary_message_is_a_dead_letter():
    parsed = parser().parse(batch(combined("ethusdt@trade", TRADE), b"\x00\x01", binary=True))
    assert [(value, headers_of["reason"]) for value, headers_of in ((e[0], headers(e)) for e in parsed.events)] == [
        (combined("ethusdt@trade", TRADE), "binary_frame"),
        (b"\x00\x01", "binary_frame"),
    ]
    assert headers(parsed.events[0])["stream"] == "ethusdt@trade"
    assert "stream" not in headers(parsed.events[1])


def test_a_message_with_newlines_in_it_does_not_shift_the_others():
    wrapped = combined("ethusdt@trade", TRADE.replace(b",", b"\n,"))
    two = combined("ethusdt@trade", TRADE) + b"\n" + combined("ethusdt@trade", TRADE)
    frames = [combined("ethusdt@trade", TRADE), wrapped, two, combined("ethusdt@depth", BY_STREAM["ethusdt@depth"])]
    events = both_ways(*frames)
    assert [event[3].dead_letter for event in events] == [False, False, True, False]
    assert events[1][0].startswith(TRADE.replace(b",", b"\n,")[:-1])


def test_halves_that_would_make_one_message_together_stay_two_dead_letters():
    frame = combined("ethusdt@trade", TRADE)
    cut = frame.index(b',"t"')
    events = both_ways(frame, frame[: cut + 1], frame[cut + 1 :], frame)
    assert [event[3].dead_letter for event in events] == [False, True, True, False]


def test_nothing_is_ever_appended_to_an_empty_object():
    frames = [combined("ethusdt@avgPrice", data) for data in (b'{"w":"1"}', b"{}", b'{"w":"1"}', b"{}")]
    events = both_ways(*frames)
    assert [event[3].dead_letter for event in events] == [False, True, False, True]


def test_an_array_and_a_candle_do_not_lend_each_other_their_braces():
    doubled = b'{"stream":"ethusdt@trade","data":%b,"data":%b}' % (TRADE, TRADE)
    events = both_ways(combined("ethusdt@trade", TRADE), combined("!miniTicker@arr", b"[]"), doubled)
    assert [event[0].count(b'"e":"trade"') for event in events] == [1, 1]


def test_details_are_cut_to_a_bound():
    letters = DeadLetters(StreamTable())
    letter = letters.letter(b"x", "malformed_json", "d" * 10_000, received_at_ms=1)
    assert headers(letter)["detail"] == "d" * DETAIL_MAX_CHARACTERS


def test_a_name_that_is_no_text_does_not_stop_a_dead_letter():
    letter = DeadLetters(StreamTable()).letter(b"x", "r", "\ud800", received_at_ms=1, origin=Origin(symbol="\ud800"))
    assert letter[1] == b"?"
    assert dict(letter[3].headers)["detail"] == b"?"


def test_a_refused_event_is_kept_as_it_came_with_key_time_and_type():
    letters = DeadLetters(StreamTable())
    [event] = both_ways(combined("ethusdt@trade", TRADE))
    refused = letters.refused_event(event, "too_large", "1,000,013 bytes")
    assert refused[:3] == (TRADE, *event[1:3])
    assert (refused[3].event_type, refused[3].topics, refused[3].dead_letter) == ("trade", DEAD_LETTERS, True)
    assert headers(refused) == {
        "reason": "too_large",
        "detail": "1,000,013 bytes",
        "symbol": "ETHUSDT",
        "event_type": "trade",
        "received_at": str(NOW),
    }
    assert letters.refused_event(event, "bad_timestamp", "", timestamp_ms=NOW)[2] == NOW


@pytest.mark.parametrize("stream", BY_STREAM)
def test_whatever_was_appended_to_a_refused_event_is_told_by_headers_alone(stream):
    [event] = both_ways(combined(stream, BY_STREAM[stream]))
    refused = DeadLetters(StreamTable()).refused_event(event, "too_large", "")
    assert refused[0] == BY_STREAM[stream]
    assert headers(refused)["received_at"] == str(NOW)
    assert headers(refused).get("stream", stream) == stream
    assert ("stream" in headers(refused)) == (b'"stream":' in event[0])


def test_a_dead_letter_is_counted_with_its_headers():
    """Or a flood of them would be held in many times the memory that they are counted as."""
    [letter] = both_ways(combined("ethusdt@trade", TRADE)[:-1])
    value, key, time, route = letter
    own = [letter, value, key, time, route, route.headers]
    own += [part for header in route.headers for part in (header, header[1])]
    size_bytes = EventBatch([letter], received_at_ms=NOW).size_bytes
    assert size_bytes >= sum(map(getsizeof, own))
    assert EventBatch([letter, letter], received_at_ms=NOW).size_bytes == 2 * size_bytes


def test_fields_of_the_exchange_that_look_like_ours_stay():
    event = TRADE[:-1] + b',"symbol":"ETHUSDT","stream":"mine"}'
    [spliced] = both_ways(combined("ethusdt@trade", event))
    refused = DeadLetters(StreamTable()).refused_event(spliced, "too_large", "")
    assert refused[0] == event
    assert "stream" not in headers(refused)


def test_a_refused_dead_letter_keeps_what_was_known_of_it():
    letters = DeadLetters(StreamTable())
    [wreck] = both_ways(combined("ethusdt@trade", TRADE)[:-1])
    refused = letters.refused_event(wreck, "too_large", "")
    assert headers(refused) == {
        "reason": "too_large",
        "symbol": "ETHUSDT",
        "event_type": "trade",
        "stream": "ethusdt@trade",
        "received_at": str(NOW),
    }
    keyless = letters.refused_event((b"v", None, 5, Route("kline", ("raw",))), "r", "d")
    assert keyless[1] is None


def test_only_a_dead_letter_that_is_too_large_is_cut_and_says_of_how_much():
    letters = DeadLetters(StreamTable())
    garbage = b"x" * 3_000_000
    letter = letters.letter(garbage, "malformed_json", "x", received_at_ms=NOW)
    value, _, _, route = letters.refused_event(letter, "too_large", "3000000 bytes")
    assert value == garbage[: 256 * 1024]
    assert dict(route.headers)["cut_from"] == b"3000000"
    assert dict(route.headers)["received_at"] == str(NOW).encode()
    whole, _, _, route = letters.refused_event(letter, "timestamp_out_of_range", "x")
    assert whole == garbage
    assert "cut_from" not in dict(route.headers)
