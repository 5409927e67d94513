# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every mistake and every broken peer gets one sentence: what is wrong, where, what to do. The node is unchanged."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._ensure import Mode, ensure
from ansible_collections.beamops.epmd.plugins.module_utils._options import Options
from ansible_collections.beamops.epmd.tests.integration.support import (
    COOKIE,
    Register,
    Run,
    life,
    lose,
)
from ansible_collections.beamops.epmd.tests.lab import (
    Epmd,
    FakeServer,
    Node,
    Otp,
    answer,
    forget,
    hang,
    holders,
    listeners,
)
from ansible_collections.beamops.epmd.tests.nobody import as_nobody


def refused(run: Run, *words: str) -> Run:
    """The run failed with a message of one line that contains these words."""
    assert run.failed, run.output
    assert not run.changed
    assert "\n" not in run.msg
    for word in words:
        assert word in run.msg, run.msg
    return run


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "a@b@c"}, ["'a@b@c'", "ejabberd@host"]),
        ({"name": "@host"}, ["'@host'"]),
        ({"name": "vic@"}, ["'vic@'"]),
        ({"name": "x" * 256}, ["255 bytes"]),
        ({"name": "\u00e9" * 128}, ["255 bytes"]),
        ({"name": ["one", "two"], "port": 4711}, ["port 4711", "exactly one node", "has 2"]),
        ({"port": 4711}, ["required by 'port'", "name"]),
        ({"name": "vic", "port": 65536}, ["port 65536", "1 to 65535"]),
        ({"epmd_port": 0}, ["epmd_port 0", "1 to 65535"]),
        ({"timeout": 0}, ["timeout 0", "above 0"]),
        ({"timeout": "nan"}, ["timeout nan"]),
        ({"timeout": "inf"}, ["timeout inf", "up to 3600"]),
        ({"name": "vic", "cookie": "a-cookie", "cookie_file": "/x"}, ["mutually exclusive"]),
        ({"name": "vic"}, ["vic", "no such node", "no Erlang node is running"]),
    ],
    ids=lambda value: str(value)[:30],
)
def test_invalid_options(register: Register, options: dict[str, Any], words: list[str]) -> None:
    refused(register(**options), *words)


@pytest.mark.one_release
def test_a_node_that_is_not_running(node: Node, register: Register) -> None:
    refused(register(name=["vic", "nope@here"]), "nope@here", "no such node", f"running: {node.name}")
    refused(register(name="vic@elsewhere"), "vic@elsewhere", "no such node", f"running: {node.name}")


def test_a_wrong_cookie(otp: Otp, epmd: Epmd, node: Node, register: Register) -> None:
    lose(epmd, node)
    done = register(name="vic", cookie="no-such-cookie")
    refused(done, "refused the cookie", "from the option cookie", str(node.port))
    assert not done.node["registered"]
    assert "no-such-cookie" not in done.output
    assert node.pid not in holders(epmd.port)
    assert listeners(epmd.port) == ({epmd.pid} if otp.release == 23 else set())
    if otp.release == 23:  # a newer node registers itself again as soon as there is an epmd
        assert epmd.names() == {}
        assert register(name="vic").changed


@pytest.mark.one_release
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["does not exist"]),
        ("", ["holds no cookie"]),
        ("two\nlines\n", ["holds no cookie"]),
        ("x" * 5000, ["holds no cookie"]),
    ],
    ids=["missing", "empty", "two lines", "too long"],
)
def test_a_cookie_file_without_a_cookie(
    epmd: Epmd, node: Node, register: Register, tmp_path: Path, content: str | None, words: list[str]
) -> None:
    before = life(node)
    forget(epmd, node)
    path = tmp_path / "cookie"
    if content is not None:
        path.write_text(content)
    refused(register(name="vic", cookie_file=str(path)), str(path), *words)
    assert not holders(epmd.port)
    assert life(node) == before


@pytest.mark.one_release
@pytest.mark.usefixtures("node")
def test_a_port_where_no_node_listens(register: Register) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        free = unused.getsockname()[1]
    refused(register(name="vic", port=free, cookie=COOKIE), f"port {free}", "nothing listens there")
    refused(register(name="vic", port=free), f"port {free}", "running")


@pytest.mark.one_release
@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (answer(b"SSH-2.0-OpenSSH_9.2p1\r\n"), ["SS", "more than"]),
        (answer(b"HTTP/1.1 400 Bad Request\r\n\r\n"), ["HT", "more than"]),
        (answer(b""), ["closed the connection"]),
        (answer(b"\x00\x03sok\x00\x00"), ["b'ok'", "lend us a name"]),
        (hang, ["no answer within"]),
    ],
    ids=["ssh", "http", "closes", "other status", "hangs"],
)
def test_a_port_with_another_protocol(epmd: Epmd, register: Register, handler: Any, words: list[str]) -> None:
    with FakeServer(handler) as server:
        done = register(name="vic", port=server.port, cookie=COOKIE, epmd_port=epmd.port, timeout=2)
        refused(done, f"port {server.port}", *words)
        assert done.result["missing"] == []
    assert epmd.names() == {}


@pytest.mark.one_release
@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (hang, ["no answer within"]),
        (answer(b"\x00\x00\x11\x11name vic at port xyz\n"), ["malformed"]),
        (answer(b"HTTP/1.1 400 Bad Request"), ["cut off"]),
        (answer(b""), ["closed the connection without an answer"]),
    ],
    ids=["hangs", "garbage", "http", "closes"],
)
def test_something_else_on_the_port_of_epmd(
    epmd: Epmd, node: Node, register: Register, handler: Any, words: list[str]
) -> None:
    forget(epmd, node)
    before = life(node)
    with FakeServer(handler, port=epmd.port):
        done = refused(register(name="vic", timeout=4), "epmd gives no table", f"pid {os.getpid()} ", *words)
        assert done.node["verdict"] == "epmd_unresponsive"
        assert life(node) == before
    assert register(name="vic").changed


@pytest.mark.one_release
def test_a_stopped_epmd(epmd: Epmd, node: Node, register: Register) -> None:
    before = life(node)
    epmd.suspend()
    done = refused(register(name="vic", timeout=4), "epmd gives no table", f"pid {epmd.pid} ")
    assert done.node["verdict"] == "epmd_unresponsive"
    epmd.resume()
    assert life(node) == before
    assert not register(name="vic").changed


@pytest.mark.one_release
def test_without_rights_to_see_the_process(epmd: Epmd, node: Node) -> None:
    lose(epmd, node)
    outcome = as_nobody(lambda: ensure(Options(["vic"], None, None, None, None, True, 10), Mode.REPAIR))
    assert (outcome.failed, outcome.changed) == (True, False)
    for words in ("vic", f"pid {node.pid}", "belongs to root", "nobody may not see", "run with become"):
        assert words in outcome.msg
    assert node.pid not in holders(epmd.port)


@pytest.mark.one_release
def test_a_cookie_file_that_may_not_be_read(epmd: Epmd, node: Node) -> None:
    lose(epmd, node)
    path = str(node.home / ".erlang.cookie")
    outcome = as_nobody(lambda: ensure(Options(["vic"], node.port, None, path, epmd.port, True, 10), Mode.REPAIR))
    assert (outcome.failed, outcome.changed) == (True, False)
    for words in (path, "can't be read", "run with become"):
        assert words in outcome.msg
    assert node.pid not in holders(epmd.port)


def hide_processes() -> None:
    """Mount /proc with hidepid, as some hosts do, for this process alone."""
    new_mounts = 0x20000  # CLONE_NEWNS
    if ctypes.CDLL(None).unshare(new_mounts) != 0:
        raise OSError("unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "proc", "-o", "hidepid=2", "proc", "/proc"], check=True)


@pytest.mark.one_release
def test_hidden_processes(epmd: Epmd, node: Node) -> None:
    lose(epmd, node)
    outcome = as_nobody(lambda: ensure(Options(["vic"]), Mode.REPAIR), hide_processes)
    assert (outcome.failed, outcome.changed) == (True, False)
    for words in ("vic", "no such node runs here", "hides the processes of others from nobody", "run with become"):
        assert words in outcome.msg
    unnamed = as_nobody(lambda: ensure(Options([]), Mode.REPAIR), hide_processes)
    assert not unnamed.failed
    assert "hidepid" in unnamed.msg
    assert node.pid not in holders(epmd.port)
