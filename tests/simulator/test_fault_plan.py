"""What is decided about one connection: triggers, counts, changes to frames; without IO and without a clock."""

import math

import pytest

from ingest_actors.simulator.fault_frames import fragmented, garbage, payload_of, split_frames, stream_of, with_fields
from ingest_actors.simulator.fault_plan import ConnectionFaults
from ingest_actors.simulator.fault_triggers import Gate, Rule, Trigger
from ingest_actors.simulator.faults import (
    AddFields,
    CloseWith,
    Cut,
    CutMidFrame,
    DelayReply,
    Drop,
    Duplicate,
    Fault,
    Fragment,
    Garbage,
    HalfOpen,
    Mute,
    NoReply,
    RefuseHandshake,
    Reorder,
    ServerShutdown,
    Slow,
    Truncate,
)
from ingest_actors.simulator.wire import text_frame

OPEN_S = 100.0


def rule(action, origin_s=OPEN_S, key="0/1", **options):
    return Rule(Fault(action, **options), key, origin_s)


def plan(*rules, opened_s=OPEN_S, fired=None):
    def note(what, number, now_s):
        if fired is not None:
            fired.append((now_s - OPEN_S, what.fault.action, number))

    return ConnectionFaults(rules, number=1, opened_s=opened_s, note=note)


def steps(faults, frames=(), streams=(), *, control=(), at_s=0.0):
    """What is done, joined: bytes between actions."""
    done = []
    for step in faults.steps(control, frames, streams, OPEN_S + at_s):
        if isinstance(step, tuple):
            done.append(step[0])
        elif done and isinstance(done[-1], bytes):
            done[-1] += step
        elif step:
            done.append(step)
    return done


A, B, C, D, E = (text_frame(letter.encode() * 10) for letter in "abcde")


def test_without_faults_everything_goes_out_in_one_piece():
    faults = plan()
    assert not faults.looks_at_frames
    assert faults.next_s == math.inf
    assert list(faults.steps([b"pong"], [A, B])) == [b"pong" + A + B]


def test_frames_are_counted_over_many_calls_and_muted_ones_too():
    faults = plan(rule(Mute(), after_frames=1), rule(Cut(), after_frames=3))
    assert faults.looks_at_frames
    assert steps(faults, [A, B], control=[b"p"]) == [b"p" + A]
    assert steps(faults, [C, D]) == [Cut()]
    assert steps(faults, [E]) == []


def test_a_fault_strikes_behind_its_frame_at_once():
    faults = plan(rule(Cut(), after_frames=2))
    assert steps(faults, [A, B]) == [A + B, Cut()]
    assert not faults.looks_at_frames


def test_counts_repeat():
    faults = plan(rule(Garbage("text"), after_frames=2, times=2))
    assert steps(faults, [A, B, C, D, E, A]) == [A + B + garbage("text") + C + D + garbage("text") + E + A]


def test_events_of_one_stream_are_counted():
    faults = plan(rule(Cut(), after_events=2, streams="b@*"))
    assert steps(faults, [A, B, C, D], ["a@trade", "b@trade", "a@trade", "b@trade"]) == [A + B + C + D, Cut()]


def test_times_are_kept_without_frames():
    faults = plan(rule(Cut(), after_s=5))
    assert faults.next_s == OPEN_S + 5
    assert not faults.looks_at_frames
    assert steps(faults, [A], at_s=4.9) == [A]
    assert steps(faults, at_s=5) == [Cut()]
    assert faults.next_s == math.inf


def test_what_was_due_before_a_connection_opened_passes_it_by():
    once = plan(rule(Cut(), origin_s=0, at_s=50))
    assert once.next_s == math.inf
    thrice = plan(rule(Cut(), origin_s=0, at_s=45, times=3))
    assert thrice.next_s == 135
    assert plan(rule(Cut(), origin_s=0, at_s=OPEN_S)).next_s == OPEN_S
    assert plan(rule(Cut(), origin_s=0, at_s=0)).next_s == math.inf


def test_times_repeat():
    faults = plan(rule(Garbage("text"), after_s=5, times=2))
    assert steps(faults, at_s=5) == [garbage("text")]
    assert faults.next_s == OPEN_S + 10
    assert steps(faults, [A], at_s=12) == [garbage("text") + A]
    assert faults.next_s == math.inf


def test_without_a_trigger_a_fault_holds_from_the_start():
    assert steps(plan(rule(Cut())), [A]) == [Cut(), A]


def test_chance_is_the_same_for_the_same_seed_and_connection():
    def struck(key, number):
        trigger = Trigger(rule(Cut(), key=key, probability=0.1), number, OPEN_S)
        return [trigger.before("a@trade") for _ in range(1000)]

    assert struck("0/1", 1) == struck("0/1", 1)
    assert struck("0/1", 1) != struck("0/1", 2)
    assert struck("0/1", 1) != struck("1/1", 1)
    assert 70 < sum(struck("0/1", 1)) < 130


def test_random_moments_are_so_far_apart_on_average():
    trigger = Trigger(rule(Cut(), every_s=10), 1, OPEN_S)
    moments = []
    while len(moments) < 1000:
        moments.append(trigger.next_s)
        assert trigger.due(trigger.next_s)
    assert 9 < (moments[-1] - OPEN_S) / 1000 < 11


def test_how_often_in_all_is_counted_over_connections():
    shared = rule(Cut(), after_frames=1, in_all=2)
    assert [steps(plan(shared), [A]) for _ in range(3)] == [[A, Cut()], [A, Cut()], [A]]


def test_nothing_strikes_after_its_time():
    faults = plan(rule(Cut(), after_frames=1, until_s=5))
    assert steps(faults, [A], at_s=6) == [A]


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (Drop(), [A + C + D]),
        (Drop(2), [A + D]),
        (Duplicate(2), [A + B + B + C + C + D]),
        (Reorder(), [A + C + B + D]),
        (Truncate(), [A + text_frame(b"bbbbb") + C + D]),
        (CutMidFrame(), [A + B[:6], Cut(), C + D]),
        (CutMidFrame(reset=True), [A + B[:6], Cut(reset=True), C + D]),
        (Fragment(pieces=2), [A + b"\x01\x05bbbbb\x80\x05bbbbb" + C + D]),
        (Fragment(pieces=2, ping=True), [A + b"\x01\x05bbbbb\x89\x11between fragments\x80\x05bbbbb" + C + D]),
    ],
)
def test_the_next_frames_are_changed(action, expected):
    faults = plan(rule(action, after_frames=1))
    assert steps(faults, [A, B, C, D]) == expected
    assert not faults.looks_at_frames


def test_only_frames_of_the_named_stream_are_changed():
    faults = plan(rule(Drop(2), streams="b@*"))
    assert steps(faults, [A, B, C, D, E], ["a@x", "b@x", "a@x", "b@x", "b@x"]) == [A + C + E]


def test_two_changes_of_one_frame_add_up():
    faults = plan(rule(Fragment(pieces=2), after_frames=1), rule(Duplicate(), after_frames=1))
    assert steps(faults, [A, B]) == [A + fragmented(B, 2, None) * 2]


def test_an_event_that_finds_no_neighbour_is_let_go_after_a_second():
    faults = plan(rule(Reorder(), after_frames=1))
    assert steps(faults, [A, B]) == [A]
    assert faults.next_s == OPEN_S + 1
    assert steps(faults, at_s=1) == [B]
    assert steps(faults, [C, D], at_s=2) == [D + C]


def test_mute_lasts_as_long_as_it_says_and_only_for_its_streams():
    faults = plan(rule(Mute(), after_s=1, for_s=2, streams="b@*"))
    assert steps(faults, [A, B], ["a@x", "b@x"], at_s=0.5) == [A + B]
    assert steps(faults, [A, B], ["a@x", "b@x"], at_s=1) == [A]
    assert faults.looks_at_frames
    assert steps(faults, [A, B], ["a@x", "b@x"], at_s=3) == [A + B]
    assert not faults.looks_at_frames


def test_a_lasting_fault_holds_for_its_time():
    faults = plan(rule(Slow(0.5), after_s=1, for_s=2))
    assert faults.lasting(Slow, OPEN_S) is None
    steps(faults, at_s=1)
    assert faults.lasting(Slow, OPEN_S + 2.9) == Slow(0.5)
    assert faults.lasting(Slow, OPEN_S + 3) is None


def test_a_shutdown_without_a_lead_has_one_at_random_up_to_ten_minutes():
    leads = [steps(plan(rule(ServerShutdown(), key=f"{seed}/1")))[0].lead_s for seed in range(200)]
    assert 0 <= min(leads) < 30
    assert 570 < max(leads) <= 600
    assert steps(plan(rule(ServerShutdown(7)))) == [ServerShutdown(7)]


def test_what_happens_is_noted_once_for_each_frame():
    fired = []
    faults = plan(rule(Drop(2), after_frames=1), rule(HalfOpen(), after_s=3), rule(CloseWith(), after_s=3), fired=fired)
    steps(faults, [A, B, C, D])
    steps(faults, at_s=3)
    assert fired == [(0, Drop(2), 1), (0, Drop(2), 1), (3, HalfOpen(), 1), (3, CloseWith(), 1)]


def test_a_fault_can_be_added_later():
    faults = plan()
    faults.add(rule(Cut()), OPEN_S + 5)
    assert faults.next_s == OPEN_S + 5
    faults.add(rule(Drop(), after_frames=1), OPEN_S + 5)
    assert faults.looks_at_frames
    assert steps(faults, [A, B], at_s=5) == [Cut(), A]


def asked(faults, times, *, at_s=0.0):
    return [faults.request_fault(OPEN_S + at_s) is not None for _ in range(times)]


def test_without_a_trigger_every_request_is_struck():
    assert asked(plan(rule(NoReply())), 3) == [True] * 3
    assert asked(plan(rule(NoReply(), times=2)), 3) == [True, True, False]


def test_at_a_time_the_next_requests_are_struck():
    faults = plan(rule(DelayReply(1), after_s=5, times=2))
    assert asked(faults, 2, at_s=4) == [False, False]
    assert asked(faults, 3, at_s=6) == [True, True, False]
    once = plan(rule(DelayReply(1), after_s=5))
    assert asked(once, 2, at_s=6) == [True, False]


def test_after_a_count_the_next_request_is_struck():
    faults = plan(rule(NoReply(), after_frames=2))
    assert asked(faults, 1) == [False]
    steps(faults, [A, B, C])
    assert asked(faults, 2) == [True, False]


def test_after_a_count_so_many_requests_are_struck_and_no_more():
    faults = plan(rule(NoReply(), after_events=1, streams="a@*", times=2, in_all=2))
    steps(faults, [A, B, C], ["a@x", "a@x", "a@x"])
    assert asked(faults, 4) == [True, True, False, False]


def test_for_a_while_all_requests_are_struck():
    faults = plan(rule(NoReply(), after_s=5, for_s=2))
    assert [asked(faults, 2, at_s=at_s) for at_s in (4, 5, 6.9, 7)] == [
        [False] * 2,
        [True] * 2,
        [True] * 2,
        [False] * 2,
    ]


def test_requests_are_struck_by_chance_or_at_random_moments():
    gate = Gate(rule(RefuseHandshake(), probability=0.5), 0, OPEN_S)
    assert 400 < sum(gate.strikes(OPEN_S) for _ in range(1000)) < 600
    gate = Gate(rule(RefuseHandshake(), every_s=10), 0, OPEN_S)
    assert 50 < sum(gate.strikes(OPEN_S + second) for second in range(1000)) < 130


def test_joined_frames_are_taken_apart():
    frames = [A, text_frame(b"x" * 200), text_frame(b"y" * 70_000), b"\x8a\x00"]
    assert list(split_frames(b"".join(frames))) == frames
    assert list(split_frames(A + B[:1])) == [A, B[:1]]
    assert list(split_frames(A + B[:7])) == [A, B[:7]]


def test_streams_are_read_from_combined_messages_only():
    assert stream_of(text_frame('{"stream":"币usdt@trade","data":{}}'.encode())) == "币usdt@trade"
    assert stream_of(text_frame(b'{"e":"trade"}')) == ""


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b'{"e":"trade","t":1}', b'{"e":"trade","t":1,"b":5,"a":"x"}'),
        (b'{"stream":"a@trade","data":{"t":1}}', b'{"stream":"a@trade","data":{"t":1,"b":5,"a":"x"}}'),
        (b'[{"e":"x"}]', b'[{"e":"x"}]'),
        (b'{"stream":"!x@arr","data":[{"e":"x"}]}', b'{"stream":"!x@arr","data":[{"e":"x"}]}'),
    ],
)
def test_fields_are_added_to_single_events(payload, expected):
    frame = with_fields(text_frame(payload), {"b": 5, "a": "x"})
    assert payload_of(frame) == expected
    assert steps(plan(rule(AddFields({"b": 5, "a": "x"}))), [text_frame(payload)]) == [frame]
