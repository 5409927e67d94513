# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which certificate is shown to a node, from the options of the module or those that the node was started with."""

from __future__ import annotations

import fcntl
import os
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization as s

from ansible_collections.beamops.epmd.plugins.module_utils._deadline import Deadline
from ansible_collections.beamops.epmd.plugins.module_utils._errors import TimedOut, TlsFailed
from ansible_collections.beamops.epmd.plugins.module_utils._host import certificates, command_line, files, vms
from ansible_collections.beamops.epmd.plugins.module_utils._host.certificates import Files
from ansible_collections.beamops.epmd.plugins.module_utils._wire.transport import Connection
from ansible_collections.beamops.epmd.tests.fakes import create_server

NONE = Files(None, None, None, "", "tls_certfile")


def chosen(text: str) -> tuple[str | None, str | None, str]:
    files = certificates.choose(certificates.sections(text, "the file"), "the file")
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


def test_an_optfile_that_can_not_be_understood_says_which_line() -> None:
    with pytest.raises(TlsFailed, match=r"the file can't be understood, line 2: .* give tls_certfile"):
        certificates.sections("[{server,\n fun() -> 1 end}].", "the file")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing", "can't be read"),
        ("directory", "is not a regular file"),
        ("fifo", "is not a regular file"),
        ("device", "is not a regular file"),
        ("long", "has more than 65536 bytes"),
        ("a\ud800b", "can't be read"),
    ],
)
def test_an_optfile_that_can_not_be_read_says_why(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "long").write_text("% " + "x" * 65536)
    line = ["beam.smp", "--", "-proto_dist", "inet_tls", "-ssl_dist_optfile", str(tmp_path / name)]
    vm = vms.UNKNOWN._replace(command_line=command_line.parse(line, {}))
    with pytest.raises(TlsFailed, match=f"{words}.*: give tls_certfile"):
        certificates.prepare(vm, NONE, Deadline(60))


@pytest.mark.parametrize("certificate", ["/c\\0.pem", "/c\\x{d800}.pem", "/missing.pem", "/dev/zero"])
def test_a_certificate_that_can_not_be_used_says_who_names_it(tmp_path: Path, certificate: str) -> None:
    (tmp_path / "optfile").write_text(f'[{{client, [{{certfile, "{certificate}"}}]}}].')
    line = ["beam.smp", "--", "-proto_dist", "inet_tls", "-ssl_dist_optfile", str(tmp_path / "optfile")]
    vm = vms.UNKNOWN._replace(command_line=command_line.parse(line, {}))
    with pytest.raises(TlsFailed, match=r"certificate file of -ssl_dist_optfile .*: give tls_certfile"):
        certificates.prepare(vm, NONE, Deadline(60))


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
    assert certificates.choose(certificates.from_arguments(options), "").certfile == certificate


def test_the_options_of_the_module_come_before_those_of_the_node(tmp_path: Path) -> None:
    trustme.CA().issue_cert("vic").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    line = ["beam.smp", "--", "-proto_dist", "inet_tls", "-ssl_dist_optfile", "/no/such/file"]
    vm = vms.UNKNOWN._replace(command_line=command_line.parse(line, {}))
    certificates.prepare(vm, NONE._replace(certfile=str(tmp_path / "both.pem")), Deadline(60))
    with pytest.raises(TlsFailed, match="/no/such/file can't be read"):
        certificates.prepare(vm, NONE, Deadline(60))


def test_a_key_that_is_locked_asks_nobody(tmp_path: Path) -> None:
    made = trustme.CA().issue_cert("vic")
    key = s.load_pem_private_key(made.private_key_pem.bytes(), None)
    locked = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(b"pw"))
    made.cert_chain_pems[0].write_to_path(str(tmp_path / "c.pem"))
    (tmp_path / "k.pem").write_bytes(locked)
    files = Files(str(tmp_path / "c.pem"), str(tmp_path / "k.pem"), None, "", "tls_certfile")
    with pytest.raises(TlsFailed, match="can't be used") as caught:
        certificates.prepare(vms.UNKNOWN, files, Deadline(60))
    assert "pw" not in str(caught.value)
    certificates.prepare(vms.UNKNOWN, files._replace(password="pw"), Deadline(60))


@pytest.mark.parametrize("size", [0, 300_000])
def test_a_key_is_never_on_a_disk(tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL is given the paths of pipes, also for a long chain."""
    made = trustme.CA().issue_cert("vic")
    (tmp_path / "both.pem").write_bytes(made.private_key_and_cert_chain_pem.bytes() + b"\n" * size)
    opened: list[str] = []
    real = ssl.SSLContext.load_cert_chain

    def noted(context: ssl.SSLContext, *paths: str, **options: Any) -> None:
        opened.extend(map(os.readlink, paths))
        real(context, *paths, **options)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", noted)
    monkeypatch.setattr(tempfile, "tempdir", "/no/such/directory")
    descriptors = os.listdir("/proc/self/fd")
    certificates.prepare(vms.UNKNOWN, NONE._replace(certfile=str(tmp_path / "both.pem")), Deadline(60))
    assert [path.partition(":")[0] for path in opened] == ["pipe", "pipe"]
    assert os.listdir("/proc/self/fd") == descriptors


def test_a_pipe_that_is_too_small_is_an_error_and_no_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = trustme.CA().issue_cert("vic")
    (tmp_path / "both.pem").write_bytes(made.private_key_and_cert_chain_pem.bytes() + b"\n" * 300_000)
    monkeypatch.setattr(fcntl, "fcntl", lambda *_given: 0)
    with pytest.raises(TlsFailed, match=r"can't be used \(no buffer space available\): give tls_certfile"):
        certificates.prepare(vms.UNKNOWN, NONE._replace(certfile=str(tmp_path / "both.pem")), Deadline(60))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing", "no such file or directory"),
        ("directory", "not a regular file"),
        ("long", "more than 1048576 bytes"),
        ("empty", ""),
    ],
)
def test_a_ca_file_that_can_not_be_used_says_why(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "long").write_text("\n" * 1048577)
    (tmp_path / "empty").touch()
    with pytest.raises(TlsFailed, match=rf"^tls_cafile .*/{name} can't be used \({words}.*\)$"):
        certificates.prepare(vms.UNKNOWN, NONE._replace(cafile=str(tmp_path / name)), Deadline(60))


def test_a_ca_file_that_hangs_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "read", lambda *_given: time.sleep(3600))
    with pytest.raises(TimedOut, match="did not end within"):
        certificates.prepare(vms.UNKNOWN, NONE._replace(cafile=str(tmp_path / "ca.pem")), Deadline(0.2))


@pytest.fixture
def server() -> Iterator[tuple[int, ssl.SSLContext]]:
    """A server that shakes hands once for each client, and hangs up."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("vic").configure_cert(context)
    with create_server(("127.0.0.1", 0)) as listener:

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
    Connection("127.0.0.1", server[0], Deadline(60), certificates.prepare(vms.UNKNOWN, NONE, Deadline(60))).close()
    strict = certificates.prepare(vms.UNKNOWN, NONE._replace(cafile=str(tmp_path / "ca.pem")), Deadline(60))
    with pytest.raises(TlsFailed, match="does not pass tls_cafile"):
        Connection("127.0.0.1", server[0], Deadline(60), strict)
