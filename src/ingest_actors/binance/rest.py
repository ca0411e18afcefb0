"""The exchange's REST interface, as far as it is needed, over httpx on trio."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlencode

import httpx
import msgspec
import trio

from ingest_actors.binance.backfill import AggregateRow, TradeRow
from ingest_actors.binance.endpoint import REST_PATH, Endpoints
from ingest_actors.binance.rest_body import BadBody, read_body
from ingest_actors.binance.rest_errors import RequestRefused, answered_badly, failed_to_ask, kept_away, refused
from ingest_actors.binance.rest_ways import Trusted, open_client
from ingest_actors.binance.standing import BANNED, REFUSED_DELAY_S, REFUSING, asked_wait_s
from ingest_actors.binance.watched_stream import Activity
from ingest_actors.binance.weight import WeightBudget
from ingest_actors.errors import ExchangeUnreachable
from ingest_actors.proxies import Proxies

TIMEOUT_S: Final = 15.0
"""The exchange gives up on a request of its own after 10 s (``rest-api.md``, general)."""

ANSWER_MAX_BYTES: Final = 64 * 1024**2
"""More than the whole exchangeInfo, which is the largest answer: some 20 MB."""

SYMBOLS_ASKED_MAX: Final = 100
"""Above this many, all symbols are asked for: it costs the same, and a URL has a length that servers take."""

WEIGHTS: Final = {"time": 1, "exchangeInfo": 20, "ticker/24hr": 80, "aggTrades": 4, "historicalTrades": 25}
"""Request weights, by the exchange's documentation of July 2026; that of the statistics is for all symbols."""

DEPTH_WEIGHTS: Final = ((100, 5), (500, 25), (1000, 50), (5000, 250))
"""Weights of a book of so many levels a side at most."""

ROWS_MAX: Final = 1000
"""Most trades in one answer."""

TICKER_WEIGHTS: Final = ((20, 2), (SYMBOLS_ASKED_MAX, 40))
"""Weights of the statistics of so many symbols at most."""

_OK: Final = 200
_USED_WEIGHT: Final = "x-mbx-used-weight-1m"
_USED_WEIGHT_DIGITS_MAX: Final = 9
_NO_SUCH_SYMBOL: Final = frozenset({-1121, -1100, -1101, -1105, -1130})
"""Error codes of a question about symbols that are not there, or not even possible."""

T = TypeVar("T")


class _Symbol(msgspec.Struct, gc=False):
    symbol: str
    status: str = ""


class _ExchangeInfo(msgspec.Struct, gc=False):
    """What is read of exchangeInfo; all else, most of its megabytes, is skipped without being decoded."""

    symbols: list[_Symbol]


class _Ticker(msgspec.Struct, gc=False):
    """What is read of the 24-hour statistics; the prices are there only when all of it was asked for."""

    symbol: str
    lastId: int = -1  # noqa: N815 - the exchange's name
    bidPrice: str = ""  # noqa: N815
    bidQty: str = ""  # noqa: N815
    askPrice: str = ""  # noqa: N815
    askQty: str = ""  # noqa: N815


class _Time(msgspec.Struct, gc=False):
    serverTime: int  # noqa: N815 - the exchange's name


class RestClient:
    """Asks the exchange. Use as an async context manager, which closes the connections.

    Args:
        bases: addresses such as ``https://api.binance.com``; when one cannot be reached, the next one is asked. Several
            clients of the same addresses should share `Endpoints`, so that all keep away when one is told to.
        budget: lets requests through; the one that all requests of a service share. None: nothing holds them back.
        transport: instead of the network, for tests.
        proxies: which addresses are asked through a proxy; None = as the environment has it now.
        timeout_s: for each request as a whole.
        trusted: makes what certificates are verified with; None = the system's authorities, or those of
            ``SSL_CERT_FILE``.

    Attributes:
        used_weight: what the exchange says that this address has used of the current minute; None before any answer.

    Every method raises `ExchangeUnreachable` when no address answers, or the exchange
    refuses this address, and `RequestRefused` when it refuses the question. While it bans this address, or every
    address refuses us, nobody is asked, and the former is raised at once. A cancelled request is dropped; what it
    weighs stays spent.
    """

    def __init__(
        self,
        bases: Sequence[str] | Endpoints,
        *,
        budget: WeightBudget | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        proxies: Proxies | None = None,
        timeout_s: float = TIMEOUT_S,
        trusted: Trusted | None = None,
    ) -> None:
        self._endpoints = bases if isinstance(bases, Endpoints) else Endpoints(bases)
        self._budget = budget
        self._timeout_s = timeout_s
        self._proxies = proxies or Proxies()
        self._http = open_client(
            self._endpoints.bases,
            proxies=self._proxies,
            timeout_s=timeout_s,
            transport=transport,
            trusted=trusted,
        )
        self.used_weight: int | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        with trio.CancelScope(shield=True), trio.move_on_after(1):
            await self._http.aclose()

    async def server_time(self, *, sent: Callable[[], object] = lambda: None) -> int:
        """The exchange's clock, ms since the epoch.

        Args:
            sent: called in the step in which the question is sent; see `depth`.
        """
        return (await self._ask("time", {}, _Time, sent=sent)).serverTime

    async def exchange_info(self, symbols: Sequence[str] | None = None) -> dict[str, str]:
        """The status of symbols, by their name.

        Args:
            symbols: upper case; None = all that are listed. Those that the exchange does not list are left out of the
                answer; when there are any, all that are listed are in it, so that the nearest can be told.
        """
        if symbols is not None and 0 < len(symbols) <= SYMBOLS_ASKED_MAX:
            names = msgspec.json.encode(list(dict.fromkeys(symbols))).decode()
            try:
                return _statuses(await self._ask("exchangeInfo", {"symbols": names}, _ExchangeInfo))
            except RequestRefused as error:
                if error.code not in _NO_SUCH_SYMBOL:
                    raise
        return _statuses(await self._ask("exchangeInfo", {}, _ExchangeInfo))

    async def ticker_24h(self, symbols: Sequence[str] | None = None, *, top: bool = False) -> dict[str, Activity]:
        """What the statistics of the last 24 hours tell of symbols, by their name.

        Args:
            symbols: upper case; None = all. When there are many, or some that the exchange does not list, all that it
                lists are in the answer.
            top: best bid and ask as well; without them the answer is half as long.
        """
        kind = {"type": "FULL" if top else "MINI"}
        names = list(dict.fromkeys(symbols or ()))
        weight = next((weight for most, weight in TICKER_WEIGHTS if 0 < len(names) <= most), None)
        if weight is not None:
            asked = {"symbols": msgspec.json.encode(names).decode()} | kind
            try:
                return _activities(await self._ask("ticker/24hr", asked, list[_Ticker], weight=weight))
            except RequestRefused as error:
                if error.code not in _NO_SUCH_SYMBOL:
                    raise
        return _activities(await self._ask("ticker/24hr", kind, list[_Ticker]))

    async def aggregate_trades(
        self, symbol: str, from_id: int | None = None, *, limit: int = ROWS_MAX
    ) -> list[AggregateRow]:
        """Aggregate trades in the order of their ids; the exchange's database may lag behind the stream.

        Args:
            symbol: upper case.
            from_id: those from this id on, that one included; None = the newest.
            limit: at most so many.
        """
        return await self._ask("aggTrades", _page(symbol, from_id, limit), list[AggregateRow])

    async def historical_trades(
        self, symbol: str, from_id: int | None = None, *, limit: int = ROWS_MAX
    ) -> list[TradeRow]:
        """Trades; otherwise as `aggregate_trades`."""
        return await self._ask("historicalTrades", _page(symbol, from_id, limit), list[TradeRow])

    async def depth(self, symbol: str, limit: int, *, sent: Callable[[], object]) -> tuple[str, bytes]:
        """A book, byte for byte.

        Args:
            symbol: upper case.
            limit: levels a side.
            sent: called in the step in which the question is sent, once the budget has let it through; again for each
                other address that is asked.

        Returns:
            The whole URL, and the answer, which is JSON.
        """
        params = {"symbol": symbol, "limit": limit}
        body = await self._ask("depth", params, msgspec.Raw, weight=depth_weight(limit), sent=sent)
        return f"{self._endpoints.current}{REST_PATH}depth?{urlencode(params)}", bytes(body).strip()

    async def wait_spare(self, weight: int) -> None:
        """Wait until a request of this weight could be made at once; see `WeightBudget.wait_spare`."""
        if self._budget is not None:
            await self._budget.wait_spare(weight)

    async def raw(self, path: str, params: dict[str, Any], *, weight: int) -> tuple[str, bytes]:
        """An answer as it came, byte for byte, for those who keep it.

        Args:
            path: behind ``/api/v3/``.
            params: of the query.
            weight: what the request costs.

        Returns:
            The whole URL, and the answer.
        """
        body = await self._ask(path, params, msgspec.Raw, weight=weight)
        return f"{self._endpoints.current}{REST_PATH}{path}?{urlencode(params)}", bytes(body)

    async def _ask(
        self,
        path: str,
        params: dict[str, Any],
        answer: type[T],
        *,
        weight: int | None = None,
        sent: Callable[[], object] = lambda: None,
    ) -> T:
        """Ask one address after the other until one answers."""
        if (held_s := self._endpoints.held_s()) > 0:
            raise kept_away(self._endpoints.current + REST_PATH + path, held_s)
        unreachable: ExchangeUnreachable | None = None
        refusals = 0
        for _ in range(len(self._endpoints)):
            base = self._endpoints.current
            if self._budget is not None:
                await self._budget.spend(WEIGHTS[path] if weight is None else weight)
            sent()
            try:
                return await self._ask_at(base + REST_PATH + path, params, answer)
            except ExchangeUnreachable as error:
                if error.status in BANNED:
                    self._endpoints.hold(asked_wait_s(error))
                    raise  # it is for asking too much: other doors of the same house are no answer to it
                self._endpoints.failed(base)
                unreachable = error
                refusals += error.status in REFUSING
        if refusals == len(self._endpoints):
            self._endpoints.hold(REFUSED_DELAY_S)
        assert unreachable is not None
        raise unreachable

    async def _ask_at(self, url: str, params: dict[str, Any], answer: type[T]) -> T:
        try:
            with trio.fail_after(self._timeout_s):
                status, headers, body = await self._get(url, params)
        except BadBody as error:
            raise answered_badly(url, str(error)) from error
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, OSError, trio.TooSlowError) as error:
            raise failed_to_ask(url, error, proxy=self._proxies.for_url(url)) from error
        used = headers.get(_USED_WEIGHT, "")
        if used.isascii() and used.isdecimal() and len(used) <= _USED_WEIGHT_DIGITS_MAX:
            self.used_weight = int(used)
            if self._budget is not None:
                self._budget.observe(self.used_weight)
        if status != _OK:
            raise refused(url, status, headers, body, proxy=self._proxies.for_url(url))
        try:
            return msgspec.json.decode(body, type=answer)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise answered_badly(url, f"the answer cannot be read: {error}") from error

    async def _get(self, url: str, params: dict[str, Any]) -> tuple[int, httpx.Headers, bytes]:
        async with self._http.stream("GET", url, params=params) as response:
            return response.status_code, response.headers, await read_body(response, ANSWER_MAX_BYTES)


def depth_weight(limit: int) -> int:
    """What a book of so many levels a side costs."""
    return next((weight for most, weight in DEPTH_WEIGHTS if limit <= most), DEPTH_WEIGHTS[-1][1])


def _activities(tickers: list[_Ticker]) -> dict[str, Activity]:
    return {
        ticker.symbol: Activity(
            ticker.lastId,
            (ticker.bidPrice, ticker.bidQty, ticker.askPrice, ticker.askQty) if ticker.askPrice else (),
        )
        for ticker in tickers
    }


def _page(symbol: str, from_id: int | None, limit: int) -> dict[str, Any]:
    page = {"symbol": symbol, "limit": limit}
    return page if from_id is None else page | {"fromId": from_id}


def _statuses(info: _ExchangeInfo) -> dict[str, str]:
    return {symbol.symbol: symbol.status for symbol in info.symbols}
