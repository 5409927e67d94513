# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes of OTP 17 to 22, which use the older handshake and lend no names: fake nodes, and real epmds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._deadline import Deadline
from ansible_collections.beamops.epmd.plugins.module_utils._wire.node import OLD_NAME, NodeConnection
from ansible_collections.beamops.epmd.tests.integration.kinds_table import Saw
from ansible_collections.beamops.epmd.tests.integration.support import COOKIE, NEWEST, Register, Run
from ansible_collections.beamops.epmd.tests.lab import Epmd, OldNode, forget, holders

pytestmark = pytest.mark.one_release

COLUMN = "OTP 17 to 22 (fake)"
"""These lines do not depend on the release of epmd."""

DISALLOWED = f"** Connection attempt from disallowed node {OLD_NAME} **\n"


@pytest.fixture(params=[17, 22])
def release(request: pytest.FixtureRequest) -> int:
    """The oldest and the newest of them."""
    return int(request.param)


@pytest.fixture
def old(release: int, epmd: Epmd) -> Iterator[OldNode]:
    """A healthy node."""
    with OldNode(epmd, "vic", release=release, cookie=COOKIE) as running:
        yield running


def lose(epmd: Epmd, old: OldNode) -> None:
    """Nodes up to OTP 23.2 do not register themselves again."""
    forget(epmd, old)
    epmd.start()
    assert epmd.names() == {}


def connect(old: OldNode) -> NodeConnection:
    """A connection as of another run of the module, which has got its challenge."""
    return NodeConnection.open("127.0.0.1", old.port, Deadline(100), Deadline(100))


def assert_refused(done: Run, epmd: Epmd, words: str) -> None:
    assert done.failed, done.output
    assert not done.changed
    assert done.node["verdict"] == "missing"
    assert words in done.msg
    assert "\n" not in done.msg
    assert epmd.names() == {}
    assert not holders(epmd.port)


@pytest.mark.parametrize(("release", "how"), [(17, "found"), (22, "by its port")])
def test_a_lost_node_is_registered_again(epmd: Epmd, old: OldNode, register: Register, saw: Saw, how: str) -> None:
    options: dict[str, Any] = {"name": "vic"}
    if how == "by its port":
        options.update(port=old.port, cookie=COOKIE, epmd_port=epmd.port)
    healthy = register(**options)
    assert (healthy.changed, healthy.node["verdict"], healthy.node["name"]) == (False, "registered", old.name)
    lose(epmd, old)
    predicted = register("--check", **options)
    assert (predicted.changed, predicted.node["verdict"]) == (True, "missing")
    assert epmd.names() == {}
    done = register(**options)
    assert done.changed, done.output
    assert (done.node["verdict"], done.node["registered"]) == ("missing", True)
    assert (done.node["name"], done.node["pid"]) == (old.name, old.pid if how == "found" else None)
    assert epmd.names() == {"vic": old.port}
    assert holders(epmd.port) == {old.pid}
    assert not register(**options).changed
    assert old.log == ""
    saw("older handshake", COLUMN, "missing, registered again")


@NEWEST
def test_a_wrong_cookie(epmd: Epmd, old: OldNode, register: Register, saw: Saw) -> None:
    lose(epmd, old)
    assert_refused(register(name="vic", cookie="no-such-cookie"), epmd, "refused the cookie")
    assert old.log == DISALLOWED
    assert register(name="vic").changed
    saw("older handshake, another cookie", COLUMN, "fails: it refused the cookie")


@NEWEST
def test_a_node_that_is_connecting_to_us(epmd: Epmd, old: OldNode, register: Register, saw: Saw) -> None:
    lose(epmd, old)
    pending = connect(old)
    assert_refused(register(name="vic"), epmd, "it is connecting to a node of our name at this moment; try again")
    pending.close()
    assert register(name="vic").changed
    assert old.log == ""
    saw("older handshake, status nok", COLUMN, "fails: try again")


@NEWEST
def test_a_node_that_gives_way(epmd: Epmd, release: int, register: Register, saw: Saw) -> None:
    # If two nodes connect to each other, the one whose name sorts first gives way.
    with OldNode(epmd, "alice", release=release, cookie=COOKIE) as old:
        lose(epmd, old)
        pending = connect(old)
        done = register(name="alice")
        assert done.changed, done.output
        assert epmd.names() == {"alice": old.port}
        pending.close()
        assert old.log == ""
        saw("older handshake, status ok_simultaneous", COLUMN, "missing, registered again")


@NEWEST
def test_a_node_to_which_another_run_is_connected(epmd: Epmd, old: OldNode, register: Register, saw: Saw) -> None:
    lose(epmd, old)
    other = connect(old)
    other.authenticate(COOKIE.encode())
    assert_refused(register(name="vic"), epmd, "another run is connected to it at this moment; try again")
    # Our run has not cut off the other one.
    assert other.call("erl_epmd", "register_node", [[ord(letter) for letter in "vic"], old.port])
    assert epmd.names() == {"vic": old.port}
    other.close()
    assert not register(name="vic").changed
    assert old.log == ""
    saw("older handshake, status alive", COLUMN, "fails: try again; the other connection stays open")


@NEWEST
@pytest.mark.parametrize("allow", ["other@host", OLD_NAME])
def test_a_node_that_allows_only_one_other(epmd: Epmd, release: int, register: Register, saw: Saw, allow: str) -> None:
    with OldNode(epmd, "vic", release=release, cookie=COOKIE, allow=allow) as old:
        lose(epmd, old)
        done = register(name="vic")
        if allow == OLD_NAME:
            assert done.changed, done.output
            assert epmd.names() == {"vic": old.port}
            saw("older handshake, net_kernel:allow/1 with us", COLUMN, "missing, registered again")
            return
        assert_refused(done, epmd, f"does not allow us to connect: call net_kernel:allow(['{OLD_NAME}']) in it")
        assert old.log == DISALLOWED
        saw("older handshake, net_kernel:allow/1 without us", COLUMN, "fails: one refusal in its log")
