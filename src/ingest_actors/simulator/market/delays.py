"""How long the exchange takes from a trade to its publication."""

from __future__ import annotations

import random

DELAY_MAX_US = 220_000
"""Longest time from a trade to its publication."""


def delay_us(rng: random.Random) -> int:
    """From a trade to its publication: a millisecond as a rule, with a long tail."""
    luck = rng.random()
    if luck < 0.9:  # noqa: PLR2004 - shares as measured on the exchange, about
        return 300 + int(1_700 * rng.random())
    if luck < 0.985:  # noqa: PLR2004
        return 2_000 + int(18_000 * rng.random())
    return min(DELAY_MAX_US, 20_000 + int(rng.expovariate(1 / 50_000)))
