import json
from itertools import pairwise

import pytest
from exchange_frames import BY_STREAM, combined

from ingest_actors.binance.session import LIST_INTERVAL_S, LIST_PAUSE_S, Refused, Session

DATA = combined("ethusdt@trade", BY_STREAM["ethusdt@trade"])


def sent(session, now=0.0):
    return json.loads(session.message(now))


def answer(session, *replies):
    return session.intercept([json.dumps(reply).encode() for reply in replies])


def test_streams_are_acknowledged_by_the_answer_to_their_message():
    session = Session(["a@trade", "b@trade", "a@trade"])
    assert sent(session) == {"method": "SUBSCRIBE", "params": ["a@trade", "b@trade"], "id": 1}
    assert (session.acknowledged, session.settled) == (frozenset(), False)
    assert answer(session, {"result": None, "id": 1}) == []
    assert (session.acknowledged, session.settled) == ({"a@trade", "b@trade"}, True)
    assert session.wanted == ("a@trade", "b@trade")


def test_messages_are_at_least_300_ms_apart():
    session = Session([f"symbol{number}@depth@100ms" for number in range(1024)])
    times = [5.0]
    assert session.message(5.0) is not None
    while (send_at := session.send_at()) is not None:
        assert session.message(send_at - 0.001) is None
        assert session.message(send_at) is not None
        times.append(send_at)
    assert len(times) == 7
    assert all(later - earlier >= 0.299999 for earlier, later in pairwise(times))


def test_answers_are_taken_out_and_data_is_left_in_order():
    session = Session(["a@trade"])
    sent(session)
    first, second = DATA, DATA.replace(b"ETHUSDT", b"BNBUSDT")
    assert session.intercept([first, b'{"result":null,"id":1}', second]) == [first, second]


def test_nothing_is_looked_at_while_no_answer_is_awaited():
    session = Session(["a@trade"])
    frames = [DATA, b'{"result":null,"id":1}']
    assert session.intercept(frames) is frames
    sent(session)
    data = [DATA, b"garbage", b'{"e":"trade","result":1,"id":1}', b'{"id":1}', b"[1]", b"\xff"]
    assert session.intercept(data) is data


@pytest.mark.parametrize(
    ("reply", "refused"),
    [
        ({"error": {"code": 2, "msg": "no"}, "id": 1}, Refused(2, "no", ("a@trade",))),
        ({"code": 2, "msg": "no", "id": 1}, Refused(2, "no", ("a@trade",))),
        ({"error": {"code": 3, "msg": "no"}}, Refused(3, "no", ("a@trade",))),
        ({"error": {"code": 3, "msg": "no"}, "id": None}, Refused(3, "no", ("a@trade",))),
        ({"code": 3, "msg": "no"}, Refused(3, "no", ("a@trade",))),
        ({"error": {}, "id": 1}, Refused(None, "", ("a@trade",))),
        ({"error": {"code": 4, "msg": "no"}, "id": 99}, Refused(4, "no", ())),
    ],
)
def test_errors_of_both_shapes_are_data(reply, refused):
    session = Session(["a@trade"])
    sent(session)
    assert answer(session, reply) == []
    assert session.refused() == [refused]
    assert session.refused() == []
    assert session.acknowledged == frozenset()


def test_an_answer_to_nobodys_question_changes_nothing():
    session = Session(["a@trade"])
    sent(session)
    assert answer(session, {"result": None, "id": 2}, {"result": ["x"], "id": "1"}) == []
    assert (session.acknowledged, session.settled) == (frozenset(), False)


def test_an_answer_that_does_not_come_is_overdue():
    session = Session(["a@trade"], reply_timeout_s=10)
    assert session.reply_due() is None
    sent(session, now=5.0)
    assert session.reply_due() == 15.0
    assert session.overdue(14.9) == ()
    assert session.overdue(15.0) == ("a@trade",)
    answer(session, {"result": None, "id": 1})
    assert session.overdue(99.0) == ()


def test_streams_come_and_go_later():
    session = Session(["a@trade", "b@trade"])
    sent(session)
    answer(session, {"result": None, "id": 1})
    session.add(["b@trade", "c@trade"])
    session.drop(["a@trade", "z@trade"])
    assert session.wanted == ("b@trade", "c@trade")
    assert sent(session, 1.0) == {"method": "SUBSCRIBE", "params": ["c@trade"], "id": 2}
    assert session.message(1.2) is None
    assert sent(session, 1.3) == {"method": "UNSUBSCRIBE", "params": ["a@trade"], "id": 3}
    answer(session, {"result": None, "id": 3}, {"result": None, "id": 2})
    assert session.acknowledged == {"b@trade", "c@trade"}


def test_a_late_answer_does_not_bring_back_what_was_dropped_meanwhile():
    session = Session(["a@trade"])
    sent(session)
    session.drop(["a@trade"])
    answer(session, {"result": None, "id": 1})
    assert session.acknowledged == frozenset()
    sent(session, 1.0)
    session.add(["a@trade"])
    sent(session, 2.0)
    answer(session, {"result": None, "id": 3}, {"result": None, "id": 2})
    assert session.acknowledged == {"a@trade"}


def test_nothing_to_subscribe_is_settled_at_once():
    session = Session()
    assert (session.settled, session.send_at(), session.message(0.0)) == (True, None, None)


# What the exchange lists, and what is subscribed again


def listing(session, now):
    """The question which streams are listed, sent now."""
    message = sent(session, now)
    assert message.keys() == {"method", "id"}
    assert message["method"] == "LIST_SUBSCRIPTIONS"
    return message["id"]


def subscribed(*streams):
    session = Session(streams)
    sent(session)
    answer(session, {"result": None, "id": 1})
    return session


def test_when_all_is_acknowledged_the_exchange_is_asked_what_it_lists_and_again_every_ten_minutes():
    session = Session(["a@trade", "b@trade"])
    sent(session)
    assert session.send_at() is None
    answer(session, {"result": None, "id": 1})
    assert session.send_at() == 0.3
    number = listing(session, 0.3)
    assert answer(session, {"result": ["b@trade", "x@trade", 7], "id": number}) == []
    assert session.missing == {"a@trade"}
    assert session.acknowledged == {"a@trade", "b@trade"}
    assert session.send_at() == pytest.approx(0.3 + LIST_INTERVAL_S)
    number = listing(session, 0.3 + LIST_INTERVAL_S)
    answer(session, {"result": ["a@trade", "b@trade"], "id": number})
    assert session.missing == frozenset()


def test_an_empty_connection_asks_nothing():
    session = subscribed("a@trade")
    session.drop(["a@trade"])
    sent(session, 1.0)
    answer(session, {"result": None, "id": 2})
    assert session.send_at() is None


def test_streams_that_are_subscribed_again_are_first_forgotten_and_are_acknowledged_by_the_new_answer():
    session = subscribed("a@trade", "b@trade")
    answer(session, {"result": [], "id": listing(session, 0.3)})
    session.renew(["a@trade", "z@trade"])
    assert session.acknowledged == {"b@trade"}
    assert session.missing == {"b@trade"}
    assert session.wanted == ("a@trade", "b@trade")
    assert sent(session, 1.0) == {"method": "UNSUBSCRIBE", "params": ["a@trade"], "id": 3}
    answer(session, {"result": None, "id": 3})
    assert session.acknowledged == {"b@trade"}
    assert sent(session, 2.0) == {"method": "SUBSCRIBE", "params": ["a@trade"], "id": 4}
    answer(session, {"result": None, "id": 4})
    assert session.acknowledged == {"a@trade", "b@trade"}


def test_after_each_change_it_is_asked_again_but_not_too_often():
    session = subscribed("a@trade")
    answer(session, {"result": ["a@trade"], "id": listing(session, 0.3)})
    session.renew(["a@trade"])
    sent(session, 1.0)
    sent(session, 1.3)
    answer(session, {"result": None, "id": 3}, {"result": None, "id": 4})
    assert session.send_at() == pytest.approx(0.3 + LIST_PAUSE_S)
    assert listing(session, 0.3 + LIST_PAUSE_S) == 5


def test_what_came_or_went_while_the_answer_was_on_its_way_is_not_missing():
    session = subscribed("a@trade", "b@trade", "c@trade")
    number = listing(session, 0.3)
    session.drop(["a@trade"])
    session.renew(["b@trade"])
    session.add(["d@trade"])
    sent(session, 1.0)
    answer(session, {"result": None, "id": 3}, {"result": [], "id": number})
    assert session.missing == {"c@trade"}


@pytest.mark.parametrize(
    "reply",
    [{"result": None}, {"error": {"code": 2, "msg": "unknown variant"}}, {"code": 2, "msg": "unknown variant"}, None],
)
def test_an_exchange_that_does_not_say_what_it_lists_is_not_quarrelled_with(reply):
    session = subscribed("a@trade")
    number = listing(session, 0.3)
    if reply is not None:
        assert answer(session, reply | {"id": number}) == []
    assert session.overdue(11.0) == ()
    assert session.reply_due() is None
    assert session.refused() == []
    assert session.missing == frozenset()
    assert session.settled
    assert session.send_at() == pytest.approx(0.3 + LIST_INTERVAL_S)


def test_an_answer_to_a_change_is_overdue_even_beside_an_unanswered_list():
    session = subscribed("a@trade")
    listing(session, 0.3)
    session.renew(["a@trade"])
    sent(session, 0.6)
    assert session.reply_due() == pytest.approx(10.3)
    assert session.overdue(10.4) == ()
    assert session.overdue(10.6) == ("a@trade",)
