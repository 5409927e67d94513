# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which certificate a node would show, from the options that it was started with."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization as s

from ansible_collections.beamops.epmd.plugins.module_utils._deadline import Deadline
from ansible_collections.beamops.epmd.plugins.module_utils._errors import Closed, EpmdError, TlsFailed
from ansible_collections.beamops.epmd.plugins.module_utils._host import command_line, processes
from ansible_collections.beamops.epmd.plugins.module_utils._wire import tls
from ansible_collections.beamops.epmd.plugins.module_utils._wire.tls import Files
from ansible_collections.beamops.epmd.plugins.module_utils._wire.transport import Connection
from ansible_collections.beamops.epmd.tests.fakes import FakeServer, answer

NONE = Files(None, None, None, "", "tls_certfile")


def chosen(text: str) -> tuple[str | None, str | None, str]:
    files = tls.choose(tls.sections(text, "the file"), "the file")
    return files.certfile, files.keyfile, files.password


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("[].", (None, None, "")),
        ("", (None, None, "")),
        ('[{server, [{certfile, "s.pem"}, {keyfile, "s.key"}]}].', ("s.pem", "s.key", "")),
        ('[{server, [{certfile, "s.pem"}]}, {client, [{certfile, "c.pem"}]}].', ("c.pem", None, "")),
        ('[{server, [{certfile, "s.pem"}]}, {client, [{verify, verify_none}]}].', ("s.pem", None, "")),
        ('[{client, [{certfile, <<"c.pem">>}, {password, "pw"}]}].', ("c.pem", None, "pw")),
        ('[{client, [inet6, {certfile, "first"}, {certfile, "second"}]}].', ("first", None, "")),
        ('[{client, [{certs_keys, [#{certfile => "k.pem", keyfile => "k.key"}]}]}].', ("k.pem", "k.key", "")),
        ('#{client => [{certfile, "c.pem"}]}.', ("c.pem", None, "")),
        ("[{client, nonsense}].", (None, None, "")),
        ("nonsense.", (None, None, "")),
    ],
)
def test_the_optfile(text: str, files: tuple[str | None, str | None, str]) -> None:
    assert chosen(text) == files


def test_an_optfile_that_cannot_be_understood_is_told() -> None:
    with pytest.raises(EpmdError, match=r"the file can't be understood, line 2: .* give tls_certfile"):
        tls.sections("[{server,\n fun() -> 1 end}].", "the file")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing", "can't be read"),
        ("directory", "is no regular file"),
        ("fifo", "is no regular file"),
        ("device", "is no regular file"),
        ("long", "has more than 65536 bytes"),
        ("a\ud800b", "can't be read"),
    ],
)
def test_an_optfile_that_is_none_is_told(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "long").write_text("% " + "x" * 65536)
    line = ["beam.smp", "--", "-proto_dist", "inet_tls", "-ssl_dist_optfile", str(tmp_path / name)]
    vm = processes.UNKNOWN._replace(said=command_line.parse(line, {}))
    with pytest.raises(EpmdError, match=f"{words}.*: give tls_certfile"):
        tls.prepare(vm, NONE, Deadline(60))


@pytest.mark.parametrize("certificate", ["/c\\0.pem", "/c\\x{d800}.pem", "/missing.pem", "/dev/zero"])
def test_a_certificate_of_an_optfile_that_is_none_is_told(tmp_path: Path, certificate: str) -> None:
    (tmp_path / "optfile").write_text(f'[{{client, [{{certfile, "{certificate}"}}]}}].')
    line = ["beam.smp", "--", "-proto_dist", "inet_tls", "-ssl_dist_optfile", str(tmp_path / "optfile")]
    vm = processes.UNKNOWN._replace(said=command_line.parse(line, {}))
    with pytest.raises(EpmdError, match=r"certificate file of -ssl_dist_optfile .*: give tls_certfile"):
        tls.prepare(vm, NONE, Deadline(60))


@pytest.mark.parametrize(
    ("options", "certificate"),
    [
        ({}, None),
        ({"server_certfile": "s"}, "s"),
        ({"server_certfile": "s", "client_certfile": "c"}, "c"),
        ({"client_keyfile": "k", "server_certfile": "s"}, "s"),
    ],
)
def test_the_pairs_of_a_command_line(options: dict[str, str], certificate: str | None) -> None:
    assert tls.choose(tls.from_arguments(options), "").certfile == certificate


def test_the_options_of_the_module_come_before_those_of_the_node(tmp_path: Path) -> None:
    trustme.CA().issue_cert("vic").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    line = ["beam.smp", "--", "-proto_dist", "inet_tls", "-ssl_dist_optfile", "/no/such/file"]
    vm = processes.UNKNOWN._replace(said=command_line.parse(line, {}))
    tls.prepare(vm, NONE._replace(certfile=str(tmp_path / "both.pem")), Deadline(60))
    with pytest.raises(EpmdError, match="/no/such/file can't be read"):
        tls.prepare(vm, NONE, Deadline(60))


def test_a_key_that_is_locked_asks_nobody(tmp_path: Path) -> None:
    made = trustme.CA().issue_cert("vic")
    key = s.load_pem_private_key(made.private_key_pem.bytes(), None)
    locked = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(b"pw"))
    made.cert_chain_pems[0].write_to_path(str(tmp_path / "c.pem"))
    (tmp_path / "k.pem").write_bytes(locked)
    files = Files(str(tmp_path / "c.pem"), str(tmp_path / "k.pem"), None, "", "tls_certfile")
    with pytest.raises(EpmdError, match="can't be used") as caught:
        tls.prepare(processes.UNKNOWN, files, Deadline(60))
    assert "pw" not in str(caught.value)
    tls.prepare(processes.UNKNOWN, files._replace(password="pw"), Deadline(60))


@pytest.fixture
def server() -> Iterator[tuple[int, ssl.SSLContext]]:
    """A server that shakes hands once for each client, and hangs up."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("vic").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _peer = listener.accept()
                except OSError:
                    return
                try:
                    context.wrap_socket(connection, server_side=True).close()
                except OSError:
                    connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], context
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def test_the_certificate_of_the_peer_is_looked_at_only_with_a_ca(
    server: tuple[int, ssl.SSLContext], tmp_path: Path
) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    Connection("127.0.0.1", server[0], Deadline(60), tls.prepare(processes.UNKNOWN, NONE, Deadline(60))).close()
    strict = tls.prepare(processes.UNKNOWN, NONE._replace(cafile=str(tmp_path / "ca.pem")), Deadline(60))
    with pytest.raises(TlsFailed, match="does not pass tls_cafile"):
        Connection("127.0.0.1", server[0], Deadline(60), strict)


def test_a_peer_that_hangs_up_has_no_tls_with_us() -> None:
    """An older CPython has wrong words for what OpenSSL 3 says then."""
    tls = tls.prepare(processes.UNKNOWN, NONE, Deadline(60))
    with FakeServer(answer(b"")) as closing, pytest.raises(TlsFailed, match="TLS"):
        Connection("127.0.0.1", closing.port, Deadline(60), tls)


def test_the_peer_is_told_that_nothing_more_comes() -> None:
    """Without this, an end that somebody else has forged would look the same (RFC 8446, 6.1)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("vic").configure_cert(context)
    heard: list[bytes] = []

    def handler(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False) as wrapped:
            heard.append(wrapped.recv(1))

    tls = tls.prepare(processes.UNKNOWN, NONE, Deadline(60))
    with FakeServer(handler) as server:
        Connection("127.0.0.1", server.port, Deadline(60), tls).hang_up()
    assert heard == [b""]


def test_a_refusal_is_heard_also_where_the_peer_has_closed_before_we_send() -> None:
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

    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    tunnel = tls.Tunnel(client, send, lambda _size: to_client.read())
    assert closed
    with pytest.raises(ssl.SSLError) as caught:
        tunnel.send(b"our name")
    # Python 3.7 has no words for it.
    assert caught.value.reason in ("TLSV13_ALERT_CERTIFICATE_REQUIRED", None)


@pytest.mark.parametrize(
    ("reason", "certificate", "words"),
    [
        ("WRONG_VERSION_NUMBER", "", "does not speak TLS"),
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "", "wants a certificate"),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", "", "wants a certificate"),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", "/c.pem", "refuses the certificate /c.pem, which it does not accept"),
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", "/c.pem", "/c.pem, which has expired"),
        ("SOMETHING_NEW", "/c.pem", "no TLS connection (something new)"),
        (None, "/c.pem", "no TLS connection (unknown)"),
    ],
)
def test_errors_in_words(reason: str | None, certificate: str, words: str) -> None:
    error = ssl.SSLError(1, "[SSL] text of the library")
    error.reason = reason  # type: ignore[assignment]
    assert words in tls.Tls(ssl.create_default_context(), certificate).explain(error)
