# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cookie is shown nowhere, and used only for the node that it belongs to, whatever other users of the host try."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._ensure import Mode, ensure
from ansible_collections.beamops.epmd.plugins.module_utils._options import Options
from ansible_collections.beamops.epmd.plugins.module_utils._steps import distribution_port
from ansible_collections.beamops.epmd.tests.integration.support import COOKIE, AdHoc, lose
from ansible_collections.beamops.epmd.tests.lab import Epmd, FakeServer, Node, Otp


class Harvester:
    """A fake node that is after a digest: it goes through the handshake, and keeps what comes after its challenge."""

    def __init__(self, name: str) -> None:
        self.greeted = 0
        self.harvest = b""
        self._name = name.encode()

    def __call__(self, connection: socket.socket) -> None:
        connection.recv(4096)
        lent = b"1F2E3D@epmd_register"
        status = b"snamed:" + struct.pack(">H", len(lent)) + lent + struct.pack(">I", 1)
        flags = 0x1_0000_0000 | 0x5_07DF_7FBD
        challenge = b"N" + struct.pack(">QIIH", flags, 4711, 1, len(self._name)) + self._name
        connection.sendall(b"".join(struct.pack(">H", len(packet)) + packet for packet in (status, challenge)))
        self.greeted += 1
        while data := connection.recv(4096):
            self.harvest += data


@pytest.mark.one_release
def test_another_process_on_the_port_of_the_node_gets_no_digest(
    epmd: Epmd, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node ends after the module has looked at its sockets, and before it connects."""
    lose(epmd, node)
    port, pid, name = node.port, node.pid, node.name
    choose = distribution_port.candidates
    harvester = Harvester(name)
    with contextlib.ExitStack() as stack:

        def late(*arguments: object, **options: object) -> object:
            node.close()
            stack.enter_context(FakeServer(harvester, port=port, address="0.0.0.0"))
            return choose(*arguments, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(distribution_port, "candidates", late)
        outcome = ensure(Options(["vic"], timeout=5), Mode.REPAIR)
    assert outcome.failed
    assert "answered by another process than the node's" in outcome.msg
    assert outcome.nodes[0]["pid"] == pid
    assert harvester.greeted == 2  # when it was asked for its name, and when it was to be registered
    assert harvester.harvest == b""


@pytest.mark.one_release
def test_a_cookie_that_the_node_itself_may_not_read_is_not_used(
    open_otp: Otp, epmd: Epmd, ad_hoc: AdHoc, tmp_path: Path
) -> None:
    """A user starts a node with a well-known name and variables according to which its cookie is in a file of root."""
    place = tmp_path / "releases" / "COOKIE"
    place.parent.mkdir()
    place.write_text(COOKIE)
    place.chmod(0o640)
    env = {"RELEASE_NODE": "rabbit", "RELEASE_ROOT": str(tmp_path)}
    with open_otp.node(None, epmd_port=epmd.port, user="nobody", env=env, set_cookie_arg=False) as mallory:
        mallory.eval("{ok, _} = net_kernel:start([rabbit, shortnames])")
        lose(epmd, mallory)
        done = ad_hoc(name="rabbit")
        assert done.failed
        assert f"{place} can't be read" in done.msg
        assert "Invalid challenge reply" not in mallory.log  # which a digest of that cookie would cause


@contextlib.contextmanager
def command_lines() -> Iterator[set[bytes]]:
    """Every command line that can be seen while this lasts."""
    seen: set[bytes] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            for entry in os.listdir("/proc"):
                with contextlib.suppress(OSError):
                    if entry.isdigit():
                        seen.add(Path("/proc", entry, "cmdline").read_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


@pytest.mark.one_release
@pytest.mark.parametrize("given", [False, True], ids=["found", "given"])
def test_the_cookie_shows_nowhere(otp: Otp, epmd: Epmd, ad_hoc: AdHoc, tmp_path: Path, given: bool) -> None:
    """Every test looks for it in the output; this one also in logs, files and command lines."""
    log = tmp_path / "ansible.log"
    environment = {"ANSIBLE_LOG_PATH": str(log), "ANSIBLE_KEEP_REMOTE_FILES": "1"}
    options = {"cookie": COOKIE} if given else {}
    with otp.node("vic", epmd_port=epmd.port, cookie=COOKIE, set_cookie_arg=False) as node:
        lose(epmd, node)
        with command_lines() as seen:
            done = ad_hoc("-vvvvv", "--diff", environment=environment, name="vic", **options)
        assert done.changed, done.output
        assert any(b"epmd_register" in line for line in seen)
        assert not [line for line in seen if COOKIE.encode() in line]
        assert log.stat().st_size > 1000
        holding = [
            path
            for path in tmp_path.rglob("*")
            if path.is_file() and COOKIE.encode() in path.read_bytes() and path.name != "secrets.json"
        ]
        # As documented: Ansible itself keeps its arguments in this file.
        assert [path.name for path in holding] == (["AnsiballZ_epmd_register.py"] if given else [])
        assert COOKIE not in json.dumps(done.result)
