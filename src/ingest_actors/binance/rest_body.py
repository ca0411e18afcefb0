"""The body of an answer of REST, of bounded size whatever the other side does."""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, cast

import httpx

ENCODING: Final = "gzip"
"""The one that is asked for, beside none: exchangeInfo is a tenth of its size in it."""

INFLATED_AT_ONCE_BYTES: Final = 1024 * 1024
"""Compressed data may grow a thousandfold; it is looked at how much there is after so much."""

OBJECTS_MAX: Final = 1_000_000
"""The whole exchangeInfo has some fifty thousand objects, and no other answer as many. Each may cost a hundred bytes
to read, so an answer of nothing but empty ones would cost thirty times its size."""


class BadBody(Exception):
    """It cannot be used; the text says why."""


async def read_body(response: httpx.Response, bytes_max: int) -> bytes:
    """All of it, uncompressed. Cancelled: the response is of no more use.

    Args:
        response: whose head was read.
        bytes_max: most that it may have, uncompressed.

    Raises:
        BadBody: it is longer, or compressed in a way that was not asked for, or damaged, or no answer of the exchange.
        httpx.HTTPError: it did not come whole.
    """
    body = bytearray()
    if response.is_stream_consumed:  # a transport that is no network
        body += response.content
        _check_size(body, bytes_max)
    else:
        inflate = _inflater(response.headers.get("content-encoding", ""))
        async with aclosing(cast(AsyncGenerator[bytes, None], response.aiter_raw())) as parts:
            async for part in parts:
                _add(body, part, inflate, bytes_max)
        if inflate is not None and body and not inflate.eof:
            raise BadBody("the answer is compressed and was cut short")
    if body.count(b"{") > OBJECTS_MAX:
        raise BadBody(f"the answer has more than {OBJECTS_MAX} objects")
    return bytes(body)


def _inflater(encoding: str) -> zlib._Decompress | None:
    match encoding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip":
            return zlib.decompressobj(wbits=31)
        case other:
            raise BadBody(f"the answer is compressed in a way that was not asked for: {other[:40]!r}")


def _add(body: bytearray, part: bytes, inflate: zlib._Decompress | None, bytes_max: int) -> None:
    if inflate is None:
        body += part
        _check_size(body, bytes_max)
        return
    more = True
    while more:
        try:
            text = inflate.decompress(part, INFLATED_AT_ONCE_BYTES)
        except zlib.error as error:
            raise BadBody(f"the answer is compressed and damaged: {error}") from error
        body += text
        _check_size(body, bytes_max)
        part = inflate.unconsumed_tail
        more = not inflate.eof and (bool(part) or len(text) == INFLATED_AT_ONCE_BYTES)


def _check_size(body: bytearray, bytes_max: int) -> None:
    if len(body) > bytes_max:
        raise BadBody(f"the answer has more than {bytes_max} bytes")
