# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose a socket is, on real processes and in both ways to read the host, and what is hidden or can't be read.

Tests `_host/searches.py` and `_host/connections.py`, too.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._errors import EpmdError, NotPermitted, PsutilMissing
from ansible_collections.beamops.epmd.plugins.module_utils._host import connections, owners, searches, vms
from ansible_collections.beamops.epmd.plugins.module_utils._host.interface import Reader, Socket
from ansible_collections.beamops.epmd.plugins.module_utils._host.linux import Linux
from ansible_collections.beamops.epmd.plugins.module_utils._host.owners import Listener, Sockets, Sought
from ansible_collections.beamops.epmd.plugins.module_utils._host.portable import Portable
from ansible_collections.beamops.epmd.plugins.module_utils._wire.transport import Address
from ansible_collections.beamops.epmd.tests.fakes import create_server
from ansible_collections.beamops.epmd.tests.nobody import as_nobody
from ansible_collections.beamops.epmd.tests.unit.plugins.module_utils._host.support import (
    AS_ROOT,
    GONE,
    forked,
    listening,
)

SELF = os.getpid()
OURS = vms.UNKNOWN._replace(pid=SELF, uid=os.geteuid(), user="us")


@pytest.fixture(params=[Linux, Portable])
def host(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """A way to read the host, which is taken."""
    found: Reader = request.param()
    monkeypatch.setattr(owners, "reader", lambda: found)
    return found


@pytest.mark.usefixtures("host")
class TestOfVm:
    @pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1"])
    def test_it_has_listeners_and_connections_to_epmd(self, host: Reader, address: str) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        dialled = "::1" if ":" in address else "127.0.0.1"
        first = create_server((address, 0), family=family, backlog=7)
        second = create_server((address, 0), family=family)
        held, free = first.getsockname()[1], second.getsockname()[1]
        client = socket.create_connection((dialled, held))
        with first, second, client, first.accept()[0]:
            found = owners.sockets_of(OURS, held)
            assert (found.to_epmd, found.clients) == ({client.getsockname()[1]}, 1)
            backlog = 7 if isinstance(host, Linux) else None
            assert Listener(first.fileno(), address, held, backlog) in found.listeners
            assert [listener.fd for listener in found.listeners] == sorted(one.fd for one in found.listeners)
            assert {held, free} <= {listener.port for listener in found.listeners}
            found = owners.sockets_of(OURS, free)
            assert (found.to_epmd, found.clients) == (set(), 0)

    @pytest.mark.parametrize("uid", [os.geteuid(), os.geteuid() + 1, None])
    def test_its_sockets_need_not_be_of_its_user(self, uid: int | None) -> None:
        with create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            assert port in {found.port for found in owners.sockets_of(OURS._replace(uid=uid), 1).listeners}

    @pytest.mark.parametrize("is_connected", [True, False])
    def test_of_one_with_many_sockets_no_more_are_read_than_needed(
        self, host: Reader, is_connected: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Others of its user listen, too: that all of theirs are found can't be waited for."""
        real, read = os.readlink, []

        def counted(path: str) -> str:
            read.append(path)
            return real(path)

        with contextlib.ExitStack() as stack:
            epmd = stack.enter_context(create_server(("127.0.0.1", 0)))
            theirs, _port = stack.enter_context(listening("epmd"))
            server = stack.enter_context(create_server(("127.0.0.1", 0)))
            port, epmd_port = server.getsockname()[1], epmd.getsockname()[1]
            if is_connected:
                stack.enter_context(socket.create_connection(("127.0.0.1", epmd_port)))
            for _number in range(500):
                stack.enter_context(socket.socket())
            monkeypatch.setattr(os, "readlink", counted)
            found = owners.sockets_of(OURS, epmd_port, Sought(lambda one: one.port == port, connection=is_connected))
            assert theirs != SELF
            assert port in {listener.port for listener in found.listeners}
            assert (len(found.to_epmd), found.are_all) == (is_connected, isinstance(host, Portable))
            assert len(read) < 300 or isinstance(host, Portable)
            monkeypatch.undo()
            assert owners.sockets_of(OURS, epmd_port, Sought(lambda _one: False, connection=False)).are_all

    def test_it_may_have_no_pid_or_have_ended(self) -> None:
        with create_server(("127.0.0.1", 0)):
            assert owners.sockets_of(vms.UNKNOWN, 4369) == Sockets([], set())
            assert owners.sockets_of(OURS._replace(pid=GONE), 4369) == Sockets([], set())

    @AS_ROOT
    def test_it_may_not_be_ours_to_see(self) -> None:
        with listening("beam.smp") as (pid, _port):
            refused = pytest.raises(NotPermitted, match=f"pid {pid} .* run with become")
            with refused:
                as_nobody(lambda: owners.sockets_of(OURS._replace(pid=pid), 4369))


@pytest.mark.usefixtures("host")
class TestEpmds:
    @pytest.mark.parametrize("name", ["epmd", "beam.smp"])
    def test_only_a_process_called_epmd_is_one(self, name: str) -> None:
        with listening(name) as (pid, port):
            found = pid if name == "epmd" else None
            for _again in range(2):  # at first it is not known yet
                assert owners.epmds(port) == [(found, ["127.0.0.1"])]
                assert searches.epmd_pid(port) == found
        assert owners.epmds(port) == []
        assert searches.epmd_pid(port) is None

    def test_one_that_serves_two_addresses_is_one(self) -> None:
        with create_server(("127.0.0.1", 0)) as first:
            port = first.getsockname()[1]
            with create_server(("::1", port), family=socket.AF_INET6):

                def named() -> None:
                    Path("/proc/self/comm").write_text("epmd")

                with forked(named) as pid:
                    assert owners.epmds(port) == [(pid, ["127.0.0.1", "::1"])]
                assert owners.epmds(port) == [(None, ["127.0.0.1", "::1"])]
                assert owners.addresses(port) == ["127.0.0.1", "::1"]

    def test_of_two_on_one_port_each_has_its_addresses(self) -> None:
        with listening("epmd") as (pid, port):
            other = create_server(("::1", port), family=socket.AF_INET6)
            with other:
                assert owners.epmds(port) == [(pid, ["127.0.0.1"]), (None, ["::1"])]

    @AS_ROOT
    def test_one_that_is_hidden_is_not_named(self) -> None:
        with listening("epmd") as (_pid, port):
            assert as_nobody(lambda: owners.epmds(port)) == [(None, ["127.0.0.1"])]
            assert as_nobody(lambda: searches.epmd_pid(port)) is None


@pytest.mark.usefixtures("host")
class TestListening:
    def test_the_owner_of_a_port(self, host: Reader) -> None:
        with listening("beam.smp") as (pid, port), create_server(("127.0.0.1", 0)) as server:
            ours = server.getsockname()[1]
            assert searches.listening_pids(port) == [pid]
            assert searches.listening_pids(ours) == [SELF]
            found = searches.listening_owners()
            assert (found[port], found[ours]) == (pid, SELF)
            assert owners.addresses(port) == ["127.0.0.1"]
            assert searches.listening_uid(port) == (os.geteuid() if isinstance(host, Linux) else None)
            assert searches.listening_emulator(port) == os.readlink(f"/proc/{pid}/exe")
            assert searches.listening_emulator(ours) is None
        assert (searches.listening_pids(port), owners.addresses(port)) == ([], [])
        assert (searches.listening_uid(port), searches.listening_emulator(port)) == (None, None)
        assert port not in searches.listening_owners()

    @AS_ROOT
    def test_an_owner_that_is_hidden_is_nobody(self) -> None:
        with listening("beam.smp") as (_pid, port):
            assert as_nobody(lambda: searches.listening_pids(port)) == []
            assert as_nobody(lambda: port in searches.listening_owners()) is False
            assert as_nobody(lambda: searches.listening_emulator(port)) is None
            assert as_nobody(lambda: owners.addresses(port)) == ["127.0.0.1"]

    def test_of_several_owners_of_a_port_it_is_the_lowest(self) -> None:
        with listening("epmd") as (pid, port):
            other = create_server(("::1", port), family=socket.AF_INET6)
            with other:
                assert searches.listening_owners()[port] == min(pid, SELF)
                assert searches.listening_pids(port) == sorted([pid, SELF])


@pytest.mark.usefixtures("host")
class TestPortOfEpmd:
    """Who has the port of an epmd: this process, which is none."""

    @pytest.fixture
    def port(self) -> Iterator[int]:
        with create_server(("127.0.0.1", 0)) as one:
            at = int(one.getsockname()[1])
            with create_server(("127.0.0.2", at)):
                yield at

    def test_each_process_has_its_addresses(self, port: int) -> None:
        assert searches.listening_at(port) == {SELF: ["127.0.0.1", "127.0.0.2"]}

    def test_a_stranger_is_one_that_listens_where_no_epmd_does(
        self, port: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = searches.strangers(port, ["127.0.0.2"])
        assert found == {SELF: ["127.0.0.1", "127.0.0.2"]}
        assert searches.strangers(port, ["::1"]) == {}
        # It may be an epmd of that user.
        monkeypatch.setattr(os, "geteuid", lambda: 4711)
        assert searches.strangers(port, ["127.0.0.2"]) == {}

    @pytest.mark.parametrize(
        ("name", "epmds", "is_awaited"),
        [("systemd", [], True), ("epmd", [], False), ("systemd", [SELF], False)],
        ids=["systemd", "another name", "an epmd runs"],
    )
    def test_systemd_may_listen_in_place_of_an_epmd(
        self, port: int, name: str, epmds: list[int], is_awaited: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(owners, "_name", lambda _pid: name)
        monkeypatch.setattr(owners, "pids_called", lambda *_given, **_options: epmds)
        assert owners.is_awaited(port) is is_awaited

    def test_an_epmd_of_another_network_is_not_this_one(self, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(owners, "_name", lambda _pid: "systemd")
        monkeypatch.setattr(owners, "pids_called", lambda *_given, **_options: [SELF])
        monkeypatch.setattr(owners.namespaces, "network_of", lambda _pid: 7)  # type: ignore[attr-defined]
        assert owners.is_awaited(port)

    def test_where_nothing_listens_nobody_waits(self) -> None:
        assert not owners.is_awaited(1)


@pytest.mark.usefixtures("host")
class TestConnections:
    @pytest.fixture
    def ends(self) -> Iterator[tuple[socket.socket, socket.socket]]:
        """A client, and its connection as a server has accepted it."""
        with create_server(("127.0.0.1", 0)) as server, socket.create_connection(
            server.getsockname()
        ) as client, server.accept()[0] as accepted:
            yield client, accepted

    def test_who_is_connected(self, ends: tuple[socket.socket, socket.socket]) -> None:
        client, _accepted = ends
        port, own_port = client.getpeername()[1], client.getsockname()[1]
        assert searches.connected_pids(port, None) == [SELF]
        assert searches.connected_pids(port, own_port) == [SELF]
        assert searches.connected_pids(port, port) == []

    def test_what_is_at_the_other_end(self, ends: tuple[socket.socket, socket.socket]) -> None:
        client, accepted = ends
        port, own_port = client.getpeername()[1], client.getsockname()[1]
        assert connections.peer_port(SELF, accepted.fileno(), port) == own_port
        for descriptor in (client.fileno(), 10**6):
            assert connections.peer_port(SELF, descriptor, port) is None
        assert connections.peer_port(GONE, 3, port) is None

    def test_who_has_accepted_it(self, ends: tuple[socket.socket, socket.socket]) -> None:
        client, _accepted = ends
        server, own = Address(*client.getpeername()), Address(*client.getsockname())
        assert connections.accepted(SELF, server, own)
        assert not connections.accepted(SELF, server, server)
        assert not connections.accepted(SELF, own, own)
        for pid in (os.getppid(), GONE):
            assert not connections.accepted(pid, server, own)

    def test_a_connection_with_the_same_ports_and_other_addresses_is_another(
        self, ends: tuple[socket.socket, socket.socket]
    ) -> None:
        client, _accepted = ends
        server, own = Address(*client.getpeername()), Address(*client.getsockname())
        for host in ("127.0.0.2", "::1"):
            assert not connections.accepted(SELF, server._replace(host=host), own)
            assert not connections.accepted(SELF, server, own._replace(host=host))

    def test_a_listener_of_both_families_has_accepted_a_client_of_ipv4(self) -> None:
        with socket.socket(socket.AF_INET6) as server:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            server.bind(("::", 0))
            server.listen(1)
            with socket.create_connection(("127.0.0.1", server.getsockname()[1])) as client:
                accepted = server.accept()[0]
                assert connections.accepted(SELF, Address(*client.getpeername()), Address(*client.getsockname()))
                accepted.close()

    @AS_ROOT
    def test_what_is_hidden_is_nobodys(self, ends: tuple[socket.socket, socket.socket]) -> None:
        client, accepted = ends
        port = client.getpeername()[1]
        # The child that looks has inherited the sockets.
        assert SELF not in as_nobody(lambda: searches.connected_pids(port, None))
        assert as_nobody(lambda: connections.peer_port(SELF, accepted.fileno(), port)) is None
        there, own = Address(*client.getpeername()), Address(*client.getsockname())
        assert not as_nobody(lambda: connections.accepted(SELF, there, own))


class Refusing(Linux):
    """A host that answers no question about sockets."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def listening(self, *_ports: int | None) -> list[Socket]:
        raise self._error

    def connected(self, *_ports: int | None, **_named_ports: int | None) -> list[Socket]:
        raise self._error


@pytest.mark.parametrize("error", [PermissionError(13, "x"), OSError(5, "x"), PsutilMissing("x")])
def test_where_the_host_can_not_be_read_nothing_is_seen(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners, "reader", lambda: Refusing(error))
    assert (owners.epmds(4369), owners.addresses(4369), searches.listening_pids(4369)) == ([], [], [])
    assert (searches.epmd_pid(4369), searches.listening_uid(4369), searches.listening_emulator(4369)) == (
        None,
        None,
        None,
    )
    assert searches.listening_owners() == {}
    assert searches.connected_pids(4369, None) == []
    assert connections.peer_port(SELF, 3, 4369) is None
    assert not connections.accepted(SELF, Address("127.0.0.1", 4369), Address("127.0.0.1", 4369))


def test_the_largest_backlog_is_that_of_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert owners.largest_backlog() == int(Path("/proc/sys/net/core/somaxconn").read_text())
    monkeypatch.setattr(owners, "SOMAXCONN", str(tmp_path / "somaxconn"))
    assert owners.largest_backlog() > 65535
    (tmp_path / "somaxconn").write_text("garbage\n")
    assert owners.largest_backlog() > 65535


def test_a_system_that_does_not_list_its_sockets_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners, "reader", lambda: Refusing(OSError(errno.ENOBUFS, "No buffer space available")))
    with pytest.raises(EpmdError, match=r"does not list its TCP sockets \(No buffer space available\): run again"):
        owners.sockets_of(OURS, 4369)


@pytest.mark.parametrize(
    ("address", "dialled"), [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("::1", "::1"), ("192.0.2.1", "192.0.2.1")]
)
def test_a_listener_is_dialled_on_an_address_that_it_has(address: str, dialled: str) -> None:
    assert Listener(3, address, 4369).reachable == dialled


def test_an_epmd_that_is_known_costs_no_second_look_at_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Linux()
    monkeypatch.setattr(owners, "reader", lambda: host)
    with listening("epmd") as (pid, port):
        assert searches.epmd_pid(port) == pid
        monkeypatch.setattr(host, "names", lambda: pytest.fail("all processes were looked at again"))
        assert searches.epmd_pid(port) == pid


@pytest.mark.parametrize(("holders", "owner"), [([7, 8], 7), ([1, 8, 9], 8), ([1], 1)])
def test_of_several_holders_of_a_socket_the_owner_is_the_first_but_not_init(
    holders: list[int], owner: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd keeps the sockets that it hands to its services."""

    class Shared(Linux):
        def holders(self, sockets: Any) -> dict[Socket, list[int]]:
            return dict.fromkeys(sockets, holders)

    monkeypatch.setattr(owners, "reader", Shared)
    with create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert searches.listening_pids(port) == [owner]
        assert searches.listening_owners()[port] == owner
