"""The control protocol of a stream connection, sans-IO: SUBSCRIBE and its kin, replies, errors.

The exchange's replies acknowledge syntax and nothing else: a stream that does not exist is acknowledged, listed, and
silent. Errors come nested (observed) or flat (documented), by configuration.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ingest_actors.simulator import serde

METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")

_ID_TEXT = re.compile(r"[0-9A-Za-z_-]{1,36}")
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_TOO_MANY_STREAMS = 4
_NO_ID = object()


@dataclass(slots=True)
class Reply:
    """What follows from one control message.

    Attributes:
        text: to be sent back, never wrapped.
        subscribed: streams that are new.
        unsubscribed: streams that are no longer wanted.
        close: code and reason when the connection is to be closed after the reply.
    """

    text: bytes
    subscribed: list[str] = field(default_factory=list)
    unsubscribed: list[str] = field(default_factory=list)
    close: tuple[int, str] | None = None


class _Refused(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text


class ControlState:
    """The subscriptions and the mode of one connection.

    Args:
        combined: whether events are wrapped with their stream's name at the start.
        streams: names from the URL.
        streams_max: more than these are an error that closes the connection.
        text_bytes_max: how much of one message is read.
        flat_errors: errors as flat objects instead of nested ones.
        close_on_bad_request: close after errors of code 2 and 3.
    """

    def __init__(
        self,
        *,
        combined: bool,
        streams: Iterable[str] = (),
        streams_max: int = 1024,
        text_bytes_max: int = 4096,
        flat_errors: bool = False,
        close_on_bad_request: bool = False,
    ) -> None:
        self.combined = combined
        self.streams: dict[str, None] = dict.fromkeys(streams)
        self._streams_max = streams_max
        self._text_bytes_max = text_bytes_max
        self._flat_errors = flat_errors
        self._close_on_bad_request = close_on_bad_request
        self._methods: dict[str, Callable[[list[Any], object], Reply]] = {
            "SUBSCRIBE": self._subscribe,
            "UNSUBSCRIBE": self._unsubscribe,
            "LIST_SUBSCRIPTIONS": self._list,
            "SET_PROPERTY": self._set_property,
            "GET_PROPERTY": self._get_property,
        }

    def handle(self, message: bytes) -> Reply:
        """Act on one control message, as it came: UTF-8 JSON, or not."""
        read = message[: self._text_bytes_max]
        try:
            form = _Form(read, serde.spans_of(read))
        except serde.NotJson as error:
            return self._error(_NO_ID, 3, f"Invalid JSON: {error}")
        request = json.loads(read)
        request_id = request.get("id", _NO_ID) if isinstance(request, dict) else _NO_ID
        try:
            method, params = _checked(request, form)
            _check_id(request_id)
            return self._methods[method](params, request_id)
        except _Refused as refused:
            return self._error(request_id, refused.code, refused.text)

    def refuse(self, message: bytes, code: int, text: str, *, flat: bool | None = None) -> bytes:
        """An error for a message that is not looked at, but for its id; `flat`: None = as configured."""
        try:
            request = json.loads(message)
        except (ValueError, RecursionError):
            request = None
        request_id = request.get("id", _NO_ID) if isinstance(request, dict) else _NO_ID
        return _dump(_error_body(request_id, code, text, flat=self._flat_errors if flat is None else flat))

    def over_limit(self) -> Reply | None:
        """The error for a URL that names too many streams; None when it does not."""
        if len(self.streams) <= self._streams_max:
            return None
        return self._error(None, _TOO_MANY_STREAMS, "Too many subscriptions")

    def _subscribe(self, params: list[Any], request_id: object) -> Reply:
        names = _stream_names(params)
        new = [name for name in dict.fromkeys(names) if name not in self.streams]
        if len(self.streams) + len(new) > self._streams_max:
            raise _Refused(_TOO_MANY_STREAMS, "Too many subscriptions")
        self.streams.update(dict.fromkeys(new))
        return Reply(_result(None, request_id), subscribed=new)

    def _unsubscribe(self, params: list[Any], request_id: object) -> Reply:
        gone = [name for name in dict.fromkeys(_stream_names(params)) if name in self.streams]
        for name in gone:
            del self.streams[name]
        return Reply(_result(None, request_id), unsubscribed=gone)

    def _list(self, params: list[Any], request_id: object) -> Reply:
        if params:
            raise _Refused(2, "Invalid request: too many parameters")
        return Reply(_result(list(self.streams), request_id))

    def _set_property(self, params: list[Any], request_id: object) -> Reply:
        _check_property(params, most=2)
        if len(params) < 2 or not isinstance(params[1], bool):  # noqa: PLR2004 - a name and a value
            raise _Refused(1, "Invalid value type: expected Boolean")
        self.combined = params[1]
        return Reply(_result(None, request_id))

    def _get_property(self, params: list[Any], request_id: object) -> Reply:
        _check_property(params, most=1)
        return Reply(_result(self.combined, request_id))

    def _error(self, request_id: object, code: int, text: str) -> Reply:
        body = _error_body(request_id, code, text, flat=self._flat_errors)
        close = None
        if code == _TOO_MANY_STREAMS:
            close = (1008, "Too many subscriptions")
        elif self._close_on_bad_request and code in (2, 3):
            close = (1008, "Invalid request")
        return Reply(_dump(body), close=close)


def _error_body(request_id: object, code: int, text: str, *, flat: bool) -> dict[str, object]:
    error: dict[str, object] = {"code": code, "msg": text}
    body: dict[str, object] = error if flat else {"error": error}
    if request_id is _NO_ID:
        return body
    return {**body, "id": request_id if _is_id(request_id) else None}


@dataclass(frozen=True, slots=True)
class _Form:
    """The bytes of a request, and where what is in them."""

    data: bytes
    spans: dict[tuple[object, ...], serde.Span]

    def wrong(self, value: object, expected: str, *path: object) -> _Refused:
        """The complaint about a value of the wrong type."""
        where = serde.place_of(self.data, self.spans[path], value)
        return _Refused(2, f"Invalid request: invalid type: {serde.name_of(value)}, expected {expected}{where}")

    def missing(self, field: str) -> _Refused:
        """The complaint about a field that is not there."""
        return _Refused(2, f"Invalid request: missing field `{field}`{serde.place(self.data, self.spans[()][1])}")


def _checked(request: object, form: _Form) -> tuple[str, list[Any]]:
    """Method and parameters of a request, or the complaint that the exchange's parser has about it."""
    if not isinstance(request, dict):
        raise form.wrong(request, "a request object")
    if "method" not in request:
        raise form.missing("method")
    method = request["method"]
    start, end = form.spans["method",]
    if not isinstance(method, str):  # to the parser, which looks for a name here, this is no JSON
        raise _Refused(3, f"Invalid JSON: expected value{serde.place(form.data, start + 1)}")
    if method not in METHODS:
        known = ", ".join(f"`{name}`" for name in METHODS)
        where = serde.place(form.data, end)
        raise _Refused(2, f"Invalid request: unknown variant `{method}`, expected one of {known}{where}")
    params = request.get("params")
    if params is None:
        if method in ("SUBSCRIBE", "UNSUBSCRIBE"):
            raise form.missing("params")
        params = []
    if not isinstance(params, list):
        raise form.wrong(params, "a sequence", "params")
    if method in ("SUBSCRIBE", "UNSUBSCRIBE"):
        _check_texts(params, form)
    return method, params


def _check_texts(params: list[Any], form: _Form) -> None:
    for number, name in enumerate(params):
        if not isinstance(name, str):
            raise form.wrong(name, "a string", "params", number)


def _is_id(value: object) -> bool:
    if value is None:
        return True
    if isinstance(value, str):
        return _ID_TEXT.fullmatch(value) is not None
    return isinstance(value, int) and not isinstance(value, bool) and _INT64_MIN <= value <= _INT64_MAX


def _check_id(value: object) -> None:
    if not _is_id(value):
        raise _Refused(2, "Invalid request: request ID must be an unsigned integer")


def _check_property(params: list[Any], *, most: int) -> None:
    if not params or not isinstance(params[0], str):
        raise _Refused(2, "Invalid request: property name must be a string")
    if len(params) > most:
        raise _Refused(2, "Invalid request: too many parameters")
    if params[0] != "combined":
        raise _Refused(0, "Unknown property")


def _stream_names(params: list[Any]) -> list[str]:
    for name in params:
        if "@" not in name.strip("@"):
            raise _Refused(2, "Invalid request: invalid stream")
    return params


def _result(result: object, request_id: object) -> bytes:
    return _dump({"result": result, "id": request_id})


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
