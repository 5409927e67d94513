# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS inside a connection to a node, and its errors in words for an operator. Private to the collection.

Standard: RFC 8446, RFC 5246; `inet_tls_dist.erl` of ssl. `_host/certificates.py` chooses the certificate.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import Callable, TypeVar

from .._errors import Closed, EpmdError, SpeaksNoTls, TlsFailed

T = TypeVar("T")

_CHUNK = 1 << 16
_NO_TLS = (
    "WRONG_VERSION_NUMBER",
    "UNKNOWN_PROTOCOL",
    "RECORD_LAYER_FAILURE",
    "UNEXPECTED_EOF_WHILE_READING",
    "KRB5_S_TKT_NYV",  # the same with OpenSSL 3, in the words of a CPython that is older than that
)
_NO_CERTIFICATE = ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_HANDSHAKE_FAILURE")
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
    """TLS on top of two functions of a connection: one sends bytes, the other waits for some.

    Only they wait, so every wait ends at their deadline; OpenSSL with a socket of its own would not return as long as
    the peer sends records without content. Errors of all methods: OSError, which `Tls.explain` puts into words, and
    those of the two functions.
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
            self._read_alert()
            raise

    def receive(self, size: int) -> bytes:
        """At least one byte and at most this many; none when the peer has closed the connection."""
        try:
            return self._complete(lambda: self._tls.read(size))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def hang_up(self) -> None:
        """Send the end of TLS (close_notify), and do not wait for that of the peer."""
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        self._send(self._outgoing.read())

    def _read_alert(self) -> None:
        """Raise the alert that the peer sent before it closed: in TLS 1.3 it refuses us when our handshake is over."""
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
        """Repeat a step of OpenSSL until it needs no more bytes of the peer."""
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
                with contextlib.suppress(EpmdError):  # the alert for the peer
                    self._send(self._outgoing.read())
                raise
        self._send(self._outgoing.read())
        return result


class Tls:
    """The side of TLS that connects to one node. certificate: the path of what we show, "" for nothing."""

    def __init__(self, context: ssl.SSLContext, certificate: str) -> None:
        self._context = context
        self._certificate = certificate

    def through(self, send: Callable[[bytes], None], receive: Callable[[int], bytes]) -> Tunnel:
        """TLS on a connection, after its handshake. Errors: as those of the tunnel."""
        return Tunnel(self._context, send, receive)

    def explain(self, error: OSError) -> TlsFailed:
        """An error of TLS in words for an operator."""
        reason = getattr(error, "reason", None) or "UNKNOWN"
        if reason in _NO_TLS or isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
            return SpeaksNoTls("it does not speak TLS, or can't with its own TLS options")
        return TlsFailed(self._words(error, reason))

    def _words(self, error: OSError, reason: str) -> str:
        if reason == "CERTIFICATE_VERIFY_FAILED":
            return f"its certificate does not pass tls_cafile: {getattr(error, 'verify_message', 'it is not valid')}"
        if reason in _NO_CERTIFICATE and not self._certificate:
            return "it wants a certificate, and neither the node's options nor ours have one: give tls_certfile"
        if reason in _REFUSALS:
            return f"it refuses the certificate {self._certificate}, {_REFUSALS[reason]}: give another tls_certfile"
        return f"no TLS connection ({str(reason).lower().replace('_', ' ')})"
