# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A call to `rex` as the bytes of a message, and the answer in messages of a node. Pure. Private to the collection.

Standard: ERTS User's Guide, "Distribution Protocol", section "Protocol between Connected Nodes"; `rpc.erl` of kernel.
Without the flags for atom cache and fragments every message is `112, control message, message`, each term with its
version magic.
"""

from __future__ import annotations

from .._errors import ProtocolError
from .._record import Record
from . import etf
from .etf import Atom, Pid, Raw, Reference, Term

PASS_THROUGH = 112

SEND = 2
REG_SEND = 6
SEND_SENDER = 22

_MAGIC = bytes([etf.VERSION_MAGIC])
_PAIR = bytes([etf.SMALL_TUPLE_EXT, 2])


class Message(Record):
    """A control message, which is a tuple that starts with its operation, and the message that it carries, if any."""

    control: tuple[Term, ...]
    payload: Raw | None = None


def decode_message(packet: bytes) -> Message:
    """The message in a packet (without its length). Errors: ProtocolError."""
    if packet[:1] != bytes([PASS_THROUGH]):
        raise ProtocolError(f"a message that starts with {packet[:4]!r}")
    terms = etf.split(packet[1:])
    if not 1 <= len(terms) <= 2:
        raise ProtocolError(f"a message of {len(terms)} terms")
    control = etf.decode(terms[0])
    if not isinstance(control, tuple) or not control or not isinstance(control[0], int):
        raise ProtocolError("a control message that is not a tuple with an operation")
    return Message(control, *terms[1:])


def call(caller: Pid, reference: Reference, module: str, function: str, arguments: list[Term]) -> bytes:
    """`rpc:call(Node, Module, Function, Arguments)` as a packet to `rex`, without its length.

    The group leader is the caller: with `user`, a node that has no process of that name would start one.
    """
    control = (REG_SEND, caller, Atom(""), Atom("rex"))
    request = (Atom("call"), Atom(module), Atom(function), arguments, caller)
    message = (Atom("$gen_call"), (caller, reference), request)
    return b"%c%b%b%b%b" % (PASS_THROUGH, _MAGIC, etf.encode(control), _MAGIC, etf.encode(message))


def answer(packet: bytes, caller: Pid, reference: Reference) -> Raw | None:
    """The result in a packet that answers this call, encoded; None for any other packet. Errors: ProtocolError."""
    message = decode_message(packet)
    if message.control[0] not in (SEND, SEND_SENDER) or message.control[2:] != (caller,):
        return None
    if message.payload is None or message.payload[:2] != _PAIR:
        return None
    first, result = etf.elements(message.payload)
    return result if etf.decode(first) == reference else None
