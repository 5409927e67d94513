# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is special about /proc: rewritten command lines, what ends while it is read, and how little is read.

What it has in common with the other way is in `test_reader.py`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._host import linux
from ansible_collections.beamops.epmd.plugins.module_utils._host.linux import Linux
from ansible_collections.beamops.epmd.tests.fakes import create_server
from ansible_collections.beamops.epmd.tests.unit.plugins.module_utils._host.support import GONE

SELF = os.getpid()


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("", []),
        ("\0", [""]),
        ("a\0", ["a"]),
        ("a\0b c\0", ["a", "b c"]),
        ("a\0\0b\0", ["a", "", "b"]),
        ("a\0\0", ["a", ""]),
        ("a", ["a"]),
        ("a -b c", ["a", "-b", "c"]),
        ("a -b ", ["a", "-b"]),
        ("a -b c\0", ["a", "-b", "c"]),
        ("a\0b", ["a\0b"]),
    ],
)
def test_a_command_line_that_was_rewritten_is_parted_as_psutil_does(text: str, arguments: list[str]) -> None:
    assert linux._arguments(text) == arguments


@pytest.mark.parametrize(
    ("text", "environment"),
    [
        ("", {}),
        ("A=1\0B=2\0", {"A": "1", "B": "2"}),
        ("A=\0B==\0", {"A": "", "B": "="}),
        ("A=1\0A=2\0", {"A": "2"}),
        ("A=1\0\0B=2\0", {"A": "1"}),
        ("\0A=1\0", {}),
        ("A=1\0B=2", {"A": "1"}),
        ("A=1\0garbage\0=x\0B=2\0", {"A": "1", "B": "2"}),
    ],
)
def test_an_environment_ends_where_garbage_may_begin(text: str, environment: dict[str, str]) -> None:
    assert linux._environment(text) == environment


@pytest.mark.parametrize(
    ("status", "found"),
    [
        ("Name:\tbeam.smp\nState:\tS (sleeping)\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n", ("beam.smp", 2)),
        (
            "Name:\tUid:\t7\t7\t7\nUmask:\t0\nState:\tR (running)\nTgid:\t1\nUid:\t1\t2\t3\t4\n",
            ("Uid:\t7\t7\t7", 2),
        ),
        ("Name:\tbeam.smp\nState:\tZ (zombie)\nUid:\t1\t2\t3\t4\n", None),
        ("Name:\tbeam.smp\nState:\tX (dead)\nUid:\t1\t2\t3\t4\n", None),
        ("", None),
    ],
)
def test_the_status_of_a_process(status: str, found: tuple[str, int] | None) -> None:
    assert linux._read_status(status.encode()) == found


def test_a_program_that_was_deleted_has_its_path(tmp_path: Path) -> None:
    """As of a node that runs on after an upgrade."""
    program = tmp_path / "sleep"
    shutil.copy(shutil.which("sleep") or "", program)
    with subprocess.Popen([str(program), "600"]) as process:
        try:
            program.unlink()
            assert Linux().process(process.pid).executable == str(program)
        finally:
            process.kill()


def test_a_process_that_has_ended_has_no_name() -> None:
    assert linux._command_name(GONE) == ""


def test_a_process_that_ends_while_it_is_read_has_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_descriptor: int, _size: int) -> None:
        raise ProcessLookupError(3, "No such process")

    monkeypatch.setattr(os, "read", fail)
    before = os.listdir("/proc/self/fd")
    assert linux._command_name(SELF) == ""
    assert os.listdir("/proc/self/fd") == before


def test_the_kernel_tells_user_backlog_and_inode() -> None:
    with create_server(("127.0.0.1", 0), backlog=7) as server:
        port = server.getsockname()[1]
        (found,) = Linux().listening(port)
        assert (found.uid, found.backlog, found.inode) == (os.geteuid(), 7, os.fstat(server.fileno()).st_ino)
        with socket.create_connection(("127.0.0.1", port)):
            (client,) = Linux().connected(remote_port=port)
            assert (client.uid, client.backlog) == (os.geteuid(), None)


def test_the_descriptors_of_a_busy_process_are_read_only_as_far_as_needed() -> None:
    servers = [create_server(("127.0.0.1", 0)) for _number in range(3)]
    try:
        first, second, third = [Linux().listening(server.getsockname()[1])[0] for server in servers]
        found = Linux().descriptors(SELF, [first, second, third], enough=[[second], [first]])
        assert found == {first: servers[0].fileno(), second: servers[1].fileno()}
        elsewhere = first._replace(inode=0)
        found = Linux().descriptors(SELF, [first, third, elsewhere], enough=[[first], [elsewhere]])
        assert found == {first: servers[0].fileno(), third: servers[2].fileno()}
        assert Linux().descriptors(SELF, [first, second, third], enough=[[second, elsewhere]]) == {
            first: servers[0].fileno(),
            second: servers[1].fileno(),
        }
    finally:
        for server in servers:
            server.close()


@pytest.mark.parametrize("is_first", [True, False])
def test_a_recent_socket_has_a_low_descriptor_or_a_high_one(is_first: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a process holds many, its ends are looked at first."""
    monkeypatch.setattr(linux, "_LOWEST", 40)
    real, read = os.readlink, []

    def counted(path: str) -> str:
        read.append(path)
        return real(path)

    with contextlib.ExitStack() as stack:
        first = stack.enter_context(create_server(("127.0.0.1", 0)))
        for _number in range(300):
            stack.enter_context(socket.socket())
        server = first if is_first else stack.enter_context(create_server(("127.0.0.1", 0)))
        sockets = Linux().listening(server.getsockname()[1])
        monkeypatch.setattr(os, "readlink", counted)
        assert list(Linux().descriptors(SELF, sockets).values()) == [server.fileno()]
        assert len(read) < 200


@pytest.mark.parametrize("counted", [True, False], ids=["counted", "before Linux 6.2"])
def test_one_in_the_middle_of_many_is_found(counted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linux, "_LOWEST", 2)
    monkeypatch.setattr(linux, "_HIGHEST", 2)
    if not counted:
        monkeypatch.setattr(os, "stat", lambda _path: os.stat_result((0,) * 10))
    with contextlib.ExitStack() as stack:
        for _number in range(50):
            stack.enter_context(socket.socket())
        server = stack.enter_context(create_server(("127.0.0.1", 0)))
        for _number in range(50):
            stack.enter_context(socket.socket())
        sockets = Linux().listening(server.getsockname()[1])
        assert list(Linux().descriptors(SELF, sockets).values()) == [server.fileno()]


def test_a_descriptor_that_is_closed_meanwhile_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with create_server(("127.0.0.1", 0)) as one, create_server(("127.0.0.1", 0)) as other:
        sockets = [Linux().listening(server.getsockname()[1])[0] for server in (one, other)]
        real = os.readlink
        gone = f"/proc/{SELF}/fd/{one.fileno()}"

        def read(path: str) -> str:
            if path == gone:
                raise FileNotFoundError(2, "closed")
            return real(path)

        monkeypatch.setattr(os, "readlink", read)
        assert Linux().descriptors(SELF, sockets) == {sockets[1]: other.fileno()}
