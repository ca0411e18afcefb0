"""What is traded: symbols with their prices, steps and liveliness."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from ingest_actors.simulator.market.decimals import ONE, text
from ingest_actors.simulator.market.symbol_names import split_symbol

_KNOWN = {
    # symbol: price, decimals of the price, decimals of the quantity, orders a second
    "BTCUSDT": (67_000.0, 2, 5, 80.0),
    "ETHUSDT": (3_400.0, 2, 4, 60.0),
    "BNBUSDT": (590.0, 2, 3, 30.0),
    "ADAUSDT": (0.45, 4, 1, 20.0),
    "XRPUSDT": (0.52, 4, 0, 25.0),
}


@dataclass(frozen=True, slots=True)
class SymbolSpec:
    """One symbol.

    Attributes:
        name: uppercase.
        base: the asset that is traded.
        quote: the asset that it is priced in.
        price: where trading starts, in 1e-8.
        tick: smallest price step, in 1e-8.
        step: smallest quantity step, in 1e-8.
        typical_steps: median quantity of an order, in steps.
        orders_per_s: mean rate of the order flow at activity 1.
        levels: price levels a side of its book, about.
    """

    name: str
    base: str
    quote: str
    price: int
    tick: int
    step: int
    typical_steps: int
    orders_per_s: float
    levels: int

    def info(self, status: str = "TRADING") -> dict[str, object]:
        """Its entry in exchangeInfo."""
        return {
            "symbol": self.name,
            "status": status,
            "baseAsset": self.base,
            "baseAssetPrecision": 8,
            "quoteAsset": self.quote,
            "quotePrecision": 8,
            "quoteAssetPrecision": 8,
            "baseCommissionPrecision": 8,
            "quoteCommissionPrecision": 8,
            "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT"],
            "icebergAllowed": True,
            "ocoAllowed": True,
            "otoAllowed": True,
            "opoAllowed": True,
            "quoteOrderQtyMarketAllowed": True,
            "allowTrailingStop": True,
            "cancelReplaceAllowed": True,
            "amendAllowed": True,
            "pegInstructionsAllowed": True,
            "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": False,
            "filters": [
                {
                    "filterType": "PRICE_FILTER",
                    "minPrice": text(self.tick),
                    "maxPrice": text(self.price * 100),
                    "tickSize": text(self.tick),
                },
                {
                    "filterType": "LOT_SIZE",
                    "minQty": text(self.step),
                    "maxQty": text(self.step * 10**9),
                    "stepSize": text(self.step),
                },
                {
                    "filterType": "NOTIONAL",
                    "minNotional": text(5 * ONE),
                    "applyMinToMarket": True,
                    "maxNotional": text(9_000_000 * ONE),
                    "applyMaxToMarket": False,
                    "avgPriceMins": 5,
                },
            ],
            "permissions": [],
            "permissionSets": [["SPOT"]],
            "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
            "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT"],
        }


def make_specs(names: Sequence[str], *, seed: int, levels: int) -> list[SymbolSpec]:
    """Specifications for symbols: those of the five best known are fixed, the others follow from the seed.

    Args:
        names: in any case; later ones are less busy.
        seed: of the invented figures.
        levels: of the busiest symbol's book; quieter symbols have shallower ones.
    """
    unique = dict.fromkeys(name.upper() for name in names)
    return [make_spec(name, rank=rank, seed=seed, levels=levels) for rank, name in enumerate(unique)]


def make_spec(name: str, *, rank: int, seed: int, levels: int) -> SymbolSpec:
    """The specification of one symbol, which has `rank` busier ones before it; otherwise as `make_specs`."""
    base, quote_asset = split_symbol(name)
    if name in _KNOWN:
        price, price_decimals, quantity_decimals, rate = _KNOWN[name]
    else:
        rng = random.Random(f"{seed}/spec/{name}")  # noqa: S311 - not for secrets
        price = 10 ** rng.uniform(-2, 3)
        price_decimals = 2 if price > 100 else 4 if price > 0.1 else 6  # noqa: PLR2004 - as the exchange does, about
        quantity_decimals = max(0, 8 - price_decimals - rng.randint(3, 5))
        rate = max(0.02, 12.0 / (1 + rank))
    tick = 10 ** (8 - price_decimals)
    step = 10 ** (8 - quantity_decimals)
    return SymbolSpec(
        name=name,
        base=base,
        quote=quote_asset,
        price=max(50, round(price * ONE / tick)) * tick,
        tick=tick,
        step=step,
        typical_steps=max(2, round(300 / price * ONE / step)),
        orders_per_s=rate,
        levels=max(40, min(levels, round(levels * rate / 20))),
    )
