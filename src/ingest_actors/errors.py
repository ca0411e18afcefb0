"""The errors of this package: one tree, attributes first, text derived from them.

Foreign exceptions are translated into these at the adapters' edges and nowhere else.
"""

from __future__ import annotations


class IngestError(Exception):
    """Anything that this package raises on purpose.

    Attributes:
        exit_code: what the command line ends with when this error ends it.
    """

    exit_code: int = 1


class ActorFailed(IngestError):
    """An actor crashed more often than its supervisor allows, or gave up.

    Attributes:
        actor: its name.
        cause: the last exception; also `__cause__`.
    """

    def __init__(self, actor: str, cause: BaseException, *, restarts: int = 0) -> None:
        self.actor = actor
        self.cause = cause
        self.restarts = restarts
        if isinstance(cause, IngestError):
            self.exit_code = cause.exit_code
        super().__init__(actor, cause)

    def __str__(self) -> str:
        cause = str(self.cause) if isinstance(self.cause, IngestError) else repr(self.cause)
        return f"{self.actor} failed after {self.restarts} restarts: {cause}"


class FeedClosed(IngestError):
    """A WebSocket connection ended, for whatever reason.

    Attributes:
        code: the close code; 1006 when the connection ended without a close frame.
        reason: the text that came with it.
    """

    def __init__(self, code: int, reason: str = "") -> None:
        self.code = code
        self.reason = reason
        super().__init__(code, reason)

    def __str__(self) -> str:
        return f"connection closed with code {self.code}" + (f" ({self.reason})" if self.reason else "")


class ExchangeUnreachable(IngestError):
    """A connection to the exchange could not be opened.

    Attributes:
        url: what was tried.
        cause: what went wrong, in the words of the system.
        hint: what to try.
        status: the HTTP status when the exchange answered the handshake with one; None otherwise.
        retry_after_s: how long the exchange asks to wait before the next attempt, seconds; None when it does not say.
    """

    exit_code = 75

    def __init__(
        self,
        url: str,
        cause: str,
        *,
        hint: str = "",
        status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        self.url = url
        self.cause = cause
        self.hint = hint
        self.status = status
        self.retry_after_s = retry_after_s
        super().__init__(url, cause)

    def __str__(self) -> str:
        return f"cannot reach {self.url}: {self.cause}" + (f"; {self.hint}" if self.hint else "")


class SinkUnreachable(IngestError):
    """Kafka, or whatever the sink writes to, does not answer or does not let us in.

    Attributes:
        target: what was tried, e.g. the bootstrap servers.
        cause: what went wrong.
        hint: what to try.
    """

    exit_code = 75

    def __init__(self, target: str, cause: str, *, hint: str = "") -> None:
        self.target = target
        self.cause = cause
        self.hint = hint
        super().__init__(target, cause)

    def __str__(self) -> str:
        return f"cannot use Kafka at {self.target}: {self.cause}" + (f"; {self.hint}" if self.hint else "")


class SinkBroken(IngestError):
    """Nothing that the sink has accepted can be acknowledged any more; it must be reset.

    Attributes:
        cause: what broke it.
        hint: what to try; may be empty.
    """

    exit_code = 75

    def __init__(self, cause: str, *, hint: str = "") -> None:
        self.cause = cause
        self.hint = hint
        super().__init__(cause)

    def __str__(self) -> str:
        return f"the sink broke: {self.cause}" + (f"; {self.hint}" if self.hint else "")


class HttpUnavailable(IngestError):
    """The address for health, metrics and the page cannot be listened on.

    Attributes:
        host: as set.
        port: as set.
        cause: what went wrong, in the words of the system.
    """

    def __init__(self, host: str, port: int, cause: str) -> None:
        self.host = host
        self.port = port
        self.cause = cause
        super().__init__(host, port, cause)

    def __str__(self) -> str:
        return (
            f"cannot listen on {self.host}:{self.port}: {self.cause}; "
            "set HTTP_HOST and HTTP_PORT to an address of this machine that is free (0 = any port, off = none)"
        )


class SettingsError(IngestError):
    """One or more settings cannot be used.

    Attributes:
        problems: one text for each, naming the setting, what was given (secrets masked) and what is accepted.
    """

    exit_code = 2

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__(problems)

    def __str__(self) -> str:
        return "\n".join(self.problems)


class DevBrokerFailed(IngestError):
    """The development broker cannot be had, does not start, or has died.

    Attributes:
        step: what was being done, e.g. ``start node 1``.
        cause: what went wrong.
        hint: what to try; may be empty.
        log: the end of the broker's own log; may be empty.
    """

    def __init__(self, step: str, cause: str, *, hint: str = "", log: str = "") -> None:
        self.step = step
        self.cause = cause
        self.hint = hint
        self.log = log
        super().__init__(step, cause)

    def __str__(self) -> str:
        text = f"development broker: cannot {self.step}: {self.cause}" + (f"; {self.hint}" if self.hint else "")
        return f"{text}\n{self.log}" if self.log else text


class JournalTooNew(IngestError):
    """A record was written by a newer release, in a form that this one does not know.

    Attributes:
        where: the record.
        version: its own.
        known: the newest one that is understood.
    """

    def __init__(self, where: str, version: int, known: int) -> None:
        self.where = where
        self.version = version
        self.known = known
        super().__init__(where, version, known)

    def __str__(self) -> str:
        return (
            f"{self.where} has version {self.version}, this release knows versions up to {self.known}: use a newer one"
        )


class StateUnreadable(IngestError):
    """What a restart resumes from is not what any release of this program writes.

    Attributes:
        where: the record.
        cause: what is wrong with it.
    """

    def __init__(self, where: str, cause: str) -> None:
        self.where = where
        self.cause = cause
        super().__init__(where, cause)

    def __str__(self) -> str:
        return (
            f"{self.where} cannot be read: {self.cause}; is KAFKA_TOPIC_STATE a topic that others write to? "
            "A topic or an INSTANCE_NAME of its own begins anew, at the live edge"
        )


class SpoolUnusable(IngestError):
    """The spool cannot be written, read or made.

    Attributes:
        path: of its file or directory.
        cause: what went wrong, in the words of the system.
        hint: what to try; may be empty.
    """

    def __init__(self, path: str, cause: str, *, hint: str = "") -> None:
        self.path = path
        self.cause = cause
        self.hint = hint
        super().__init__(path, cause)

    def __str__(self) -> str:
        return f"the spool {self.path} cannot be used: {self.cause}" + (f"; {self.hint}" if self.hint else "")


class SpoolCorrupt(IngestError):
    """The spool's file is damaged.

    Attributes:
        path: of the file.
        cause: what is wrong with it.
        number: of the first batch that is damaged; None: the file as a whole.
    """

    def __init__(self, path: str, cause: str, *, number: int | None = None) -> None:
        self.path = path
        self.cause = cause
        self.number = number
        super().__init__(path, cause)

    def __str__(self) -> str:
        return (
            f"the spool {self.path} is damaged: {self.cause}; the next start keeps what is damaged beside it and goes"
            " on with the rest"
        )


class SpoolInUse(IngestError):
    """Another process has the spool open.

    Attributes:
        path: of the file.
        holder: what is known of the other process.
    """

    def __init__(self, path: str, holder: str) -> None:
        self.path = path
        self.holder = holder
        super().__init__(path, holder)

    def __str__(self) -> str:
        return (
            f"the spool {self.path} is in use by another process ({self.holder}): stop that one, or give each an"
            " INSTANCE_NAME or a SPOOL_DIR of its own"
        )


class SecondWriter(IngestError):
    """Another process with the same `INSTANCE_NAME` was started later and has taken over.

    Attributes:
        instance: the name that both have.
        other: what is known of the other one.
    """

    exit_code = 76

    def __init__(self, instance: str, other: str) -> None:
        self.instance = instance
        self.other = other
        super().__init__(instance, other)

    def __str__(self) -> str:
        return f"another writer with INSTANCE_NAME={self.instance} has taken over ({self.other}): this one stops"
