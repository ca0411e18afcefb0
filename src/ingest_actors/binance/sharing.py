"""What follows from several connections bringing the same streams: for ids, for books, for samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ingest_actors.binance.continuity import Continuity
from ingest_actors.binance.leads import Leads


class Sharing:
    """Passes on to the continuity and to the leads of samples which streams come by several connections.

    Args:
        continuity: of what has ids.
        leads: of samples.
    """

    def __init__(self, continuity: Continuity, leads: Leads) -> None:
        self._continuity = continuity
        self._leads = leads

    def share(self, leaders: Mapping[str, str], wait_s: float, *, for_good: bool = False) -> None:
        """These streams, and no others, may come by more than one connection from now on.

        Args:
            leaders: by stream, the connection that has brought it so far.
            wait_s: how long what one connection lacks is left to the others, seconds.
            for_good: see `Leads.share`.
        """
        self._continuity.share(dict.fromkeys(leaders, wait_s))
        self._leads.share(leaders, for_good=for_good)

    def share_everything(self, wait_s: float) -> None:
        """Any stream may come by more than one connection, for good, and nobody knows which."""
        self._continuity.share_everything(wait_s)
        self._leads.share_everything()

    def hand_over(self, leader: str, successor: str) -> None:
        """The samples that one connection led are led by another."""
        self._leads.hand_over(leader, successor)

    def waits(self, streams: Iterable[str]) -> bool:
        """Whether anything of these streams waits for what is missing before it."""
        return self._continuity.waits(streams)
