# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A hidden node for the duration of one connection: connect, prove the cookie, call. Private to the collection.

Standard: as `handshake.py` and `control.py`, which hold the bytes.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from .. import _limits
from .._deadline import Deadline
from .._errors import Closed, NodeRefused
from .handshake import Handshake, Peer, State
from .transport import Address, Connection

if TYPE_CHECKING:
    from .etf import Raw, Term
    from .tls import Tls

HOST = "epmd_register"
"""The host part of our name. Always the same, so that a node never gets to know a second one."""

OLD_NAME = "beamops@" + HOST
"""Our name for nodes before OTP 23, which do not lend names."""


class NodeConnection:
    """One connection to one distribution port, at the challenge after `open`.

    peer: the node according to its challenge. Close the connection then, and the node keeps no trace of it, or go on
    with `authenticate` and `call`.
    """

    def __init__(self, connection: Connection, handshake: Handshake, peer: Peer) -> None:
        self._connection = connection
        self._handshake = handshake
        self.peer = peer
        self._calls = 0

    @classmethod
    def open(
        cls, address: str, port: int, patience: Deadline, deadline: Deadline, tls: Tls | None = None
    ) -> NodeConnection:
        """Connect, up to the challenge, which has to come before `patience` ends; all later waits end at `deadline`.

        A node before OTP 23 closes the connection at the new handshake, so a peer that does gets a second connection
        with the old one. Errors: Unreachable, ProtocolError, TlsFailed, NodeRefused.
        """
        try:
            connection = cls._open(address, port, patience, tls, old=False)
        except Closed:
            connection = cls._open(address, port, patience, tls, old=True)
        connection._connection.deadline = deadline
        return connection

    @classmethod
    def _open(cls, address: str, port: int, deadline: Deadline, tls: Tls | None, old: bool) -> NodeConnection:
        handshake = Handshake(
            OLD_NAME if old else HOST,
            # Sent in the clear; it only has to be fresh, as that of `gen_challenge` in dist_util.erl.
            challenge=random.SystemRandom().getrandbits(32),
            dynamic=not old,
            old=old,
        )
        connection = Connection(address, port, deadline, tls)
        try:
            connection.send_handshake(handshake.start())
            peer = None
            while peer is None:
                _step(connection, handshake)
                peer = handshake.peer
            return cls(connection, handshake, peer)
        except BaseException:
            connection.close()
            raise

    @property
    def ends(self) -> tuple[Address, Address]:
        """As `Connection.ends`."""
        return self._connection.ends

    def extend(self, deadline: Deadline) -> None:
        """Have all later waits end at this deadline instead."""
        self._connection.deadline = deadline

    def authenticate(self, cookie: bytes) -> None:
        """Prove that we know the cookie, and have the node prove it.

        Errors: Unreachable, ProtocolError, NodeRefused if the node does not know it or refuses ours.
        """
        self._connection.send_handshake(*self._handshake.reply(cookie))
        try:
            _step(self._connection, self._handshake)
        except Closed:
            raise NodeRefused("it refused the cookie") from None

    def call(self, module: str, function: str, arguments: list[Term]) -> Raw:
        """`rpc:call` in the node; the result is encoded, as it came. Errors: Unreachable, ProtocolError."""
        from . import control
        from .etf import Atom, Pid, Reference

        self._calls += 1
        own = Atom(self._handshake.name)
        caller = Pid(own, 1, 0, self._handshake.creation)
        reference = Reference(own, self._handshake.creation, (self._calls, 0, 0))
        self._connection.send_packet(control.call(caller, reference, module, function, arguments))
        while True:
            packet = self._connection.receive_packet(_limits.MAX_MESSAGE)
            result = control.answer(packet, caller, reference)
            if result is not None:
                return result

    def close(self) -> None:
        """End the connection, as `Connection.hang_up`."""
        self._connection.hang_up()


def _step(connection: Connection, handshake: Handshake) -> None:
    """Receive one packet, and send the answer to it if there is one."""
    answer = handshake.receive(connection.receive_handshake(_limits.MAX_HANDSHAKE_PACKET))
    if answer:
        connection.send_handshake(answer)
    if handshake.state is State.REFUSED:
        raise NodeRefused(handshake.refusal)
