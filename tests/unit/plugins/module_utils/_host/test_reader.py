# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two ways to read the host give the same answers, and the right one is taken.

For `_host/interface.py`, too: each case runs against both ways, on real processes and sockets.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils import _limits
from ansible_collections.beamops.epmd.plugins.module_utils._errors import PsutilMissing
from ansible_collections.beamops.epmd.plugins.module_utils._host import linux, portable, reader, sock_diag
from ansible_collections.beamops.epmd.plugins.module_utils._host.interface import Process, Reader, Socket
from ansible_collections.beamops.epmd.plugins.module_utils._host.owners import is_epmd
from ansible_collections.beamops.epmd.plugins.module_utils._host.vms import is_emulator
from ansible_collections.beamops.epmd.tests.fakes import create_server
from ansible_collections.beamops.epmd.tests.nobody import as_nobody
from ansible_collections.beamops.epmd.tests.unit.plugins.module_utils._host.support import (
    AS_ROOT,
    GONE,
    forked,
    listening,
    running,
)

SELF = os.getpid()


@pytest.fixture(params=[linux.Linux, portable.Portable])
def host(request: pytest.FixtureRequest) -> Reader:
    found: Reader = request.param()
    return found


def plain(sockets: list[Socket]) -> list[Socket]:
    """What both can tell of sockets."""
    return sorted(found._replace(uid=None, backlog=None, inode=None) for found in sockets)


class TestProcess:
    def test_a_process_is_read_with_all_that_it_says(self, host: Reader) -> None:
        environment = {"ERL_EPMD_PORT": "4711", "EMPTY": "", "SIGNS": "a=b \n\u00e9\udcff", "LC_ALL": "C.UTF-8"}
        with running("beam.smp", "--", "-home", "", "\u00e9\udcff -x\n", environment=environment) as (pid, _line):
            found = host.process(pid)
            assert (found.pid, found.name, found.uid) == (pid, "beam.smp", os.geteuid())
            assert found.executable == os.path.realpath(sys.executable)
            assert found.arguments[3:] == ["beam.smp", "--", "-home", "", "\u00e9\udcff -x\n"]
            assert found.environment == environment

    def test_both_ways_agree(self) -> None:
        with running("epmd", "-daemon", environment={"A": "b"}) as (pid, _line):
            for one in (pid, SELF):
                assert linux.Linux().process(one) == portable.Portable().process(one)

    @pytest.mark.parametrize(("length", "whole"), [(1000, True), (_limits.MAX_COMMAND_LINE, False)])
    def test_a_command_line_that_no_honest_program_has_is_not_read(
        self, host: Reader, length: int, whole: bool
    ) -> None:
        with running("x", *["y"] * (length // 2)) as (pid, _line):
            assert host.process(pid).arguments[3:] == (["x", *["y"] * (length // 2)] if whole else [])

    @pytest.mark.parametrize(("count", "whole"), [(1, True), (12, False)])
    def test_an_environment_that_no_honest_program_has_is_not_read(self, host: Reader, count: int, whole: bool) -> None:
        environment = {f"X{number}": "x" * 100_000 for number in range(count)}
        with running("x", environment=environment) as (pid, _line):
            found = host.process(pid).environment
            assert {**found, **environment} == found if whole else found == {}

    def test_one_that_has_ended_is_an_error(self, host: Reader) -> None:
        with subprocess.Popen([sys.executable, "-c", ""]) as ended:
            # Not waited for, so that it stays as a zombie.
            os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
            for pid in (GONE, ended.pid):
                with pytest.raises(ProcessLookupError):
                    host.process(pid)

    @AS_ROOT
    def test_what_is_hidden_is_none_or_empty(self, host: Reader) -> None:
        with subprocess.Popen(["sleep", "600"], env={"SECRET": "x"}) as process:
            try:
                found = as_nobody(lambda: host.process(process.pid))
            finally:
                process.kill()
        assert found == Process(process.pid, "sleep", 0, None, ["sleep", "600"], {})


class TestNames:
    def test_processes_are_found_by_their_command_name(self, host: Reader) -> None:
        with running("beam.smp") as (first, _line), running("beam.smp-not") as (other, _line):
            found = host.pids_called(is_emulator)
            assert first in found
            assert other not in found
            assert found == sorted(found)
            assert host.names()[other] == "beam.smp-not"

    def test_what_is_known_is_what_was_there_at_the_last_look(self, host: Reader) -> None:
        assert host.known_pids_called(lambda _name: True) == []
        with running("epmd") as (pid, _line):
            assert pid not in host.known_pids_called(is_epmd)
            assert pid in host.pids_called(is_epmd)
        assert pid in host.known_pids_called(is_epmd)
        assert pid not in host.pids_called(is_epmd)


ADDRESSES = [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "::1"), ("::", "::1")]


class Four:
    """Two listeners, and a connection to the first: both of its ends."""

    def __init__(self, address: str, dialled: str) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.address, self.dialled = address, dialled
        self.server = create_server((address, 0), family=family, backlog=7)
        self.other = create_server((address, 0), family=family)
        self.port, self.free = self.server.getsockname()[1], self.other.getsockname()[1]
        self.client = socket.create_connection((dialled, self.port))
        self.accepted = self.server.accept()[0]
        self.own_port = self.client.getsockname()[1]

    def close(self) -> None:
        for one in (self.accepted, self.client, self.other, self.server):
            one.close()


@pytest.fixture(params=ADDRESSES, ids=lambda pair: pair[0])
def four(request: pytest.FixtureRequest) -> Iterator[Four]:
    found = Four(*request.param)
    yield found
    found.close()


class TestSockets:
    def test_listeners_are_found(self, host: Reader, four: Four) -> None:
        expected = Socket(four.address, four.port, "", 0, None, None, None)
        assert plain(host.listening(four.port)) == [expected]
        assert {expected, expected._replace(port=four.free)} <= set(plain(host.listening()))
        assert host.listening(four.own_port) == []

    def test_connections_are_found_by_either_end(self, host: Reader, four: Four) -> None:
        client = Socket(four.dialled, four.own_port, four.dialled, four.port, None, None, None)
        accepted = Socket(four.dialled, four.port, four.dialled, four.own_port, None, None, None)
        assert plain(host.connected(remote_port=four.port)) == [client]
        assert plain(host.connected(local_port=four.port)) == [accepted]
        assert plain(host.connected(four.own_port, four.port)) == [client]
        assert {client, accepted} <= set(plain(host.connected()))
        assert host.connected(four.free, four.port) == []
        assert host.connected(remote_port=four.free) == []

    def test_a_connection_is_found_by_both_of_its_ends(self, host: Reader, four: Four) -> None:
        server, own = (four.dialled, four.port), (four.dialled, four.own_port)
        accepted = Socket(four.dialled, four.port, four.dialled, four.own_port, None, None, None)
        assert plain(host.between(server, own)) == [accepted]
        assert plain(host.between(own, server))[0].port == four.own_port
        # Behind the first of these the kernel finds the listener.
        for ends in ((server, (four.dialled, four.free)), (server, server), ((four.dialled, 1), own)):
            assert host.between(*ends) == []

    def test_a_kernel_that_only_gives_lists_is_asked_for_one(self, four: Four, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_ends: object) -> None:
            raise OSError(95, "Operation not supported")

        ends = (four.dialled, four.port), (four.dialled, four.own_port)
        expected = linux.Linux().between(*ends)
        monkeypatch.setattr(sock_diag, "between", refuse)
        assert linux.Linux().between(*ends) == expected != []

    def test_both_ways_agree(self, four: Four) -> None:
        one, other = linux.Linux(), portable.Portable()
        for port in (four.port, four.free):
            assert plain(one.listening(port)) == plain(other.listening(port)) != []
        for ports in ((four.own_port, None), (four.port, None), (None, four.port), (four.port, four.own_port)):
            assert plain(one.connected(*ports)) == plain(other.connected(*ports)) != []

    def test_a_process_holds_its_own(self, host: Reader, four: Four) -> None:
        sockets = host.listening() + host.connected(remote_port=four.port) + host.connected(local_port=four.port)
        held = {found.port: fd for found, fd in host.descriptors(SELF, sockets).items() if not found.remote_port}
        assert {held[four.port], held[four.free]} == {four.server.fileno(), four.other.fileno()}
        (accepted,) = host.descriptors(SELF, host.connected(local_port=four.port)).values()
        assert accepted == four.accepted.fileno()
        assert host.descriptors(SELF, []) == {}
        with running("x") as (pid, _line):
            assert host.descriptors(pid, sockets) == {}

    def test_a_socket_with_two_descriptors_has_the_lowest(self, host: Reader, four: Four) -> None:
        with four.server.dup():
            assert list(host.descriptors(SELF, host.listening(four.port)).values()) == [four.server.fileno()]

    def test_looking_for_enough_finds_at_least_these(self, host: Reader, four: Four) -> None:
        sockets, enough = host.listening(), host.listening(four.port)
        assert set(enough) <= set(host.descriptors(SELF, sockets, [enough]))

    def test_holders_are_found(self, host: Reader, four: Four) -> None:
        (server,) = host.listening(four.port)
        with listening("epmd") as (pid, port):
            (theirs,) = host.listening(port)
            gone = theirs._replace(port=four.own_port, inode=1)
            assert host.holders([server, theirs, gone]) == {server: [SELF], theirs: [pid]}
        assert host.holders([theirs]) == {}
        assert host.holders([]) == {}

    def test_a_socket_may_have_several_holders(self, four: Four) -> None:
        """Of which psutil tells one."""
        with forked(lambda: None) as child:
            (server,) = linux.Linux().listening(four.port)
            assert linux.Linux().holders([server]) == {server: sorted([SELF, child])}
            (server,) = portable.Portable().listening(four.port)
            assert set(portable.Portable().holders([server])[server]) <= {SELF, child}

    def test_a_process_that_has_ended_is_an_error(self, host: Reader, four: Four) -> None:
        with pytest.raises(ProcessLookupError):
            host.descriptors(GONE, host.listening(four.port))

    @AS_ROOT
    def test_the_sockets_of_others_are_an_error(self, host: Reader) -> None:
        with listening("epmd") as (pid, port):
            with pytest.raises(PermissionError):
                as_nobody(lambda: host.descriptors(pid, host.listening(port)))
            assert as_nobody(lambda: host.holders(host.listening(port))) == {}
            assert len(as_nobody(lambda: host.listening(port))) == 1


@AS_ROOT
@pytest.mark.parametrize("way", ["linux.Linux", "portable.Portable"])
def test_that_descriptors_are_hidden_is_an_error_also_where_no_socket_is_looked_for(way: str) -> None:
    """As of a node whose network namespace is hidden from a root without all rights."""
    with subprocess.Popen(["sleep", "600"]) as other:
        script = f"from {reader.__package__} import linux, portable; {way}().descriptors({other.pid}, [])"
        without = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"]
        try:
            done = subprocess.run([*without, sys.executable, "-c", script], stderr=subprocess.PIPE, check=False)
        finally:
            other.kill()
    assert b"PermissionError" in done.stderr


class TestChoice:
    @pytest.fixture(autouse=True)
    def _anew(self) -> Iterator[None]:
        reader.reader.cache_clear()
        yield
        reader.reader.cache_clear()

    @pytest.fixture
    def refusing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A kernel without sock_diag for TCP."""

        def refuse(*_arguments: Any, **_options: Any) -> None:
            raise FileNotFoundError(2, "No such file or directory")

        monkeypatch.setattr(sock_diag, "_dump", refuse)

    def test_the_kernel_is_asked_where_it_answers(self) -> None:
        assert isinstance(reader.reader(), linux.Linux)
        assert reader.reader() is reader.reader()

    @pytest.mark.usefixtures("refusing")
    def test_psutil_stands_in_where_it_does_not(self) -> None:
        assert isinstance(reader.reader(), portable.Portable)

    def test_psutil_stands_in_where_this_is_not_linux(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "platform", "freebsd14")
        assert isinstance(reader.reader(), portable.Portable)

    @pytest.mark.usefixtures("refusing")
    def test_without_psutil_it_says_what_is_missing_and_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(portable, "HAS_PSUTIL", False)
        for _again in range(2):
            with pytest.raises(PsutilMissing) as caught:
                reader.reader()
            message = str(caught.value)
            assert message.startswith(f"psutil is missing for {sys.executable}, and the kernel of this host does not ")
            assert "(sock_diag: No such file or directory): install it (python3-psutil)" in message
            assert message.endswith(", or give name, port and cookie_file")

    def test_without_psutil_its_file_can_be_imported(self) -> None:
        """Else ansible-test would refuse the collection."""
        script = f"import sys; sys.modules['psutil'] = None; from {portable.__name__} import HAS_PSUTIL"
        subprocess.run([sys.executable, "-c", f"{script}; assert not HAS_PSUTIL"], check=True)

    def test_a_healthy_host_loads_no_more_than_it_needs(self) -> None:
        """Each module costs time on every target, and these cost most."""
        script = (
            f"import sys; from {reader.__package__} import owners, systemd, vms; vms.find(); owners.epmds(4369); "
            "owners.sockets_of(vms.UNKNOWN, 4369); print(*sys.modules)"
        )
        shown = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True)
        loaded = set(shown.stdout.decode().split())
        assert sock_diag.__name__ in loaded
        assert not {"psutil", "ctypes", "pickle", "ssl", "subprocess", "tempfile", portable.__name__} & loaded
