"""The bodies of REST's tickers and prices: one object for one symbol, a list for several or all. Sans-IO."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from ingest_actors.simulator.market.candles import DAY_US
from ingest_actors.simulator.rest_data import RestData, TickerRow
from ingest_actors.simulator.rest_rules import Parameters, RestRefusal


def wanted_symbols(data: RestData, parameters: Parameters) -> Sequence[str]:
    """The symbols named, or all, and of those the ones in the wanted status.

    Raises:
        RestRefusal: the only symbol named is in another status.
    """
    symbols = parameters.symbols or data.symbols()
    status = parameters.text.get("symbolStatus")
    if status is None:
        return symbols
    matching = [symbol for symbol in symbols if data.status(symbol) == status]
    if "symbol" in parameters.text and not matching:
        raise RestRefusal(-1220, "The symbol's status does not match the requested symbolStatus.")
    return matching


class TickerAnswers:
    """Answers of everything below ``ticker``, and of ``avgPrice``.

    Args:
        data: what is told.

    Attributes:
        answers: by endpoint; each takes the parameters and the unit by which times are divided.
    """

    def __init__(self, data: RestData) -> None:
        self._data = data
        self.answers: dict[str, Callable[[Parameters, int], bytes]] = {
            "ticker/24hr": self._day,
            "ticker/tradingDay": self._trading_day,
            "ticker": self._window,
            "ticker/price": self._price,
            "ticker/bookTicker": self._top,
            "avgPrice": self._average,
        }

    def _each(self, parameters: Parameters, tell: Callable[[str], dict[str, object]]) -> bytes:
        told = [tell(symbol) for symbol in wanted_symbols(self._data, parameters)]
        return msgspec.json.encode(told[0] if "symbol" in parameters.text else told)

    def _day(self, parameters: Parameters, unit: int) -> bytes:
        data = self._data

        def tell(symbol: str) -> dict[str, object]:
            row = data.ticker(symbol, "1d", DAY_US)
            if parameters.text.get("type") == "MINI":
                return _mini(symbol, row, unit)
            top = data.top(symbol)
            return {
                "symbol": symbol,
                "priceChange": row.change,
                "priceChangePercent": row.percent,
                "weightedAvgPrice": row.average,
                "prevClosePrice": row.before,
                "lastPrice": row.last,
                "lastQty": row.last_quantity,
                "bidPrice": top.bid_price,
                "bidQty": top.bid_quantity,
                "askPrice": top.ask_price,
                "askQty": top.ask_quantity,
                "openPrice": row.open,
                "highPrice": row.high,
                "lowPrice": row.low,
                "volume": row.base,
                "quoteVolume": row.quote,
                **_ends(row, unit),
            }

        return self._each(parameters, tell)

    def _trading_day(self, parameters: Parameters, unit: int) -> bytes:
        return self._statistics(parameters, unit, lambda symbol: self._data.trading_day(symbol, parameters.offset_us))

    def _window(self, parameters: Parameters, unit: int) -> bytes:
        return self._statistics(
            parameters, unit, lambda symbol: self._data.ticker(symbol, parameters.window, parameters.window_us)
        )

    def _statistics(self, parameters: Parameters, unit: int, find: Callable[[str], TickerRow]) -> bytes:
        tell = _mini if parameters.text.get("type") == "MINI" else _full
        return self._each(parameters, lambda symbol: tell(symbol, find(symbol), unit))

    def _price(self, parameters: Parameters, _unit: int) -> bytes:
        return self._each(parameters, lambda symbol: {"symbol": symbol, "price": self._data.last_price(symbol)})

    def _top(self, parameters: Parameters, _unit: int) -> bytes:
        def tell(symbol: str) -> dict[str, object]:
            top = self._data.top(symbol)
            return {
                "symbol": symbol,
                "bidPrice": top.bid_price,
                "bidQty": top.bid_quantity,
                "askPrice": top.ask_price,
                "askQty": top.ask_quantity,
            }

        return self._each(parameters, tell)

    def _average(self, parameters: Parameters, unit: int) -> bytes:
        price, at_us = self._data.average_price(parameters.symbols[0])
        return msgspec.json.encode({"mins": 5, "price": price, "closeTime": at_us // unit})


def _full(symbol: str, row: TickerRow, unit: int) -> dict[str, object]:
    return {
        "symbol": symbol,
        "priceChange": row.change,
        "priceChangePercent": row.percent,
        "weightedAvgPrice": row.average,
        "openPrice": row.open,
        "highPrice": row.high,
        "lowPrice": row.low,
        "lastPrice": row.last,
        "volume": row.base,
        "quoteVolume": row.quote,
        **_ends(row, unit),
    }


def _mini(symbol: str, row: TickerRow, unit: int) -> dict[str, object]:
    return {
        "symbol": symbol,
        "openPrice": row.open,
        "highPrice": row.high,
        "lowPrice": row.low,
        "lastPrice": row.last,
        "volume": row.base,
        "quoteVolume": row.quote,
        **_ends(row, unit),
    }


def _ends(row: TickerRow, unit: int) -> dict[str, object]:
    close = row.close_us // unit
    return {
        "openTime": row.open_us // unit,
        "closeTime": close,
        "firstId": row.first_id,
        "lastId": row.last_id,
        "count": row.trades,
    }
