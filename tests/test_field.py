"""What the field does to a service: dead, refusing and banning endpoints, each with the right pace. On virtual time."""

from itertools import pairwise

import httpx
import pytest
import trio

from field_world import field, running
from ingest_actors.errors import ActorFailed
from ingest_actors.simulator import invent_symbols

REFUSED = b"HTTP/1.1 451 Unavailable For Legal Reasons\r\nContent-Length: 0\r\n\r\n"
FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
BANNED = b"HTTP/1.1 418 I'm a teapot\r\nRetry-After: 1000\r\nContent-Length: 0\r\n\r\n"
DEAD = OSError("nobody listens there")


async def test_the_second_endpoint_carries_while_the_first_is_dead_and_the_first_is_used_when_it_is_back(
    autojump_clock,
):
    async with field(a=DEAD) as world, running(world.service("a", "b")):
        await world.wait_for("connection_opened")
        assert world.hosts() == ["a", "b"]
        (failed,) = world.fields("websocket_connection_failed")
        assert (failed["url"], failed["cause"]) == ("ws://a/stream", "nobody listens there")
        del world.answers["a"]
        await trio.sleep(100)
        await world.cut()
        await world.wait_for("connection_opened", 2)
        assert world.hosts() == ["a", "b", "a"]


async def test_an_endpoint_that_refuses_this_address_is_left_for_another_and_passed_over_for_a_while(autojump_clock):
    async with field(a=REFUSED) as world, running(world.service("a", "b")):
        await world.wait_for("connection_opened")
        for count in (2, 3):
            await trio.sleep(100)
            await world.cut()
            await world.wait_for("connection_opened", count)
        assert world.hosts() == ["a", "b", "b", "b"]
        assert world.attempts[1][0] - world.attempts[0][0] < 6, "the other is tried at the normal pace"
        await trio.sleep(700)
        await world.cut()
        await world.wait_for("connection_opened", 4)
        assert world.hosts()[4:] == ["a", "b"]
        for failed in world.fields("websocket_connection_failed"):
            assert failed["cause"] == "HTTP 451 Unavailable For Legal Reasons"
            assert "refuses this address" in failed["hint"]
            assert "wss://data-stream.binance.vision" in failed["hint"]


async def test_when_all_refuse_this_address_there_is_no_storm_and_max_retries_counts(autojump_clock):
    async with field(a=REFUSED, b=FORBIDDEN) as world:
        service = world.service("a", "b", max_retries=5)
        with pytest.raises(ActorFailed, match=r"HTTP 451 .*5 failures in a row, MAX_RETRIES") as caught:
            await service.run()
        assert caught.value.exit_code == 75
        assert world.hosts() == ["a", "b", "a", "b", "a"]
        times = [time for time, _ in world.attempts]
        gaps = [round(later - earlier) for earlier, later in pairwise(times)]
        assert gaps[0] in (4, 5)
        assert gaps[1:] == [300, 300, 300]


async def test_a_ban_is_waited_out_as_long_as_it_says(autojump_clock):
    async with field(a=BANNED) as world, running(world.service("a", "b")):
        await world.wait_for("websocket_connection_failed")
        world.answers.clear()
        await world.wait_for("connection_opened")
        (first, second) = world.attempts
        assert second[0] - first[0] == pytest.approx(1000, abs=1)
        (failed,) = world.fields("websocket_connection_failed")
        assert "banned" in failed["hint"]
        assert "it asks to wait 1000 s" in failed["hint"]
        assert world.fields("reconnecting")[0]["delay_s"] == 1000


async def test_a_ban_of_one_connection_keeps_all_of_them_away(autojump_clock):
    config = {"symbols": invent_symbols(600), "activity": 0.001}
    async with field(config, a=BANNED) as world:
        service = world.service("a", binance_symbols="*", binance_stream_types="trade,aggTrade")
        async with running(service):
            await world.wait_for("websocket_connection_failed")
            world.answers.clear()
            await service.wait_ready()
        assert len(service.status().connections) == 2
        first, *others = [time for time, _ in world.attempts]
        assert len(others) == 2
        assert min(others) - first == pytest.approx(1000, abs=1)


@pytest.mark.parametrize("status", [403, 451])
async def test_a_rest_interface_that_refuses_this_address_is_asked_every_five_minutes_at_most(status, autojump_clock):
    asked = []

    async def refuse(request):
        await trio.lowlevel.checkpoint()
        asked.append((trio.current_time(), request.url.host))
        return httpx.Response(status)

    async with field() as world:
        service = world.service(
            "a",
            binance_symbols="*USDT",
            binance_rest_url="https://one.test,https://two.test",
            max_retries=3,
            rest=httpx.MockTransport(refuse),
        )
        with pytest.raises(ActorFailed, match=f"HTTP {status}"):
            await service.run()
        assert [host for _, host in asked] == ["one.test", "two.test"] * 3
        times = [time for time, _ in asked[::2]]
        assert [round(later - earlier) for earlier, later in pairwise(times)] == [300, 300]
        assert all("refuses this address" in told["hint"] for told in world.fields("exchange_not_asked"))


@pytest.mark.parametrize("answer", [FORBIDDEN, BANNED, b"HTTP/1.1 503 Busy\r\n\r\n", b"SSH-2.0\r\n\r\n", DEAD])
async def test_whatever_an_endpoint_does_no_attempt_follows_another_at_once(answer, autojump_clock):
    async with field(a=answer) as world, running(world.service("a")):
        await trio.sleep(3600)
        gaps = [later - earlier for (earlier, _), (later, _) in pairwise(world.attempts)]
        assert len(gaps) >= 3
        assert min(gaps) >= 4
        assert max(gaps) <= 1001
