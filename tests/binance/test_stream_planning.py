import json
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from ingest_actors.binance.planning import SUBSCRIBE, UNSUBSCRIBE, assign, control_messages

names = st.lists(st.integers(0, 200).map(lambda number: f"s{number}@trade"), max_size=80)


def test_streams_are_split_at_the_exchanges_limit():
    plan = assign([f"s{number}@trade" for number in range(2049)])
    assert {name: len(streams) for name, streams in plan.items()} == {"ws-1": 1024, "ws-2": 1024, "ws-3": 1}
    assert plan["ws-1"][0] == "s0@trade"


def test_nothing_wanted_is_nothing_planned():
    assert assign([]) == {}
    assert assign([], {"ws-1": ("a@trade",)}) == {}


@given(names, names, names, st.integers(1, 30))
def test_no_stream_that_stays_wanted_moves_and_each_is_carried_once(first, second, third, most):
    current = {}
    for wanted in (first, second, third):
        plan = assign(wanted, current, streams_max=most)
        carried = [stream for streams in plan.values() for stream in streams]
        assert sorted(carried) == sorted(set(wanted))
        assert all(0 < len(streams) <= most for streams in plan.values())
        for name, streams in current.items():
            for stream in set(streams) & set(wanted):
                assert stream in plan[name]
        current = plan


def test_new_streams_fill_the_room_that_is_left():
    plan = assign(["a", "c", "d", "e"], {"ws-2": ("a", "b"), "odd": ("c",)}, streams_max=2)
    assert plan == {"ws-2": ("a", "d"), "odd": ("c", "e")}
    assert assign(["a", "b", "c"], {"ws-2": ("a", "b")}, streams_max=2) == {"ws-2": ("a", "b"), "ws-1": ("c",)}


def test_a_connection_that_carries_too_much_gives_up_the_rest():
    assert assign(["a", "b"], {"ws-1": ("a", "b")}, streams_max=1) == {"ws-1": ("a",), "ws-2": ("b",)}


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=60), max_size=300)
)
def test_messages_stay_within_what_the_exchange_reads_and_name_every_stream_in_order(streams):
    messages = control_messages(SUBSCRIBE, streams, next_id=count(10**17).__next__)
    assert all(len(message.text.encode()) <= 4000 for message in messages)
    assert [stream for message in messages for stream in message.streams] == streams
    assert [stream for message in messages for stream in json.loads(message.text)["params"]] == streams
    assert len({message.id for message in messages}) == len(messages)


def test_what_a_message_looks_like():
    [message] = control_messages(UNSUBSCRIBE, ["ethusdt@trade", "币usdt@depth"], next_id=lambda: 7)
    assert message.text == '{"method":"UNSUBSCRIBE","params":["ethusdt@trade","币usdt@depth"],"id":7}'
    assert (message.id, message.method, message.streams) == (7, "UNSUBSCRIBE", ("ethusdt@trade", "币usdt@depth"))


def test_messages_are_filled_before_another_is_begun():
    streams = [f"symbol{number:04}usdt@depth@100ms" for number in range(1024)]
    messages = control_messages(SUBSCRIBE, streams, next_id=count(1).__next__)
    assert len(messages) == 8
    assert all(len(message.text) > 3900 for message in messages[:-1])


def test_a_name_longer_than_a_message_goes_alone():
    messages = control_messages(SUBSCRIBE, ["a", "b" * 5000, "c"], next_id=count(1).__next__)
    assert [message.streams for message in messages] == [("a",), ("b" * 5000,), ("c",)]


def test_streams_that_are_to_leave_go_where_there_is_room_and_else_to_a_connection_of_their_own():
    current = {"ws-1": ("a", "b"), "ws-2": ("c",)}
    assert assign(["a", "b", "c"], current, {"a": "ws-1"}, streams_max=2) == {"ws-1": ("b",), "ws-2": ("c", "a")}
    assert assign(["a", "b"], {"ws-1": ("a", "b")}, {"b": "ws-1"}) == {"ws-1": ("a",), "ws-2": ("b",)}
    assert assign(["a"], {"ws-1": ("a",)}, {"a": "ws-1"}) == {"ws-2": ("a",)}


def test_a_stream_that_has_left_already_or_is_not_wanted_any_more_stays_where_it_is():
    current = {"ws-1": ("a",), "ws-2": ("b",)}
    assert assign(["a", "b"], current, {"b": "ws-1", "z": "ws-1"}) == current


@given(names, st.data(), st.integers(1, 30))
def test_moved_streams_leave_their_connection_and_no_other_stream_moves(wanted, data, most):
    current = assign(wanted, streams_max=most)
    home = {stream: name for name, streams in current.items() for stream in streams}
    leaving = (
        {stream: home[stream] for stream in data.draw(st.sets(st.sampled_from(sorted(home)))) if home} if home else {}
    )
    plan = assign(wanted, current, leaving, streams_max=most)
    carried = {stream: name for name, streams in plan.items() for stream in streams}
    assert sorted(carried) == sorted(set(wanted))
    assert all(0 < len(streams) <= most for streams in plan.values())
    assert all((carried[stream] != name) == (stream in leaving) for stream, name in home.items())
