"""What a control message is answered when something goes wrong with it. Sans-IO."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ingest_actors.simulator.control import ControlState, Reply
from ingest_actors.simulator.fault_actions import Action
from ingest_actors.simulator.fault_refusals import DelayReply, NoReply, ReplyError


@dataclass(slots=True)
class Answer(Reply):
    """What follows from one control message; an empty `text` is not sent.

    Attributes:
        delay_s: how late the text is sent; everything else follows at once.
    """

    delay_s: float = 0.0


def answer_control(control: ControlState, message: bytes, fault: Action | None) -> Answer:
    """Act on one control message, as far as a fault allows.

    Args:
        control: what the connection is subscribed to.
        message: as it came.
        fault: what befalls the message.
    """
    if isinstance(fault, ReplyError):
        flat = None if fault.form is None else fault.form == "flat"
        return Answer(control.refuse(message, fault.code, fault.msg, flat=flat))
    if isinstance(fault, NoReply) and not fault.effect:
        return Answer(b"")
    reply = control.handle(message)
    answer = Answer(reply.text, reply.subscribed, reply.unsubscribed, reply.close)
    if isinstance(fault, NoReply):
        return replace(answer, text=b"")
    return replace(answer, delay_s=fault.delay_s) if isinstance(fault, DelayReply) else answer
