"""Names of the depth streams, with their speeds."""

import pytest

from ingest_actors.simulator.market.streams import StreamName, parse_stream


@pytest.mark.parametrize("speed", ["", "@1000ms"])
def test_a_second_may_be_asked_for_in_so_many_words_as_clients_that_people_use_do(speed):
    assert parse_stream(f"btcusdt@depth{speed}") == StreamName("BTCUSDT", "depth")
    assert parse_stream(f"btcusdt@depth5{speed}") == StreamName("BTCUSDT", "partial", levels=5)


def test_a_tenth_of_a_second_is_the_other_speed_and_there_is_no_third():
    assert parse_stream("btcusdt@depth@100ms") == StreamName("BTCUSDT", "depth", fast=True)
    assert parse_stream("btcusdt@depth20@100ms") == StreamName("BTCUSDT", "partial", levels=20, fast=True)
    for other in ("@250ms", "@500ms", "@0ms", "@", "@1000"):
        assert parse_stream(f"btcusdt@depth{other}") is None
