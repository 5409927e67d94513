# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS inside a connection to a node, and what its refusals mean in words for an operator. Private to the collection.

Standard: RFC 8446, RFC 5246; `inet_tls_dist.erl` of ssl. Which certificate to show is in `_host/certificates.py`.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import Callable, TypeVar

from .._errors import Closed, EpmdError

T = TypeVar("T")

_CHUNK = 1 << 16
_NO_TLS = ("WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "UNEXPECTED_EOF_WHILE_READING", "RECORD_LAYER_FAILURE")
_WANTS_ONE = ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_HANDSHAKE_FAILURE")
_REFUSALS = {
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "which has expired",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "which is revoked",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "which it does not accept",
    "SSLV3_ALERT_BAD_CERTIFICATE": "which it does not accept",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "which is of a kind that it does not accept",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "which it does not accept",
    "TLSV1_ALERT_UNKNOWN_CA": "which no CA that it knows has signed",
    "TLSV1_ALERT_ACCESS_DENIED": "which may not connect",
    "TLSV1_ALERT_DECRYPT_ERROR": "which does not belong to its key",
}


class Tunnel:
    """TLS inside of a connection, of which it has only two functions: to send bytes, and to wait for some.

    Every wait is theirs, and so ends in time. On a socket of its own OpenSSL would not come back as long as a peer
    goes on sending what has no meaning. Errors of all methods: OSError, which `Tls.explain` puts into words, and those
    of the two functions.
    """

    def __init__(self, context: ssl.SSLContext, send: Callable[[bytes], None], receive: Callable[[int], bytes]) -> None:
        self._send = send
        self._receive = receive
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing)
        self._complete(self._tls.do_handshake)

    def send(self, data: bytes) -> None:
        """Send all of these bytes."""
        try:
            self._complete(lambda: self._tls.write(data))
        except Closed:
            self._hear_why()
            raise

    def receive(self, size: int) -> bytes:
        """Some bytes, up to this many; none when the peer has hung up."""
        try:
            return self._complete(lambda: self._tls.read(size))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def hang_up(self) -> None:
        """Say that nothing more comes."""
        with contextlib.suppress(ssl.SSLError):  # it wants to wait for the same from the peer
            self._tls.unwrap()
        self._send(self._outgoing.read())

    def _hear_why(self) -> None:
        """Read what the peer said before it closed: since TLS 1.3 it may refuse us when we take it for connected."""
        with contextlib.suppress(EpmdError):
            while True:
                data = self._receive(_CHUNK)
                if not data:
                    break
                self._incoming.write(data)
        self._incoming.write_eof()
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError, ssl.SSLEOFError):
            self._tls.read(1)

    def _complete(self, step: Callable[[], T]) -> T:
        """Take a step of OpenSSL as often as it needs bytes of the peer for it."""
        while True:
            try:
                result = step()
                break
            except ssl.SSLWantReadError:
                self._send(self._outgoing.read())
                data = self._receive(_CHUNK)
                if data:
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            except ssl.SSLError:
                with contextlib.suppress(EpmdError):  # a farewell, which says why
                    self._send(self._outgoing.read())
                raise
        self._send(self._outgoing.read())
        return result


class Tls:
    """How to speak TLS with one node."""

    def __init__(self, context: ssl.SSLContext, certificate: str) -> None:
        self._context = context
        self._certificate = certificate

    def through(self, send: Callable[[bytes], None], receive: Callable[[int], bytes]) -> Tunnel:
        """Shake hands on a connection. Errors: as those of the tunnel."""
        return Tunnel(self._context, send, receive)

    def explain(self, error: OSError) -> str:
        """What an error of TLS means, in words for an operator."""
        reason = getattr(error, "reason", None) or "UNKNOWN"
        if reason in _NO_TLS or isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
            return "it does not speak TLS, or can't with the TLS options that it has itself"
        if reason == "CERTIFICATE_VERIFY_FAILED":
            return f"its certificate does not pass tls_cafile: {getattr(error, 'verify_message', 'it is not valid')}"
        if reason in _WANTS_ONE and not self._certificate:
            return "it wants a certificate, and neither the node's options nor ours have one: give tls_certfile"
        if reason in _REFUSALS:
            return f"it refuses the certificate {self._certificate}, {_REFUSALS[reason]}: give another tls_certfile"
        return f"no TLS connection ({str(reason).lower().replace('_', ' ')})"
