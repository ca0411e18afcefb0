"""Decimals as integers of 1e-8: exact, quick, and printed with eight places as on the wire."""

from __future__ import annotations

ONE = 100_000_000


def text(value: int) -> str:
    """A value of 1e-8 units with exactly eight decimals."""
    if value < 0:
        return f"-{-value // ONE}.{-value % ONE:08d}"
    return f"{value // ONE}.{value % ONE:08d}"


def plain_text(value: int) -> str:
    """A value of 1e-8 units with as many decimals as it needs."""
    return text(value).rstrip("0").rstrip(".")


def quote(price: int, quantity: int) -> int:
    """Price times quantity; exact when their decimals together are at most eight, else rounded down."""
    return price * quantity // ONE


def percent_text(value: int, base: int) -> str:
    """How much `value` is of `base` in percent, with three decimals."""
    thousandths = round(100_000 * value / base) if base else 0
    sign = "-" if thousandths < 0 else ""
    return f"{sign}{abs(thousandths) // 1000}.{abs(thousandths) % 1000:03d}"
