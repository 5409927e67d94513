# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS inside a connection, with peers that close or refuse, and its errors in words."""

from __future__ import annotations

import socket
import ssl

import pytest
import trustme

from ansible_collections.beamops.epmd.plugins.module_utils._deadline import Deadline
from ansible_collections.beamops.epmd.plugins.module_utils._errors import Closed, SpeaksNoTls
from ansible_collections.beamops.epmd.plugins.module_utils._wire import tls
from ansible_collections.beamops.epmd.plugins.module_utils._wire.transport import Connection
from ansible_collections.beamops.epmd.tests.fakes import FakeServer, answer


def client() -> ssl.SSLContext:
    """A client that takes any certificate and shows none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def test_a_peer_that_closes_at_once_is_an_error_of_tls() -> None:
    """Also with OpenSSL 3 under a CPython that is older, which has the words of something else for it."""
    with FakeServer(answer(b"")) as closing, pytest.raises(SpeaksNoTls, match="it does not speak TLS"):
        Connection("127.0.0.1", closing.port, Deadline(60), tls.Tls(client(), ""))


def test_the_peer_hears_that_nothing_more_comes() -> None:
    """Without this, an end that somebody else has forged would look the same (RFC 8446, 6.1)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("vic").configure_cert(context)
    heard: list[bytes] = []

    def handler(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False) as wrapped:
            heard.append(wrapped.recv(1))

    with FakeServer(handler) as server:
        Connection("127.0.0.1", server.port, Deadline(60), tls.Tls(client(), "")).hang_up()
    assert heard == [b""]


def test_a_refusal_is_read_where_the_peer_has_closed_before_we_send() -> None:
    """Since TLS 1.3 a client has shaken hands before the server has looked at its certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority = trustme.CA()
    authority.issue_cert("vic").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(to_server, to_client, server_side=True)
    closed = False

    def send(data: bytes) -> None:
        nonlocal closed
        if closed:
            raise Closed("it closed the connection")
        to_server.write(data)
        try:
            server.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            closed = True

    tunnel = tls.Tunnel(client(), send, lambda _size: to_client.read())
    assert closed
    with pytest.raises(ssl.SSLError) as caught:
        tunnel.send(b"our name")
    # Python 3.7 has no words for it.
    assert caught.value.reason in ("TLSV13_ALERT_CERTIFICATE_REQUIRED", None)


@pytest.mark.parametrize(
    ("reason", "certificate", "words"),
    [
        ("WRONG_VERSION_NUMBER", "", "it does not speak TLS"),
        ("KRB5_S_TKT_NYV", "", "it does not speak TLS"),
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "", "wants a certificate"),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", "", "wants a certificate"),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", "/c.pem", "refuses the certificate /c.pem, which it does not accept"),
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", "/c.pem", "/c.pem, which has expired"),
        ("SOMETHING_NEW", "/c.pem", "no TLS connection (something new)"),
        (None, "/c.pem", "no TLS connection (unknown)"),
    ],
)
def test_errors_of_tls_in_words(reason: str | None, certificate: str, words: str) -> None:
    error = ssl.SSLError(1, "[SSL] text of the library")
    error.reason = reason  # type: ignore[assignment]
    explained = tls.Tls(ssl.create_default_context(), certificate).explain(error)
    assert words in str(explained)
    assert isinstance(explained, SpeaksNoTls) == (words == "it does not speak TLS")
