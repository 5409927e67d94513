# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes with TLS distribution: recovered with their own certificates, or a message of one line that says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.beamops.epmd.tests.integration.kinds_table import Saw
from ansible_collections.beamops.epmd.tests.integration.support import COOKIE, Register, hand_on, life, lose, rehearse
from ansible_collections.beamops.epmd.tests.lab import (
    Authority,
    Epmd,
    Node,
    Otp,
    forget,
    holders,
    overwrite_command_line,
)

pytestmark = pytest.mark.since(25)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A CA of the test's own."""
    return Authority(tmp_path / "tls")


def start(otp: Otp, epmd: Epmd, args: list[str]) -> Node:
    return otp.node("vic", epmd_port=epmd.port, cookie=COOKIE, args=args)


@pytest.mark.parametrize("mutual", [True, False], ids=["mutual", "one-sided"])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_lost_node_is_registered_again(
    otp: Otp, epmd: Epmd, authority: Authority, register: Register, saw: Saw, version: str, mutual: bool
) -> None:
    certificate = authority.issue("vic")
    args = authority.options(certificate, certificate if mutual else None, f"'tlsv{version}'", mutual)
    with start(otp, epmd, args) as node:
        before = life(node)
        healthy = register(name="vic")
        assert (healthy.changed, healthy.node["verdict"], healthy.node["tls"]) == (False, "registered", True)
        assert healthy.node["name"] == node.name  # with the host, which only the challenge has
        lose(epmd, node)
        assert register("--check", name="vic").changed
        assert not holders(epmd.port)
        done = register(name="vic")
        assert done.changed, done.output
        assert epmd.names() == {"vic": node.port}
        assert holders(epmd.port) == {node.pid}
        assert not register(name="vic").changed
        assert life(node) == before
        kind = "mutual authentication" if mutual else "the server's certificate alone"
        saw(f"TLS {version}, {kind}", otp.release, f"{done.node['verdict']}, registered again")


@pytest.mark.one_release
@pytest.mark.parametrize("places", ["server_certfile server_keyfile", "client_certfile client_keyfile"])
def test_certificates_from_the_command_line(
    otp: Otp, epmd: Epmd, authority: Authority, register: Register, saw: Saw, places: str
) -> None:
    certificate = authority.issue("vic")
    cert, key = places.split()
    pairs = {"server_certfile": certificate.certfile, "server_keyfile": certificate.keyfile}
    pairs.update({cert: certificate.certfile, key: certificate.keyfile, "server_cacertfile": authority.cafile})
    given = [word for name, value in pairs.items() for word in (name, str(value))]
    wants = ["server_verify", "verify_peer", "server_fail_if_no_peer_cert", "true"]
    args = ["-proto_dist", "inet_tls", "-ssl_dist_opt", *given, "-ssl_dist_opt", *wants]
    with start(otp, epmd, args) as node:
        rehearse(register)
        lose(epmd, node)
        done = register(name="vic")
        assert done.changed, done.output
        assert epmd.names() == {"vic": node.port}
        assert node.log == ""
        saw("TLS, certificates by -ssl_dist_opt", otp.release, f"{done.node['verdict']}, registered again")


@pytest.mark.parametrize("known", [True, False], ids=["flags", "rewritten"])
def test_tls_that_no_flag_tells(
    otp: Otp, epmd: Epmd, authority: Authority, register: Register, saw: Saw, tmp_path: Path, known: bool
) -> None:
    """By a -proto_dist that hands on to that of OTP, and where the command line was rewritten."""
    args = authority.options(authority.issue("vic"), None, mutual=False)
    if known:
        args[1] = "my"
        args += hand_on(otp, "my_dist", "inet_tls_dist", tmp_path)
    with start(otp, epmd, args) as node:
        if not known:
            overwrite_command_line(node, b"my-server: idle")
        healthy = register()
        assert (healthy.failed, healthy.node["verdict"], healthy.node["tls"]) == (False, "registered", True)
        lose(epmd, node)
        done = register(cookie=COOKIE)
        assert done.changed, done.output
        assert epmd.names() == {"vic": node.port}
        kind = "by a -proto_dist that hands on to inet_tls" if known else "command line replaced by a title"
        saw(f"TLS, {kind}", otp.release, f"{done.node['verdict']}, registered again")


def test_over_ipv6(otp: Otp, epmd: Epmd, authority: Authority, register: Register, saw: Saw) -> None:
    certificate = authority.issue("vic")
    args = authority.options(certificate, certificate)
    args[1] = "inet6_tls"
    with start(otp, epmd, args) as node:
        rehearse(register)
        lose(epmd, node)
        done = register(name="vic")
        assert done.changed, done.output
        assert (done.node["address"], done.node["tls"]) == ("::", True)
        assert epmd.names() == {"vic": node.port}
        assert node.log == ""
        saw("TLS over IPv6 (inet6_tls)", otp.release, f"{done.node['verdict']}, registered again")


@pytest.mark.one_release
def test_a_certificate_from_the_options(
    otp: Otp, epmd: Epmd, authority: Authority, register: Register, saw: Saw
) -> None:
    ours = authority.issue("ours")
    with start(otp, epmd, authority.options(authority.issue("vic"), None)) as node:
        Path(node_optfile := str(authority.cafile.parent / "ssl_dist.conf")).write_text("[].\n")
        lose(epmd, node)
        refused = register(name="vic")
        assert refused.failed
        assert "it wants a certificate" in refused.msg
        assert "give tls_certfile" in refused.msg
        assert "\n" not in refused.msg
        Path(node_optfile).unlink()
        unread = register(name="vic")
        assert unread.failed
        assert f"{node_optfile} can't be read" in unread.msg
        done = register(
            name="vic",
            tls_certfile=str(ours.certfile),
            tls_keyfile=str(ours.keyfile),
            tls_cafile=str(authority.cafile),
        )
        assert done.changed, done.output
        assert epmd.names() == {"vic": node.port}
        saw("TLS, certificate by the module's options", otp.release, f"{done.node['verdict']}, registered again")


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize(
    ("what", "words"), [("expired", "which has expired"), ("of another CA", "which no CA that it knows has signed")]
)
def test_a_certificate_that_is_refused(
    otp: Otp,
    epmd: Epmd,
    authority: Authority,
    register: Register,
    saw: Saw,
    tmp_path: Path,
    version: str,
    what: str,
    words: str,
) -> None:
    bad = authority.issue("old", expired=True) if what == "expired" else Authority(tmp_path / "other").issue("vic")
    with start(otp, epmd, authority.options(authority.issue("vic"), bad, f"'tlsv{version}'")) as node:
        lose(epmd, node)
        # A node that resets the connection can destroy its own alert (RFC 8446, 6.2); then it has merely closed it.
        for _attempt in range(20):
            done = register(name="vic")
            assert done.failed
            if "it closed the connection" not in done.msg:
                break
        assert words in done.msg
        assert str(bad.certfile) in done.msg
        assert "\n" not in done.msg
        assert not holders(epmd.port)
        saw(f"TLS, the node's own certificate {what}", otp.release, "fails: refuses the certificate")


def test_a_certificate_of_the_node_that_we_refuse(
    otp: Otp, epmd: Epmd, authority: Authority, register: Register, tmp_path: Path, saw: Saw
) -> None:
    stranger = Authority(tmp_path / "other")
    with start(otp, epmd, authority.options(authority.issue("vic"), None, mutual=False)) as node:
        lose(epmd, node)
        done = register(name="vic", tls_cafile=str(stranger.cafile))
        assert done.failed
        assert "its certificate does not pass tls_cafile" in done.msg
        assert not holders(epmd.port)
        right = register(name="vic", tls_cafile=str(authority.cafile))
        assert right.changed, right.output
        saw("TLS, tls_cafile", otp.release, "fails with another CA, registered with the right one")


def test_plain_meets_tls_and_tls_meets_plain(
    otp: Otp, epmd: Epmd, authority: Authority, register: Register, saw: Saw
) -> None:
    certificate = authority.issue("vic")
    with start(otp, epmd, authority.options(certificate, certificate)) as node:
        forget(epmd, node)
        plain = register(name="vic", port=node.port, cookie=COOKIE, epmd_port=epmd.port, timeout=4)
        assert plain.failed
        assert "it speaks TLS distribution" in plain.msg
        assert "give tls_certfile" in plain.msg
        with_tls: dict[str, Any] = {"tls_certfile": str(certificate.certfile), "tls_keyfile": str(certificate.keyfile)}
        given = register(name="vic", port=node.port, cookie=COOKIE, epmd_port=epmd.port, **with_tls)
        assert given.changed, given.output
    with start(otp, epmd, []) as node:
        forget(epmd, node)
        tls = register(name="vic", port=node.port, cookie=COOKIE, epmd_port=epmd.port, timeout=4, **with_tls)
        assert tls.failed
        assert "no answer within" in tls.msg or "does not speak TLS" in tls.msg
        assert "\n" not in tls.msg
    saw("TLS met by a plain handshake, and the other way round", otp.release, "fails and names the mismatch")


@pytest.mark.one_release
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tls_keyfile": "/k.pem"}, ["required by 'tls_keyfile'", "tls_certfile"]),
        ({"tls_certfile": "/no/such.pem"}, ["/no/such.pem", "can't be read"]),
        ({"tls_certfile": "/etc/passwd"}, ["/etc/passwd", "can't be used"]),
        ({"tls_cafile": "/etc/passwd"}, ["tls_cafile /etc/passwd", "can't be used"]),
    ],
    ids=["key alone", "missing", "no certificate", "no CA"],
)
def test_files_that_cannot_be_used(
    otp: Otp,
    epmd: Epmd,
    authority: Authority,
    register: Register,
    options: dict[str, Any],
    words: list[str],
) -> None:
    certificate = authority.issue("vic")
    with start(otp, epmd, authority.options(certificate, certificate)) as node:
        forget(epmd, node)
        done = register(name="vic", **options)
        assert done.failed
        assert "\n" not in done.msg
        for word in words:
            assert word in done.msg
