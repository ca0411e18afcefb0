"""What may stand in a message where it should not: bytes that parsers of JSON stumble over."""

from __future__ import annotations

PIECES = (
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b" ",
    b"\n",
    b"\r\n",
    b"\t",
    b"\\",
    b"\x00",
    b"\xff",
    b"\xc3\xa9",
    b"\x0b",
    b"\xef\xbb\xbf",
    b'"data":',
    b'"stream":"x",',
    b'"e":"trade",',
    b',"s":"B"',
    b',"ingestion_timestamp":1',
    b'"late":true,',
    b"NaN",
    b"1e5",
    b"-0",
)
"""What is drawn from these by a seed depends on their order."""
