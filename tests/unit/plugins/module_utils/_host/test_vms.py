# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which processes are Erlang VMs, and processes in words.

Tests `_host/processes.py`, too.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils import _limits
from ansible_collections.beamops.epmd.plugins.module_utils._errors import PsutilMissing
from ansible_collections.beamops.epmd.plugins.module_utils._host import children, namespaces, processes, vms
from ansible_collections.beamops.epmd.plugins.module_utils._host.interface import Process, Reader
from ansible_collections.beamops.epmd.plugins.module_utils._host.linux import Linux
from ansible_collections.beamops.epmd.tests.nobody import as_nobody
from ansible_collections.beamops.epmd.tests.unit.plugins.module_utils._host.support import (
    AS_ROOT,
    GONE,
    forked,
    running,
)

NODE = ["--", "-home", "/home/of/vic", "-sname", "vic"]


@contextlib.contextmanager
def vm(*more: str, **environment: str) -> Iterator[vms.Vm]:
    """A process with the command name and the command line of an Erlang VM, as it is found."""
    with running("beam.smp", *NODE, *more, environment=environment) as (pid, _line):
        (found,) = [found for found in vms.find() if found.pid == pid]
        yield found


def test_a_vm_is_found_with_all_that_it_says() -> None:
    with vm(ERL_EPMD_PORT="4711") as found:
        assert (found.uid, found.user) == (os.geteuid(), vms.user_name(os.geteuid()))
        assert found.executable == os.path.realpath(sys.executable)
        line = found.command_line
        assert (line.name, line.home, line.epmd_port) == ("vic", "/home/of/vic", 4711)
        assert found.namespace is None


@pytest.mark.parametrize("name", ["beam", "beam.smp", "beam.debug.smp"])
def test_every_emulator_is_found(name: str) -> None:
    with running(name) as (pid, _line):
        assert pid in [found.pid for found in vms.find()]
        assert "which is no Erlang VM" not in processes.describe(pid)


@pytest.mark.parametrize("name", ["", "beam.", "beam..smp", "beamer", "xbeam.smp", "beam.smp.", "beam.s-p", "epmd"])
def test_no_other_name_is_that_of_an_emulator(name: str) -> None:
    assert not vms.is_emulator(name)
    assert vms.is_emulator("beam.a_1")


def test_a_program_whose_name_only_starts_alike_is_no_vm() -> None:
    with running("beam.smp-not") as (pid, _line):
        assert pid not in [found.pid for found in vms.find()]
        assert processes.describe(pid).endswith(", which is no Erlang VM")


@pytest.mark.parametrize(("count", "name"), [(0, "vic"), (_limits.MAX_COMMAND_LINE // 2, None)])
def test_a_command_line_that_no_honest_node_has_says_nothing(count: int, name: str | None) -> None:
    with vm(*["-"] * count, HOME="/home") as found:
        assert (found.command_line.name, found.command_line.home) == (name, "/home/of/vic" if name else "/home")
        shown = processes.describe(found.pid or 0)
        assert len(shown) < _limits.MAX_SHOWN_COMMAND + 100
        assert shown.endswith(" (beam.smp)") != bool(name)
        assert (f"({sys.executable} -c " in shown) == bool(name)


@pytest.mark.parametrize(("count", "port"), [(1, 4711), (12, None)])
def test_an_environment_that_no_honest_node_has_says_nothing(count: int, port: int | None) -> None:
    with vm(ERL_EPMD_PORT="4711", **{f"X{number}": "x" * 100_000 for number in range(count)}) as found:
        assert (found.command_line.name, found.command_line.epmd_port) == ("vic", port)


@AS_ROOT
def test_in_another_root_directory_a_user_is_a_number(tmp_path: Path) -> None:
    with forked(lambda: os.chroot(tmp_path)) as pid:
        assert vms.user_of(pid) == "0"
        assert processes.describe(pid).startswith(f"pid {pid} of user 0 (")
    assert vms.user_of(os.getpid()) == vms.user_name(os.geteuid())


class Other(Linux):
    """This host, where the system says something else of a process."""

    def __init__(self, answer: Process | Exception) -> None:
        super().__init__()
        self._answer = answer

    def process(self, pid: int) -> Process:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer._replace(pid=pid)


def test_a_vm_that_ends_meanwhile_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for file in (vms, processes):
        monkeypatch.setattr(file, "reader", lambda: Other(ProcessLookupError(3, "No such process")))
    with running("beam.smp"):
        assert vms.find() == []


def test_of_a_vm_that_may_not_be_looked_at_only_the_pid_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for file in (vms, processes):
        monkeypatch.setattr(file, "reader", lambda: Other(Process(0, "", None, None, [], {})))
    with running("beam.smp", *NODE) as (pid, _line):
        (found,) = [found for found in vms.find() if found.pid == pid]
        assert (found.uid, found.user, found.executable, found.command_line.name) == (None, None, None, None)
        assert processes.describe(pid) == f"pid {pid}"
        assert vms.user_of(pid) is None


def test_a_process_that_has_ended_is_a_number() -> None:
    assert processes.describe(GONE) == f"pid {GONE}"
    assert vms.user_of(GONE) is None


def test_a_process_without_arguments_has_its_command_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for file in (vms, processes):
        monkeypatch.setattr(file, "reader", lambda: Other(Process(0, "kthreadd", 0, None, [], {})))
    assert processes.describe(os.getpid()) == f"pid {os.getpid()} of user root (kthreadd), which is no Erlang VM"


def test_the_cookie_of_a_process_is_not_shown() -> None:
    with running("erl_call", "-c", "SECRET", "-a", "x y") as (pid, _line):
        assert "SECRET" not in processes.describe(pid)


def test_where_the_host_can_not_be_read_a_process_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Reader:
        raise PsutilMissing("psutil is missing")

    for file in (vms, processes):
        monkeypatch.setattr(file, "reader", missing)
    assert processes.describe(1) == "pid 1"
    assert vms.user_of(1) is None
    assert processes.hidden() == ""
    with pytest.raises(PsutilMissing):
        vms.find()


def test_a_user_without_a_name_is_a_number() -> None:
    assert vms.user_name(2**30 + 4711) == str(2**30 + 4711)
    assert vms.user_name(0) == "root"


def hidden_with(options: str) -> str:
    """What a user without rights learns of hidden processes, where /proc is mounted with these options."""
    libc = ctypes.CDLL(None, use_errno=True)

    def succeeded(result: int) -> None:
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def first_process() -> str:
        private, recursive = 1 << 18, 1 << 14
        succeeded(libc.mount(b"none", b"/", None, private | recursive, None))
        succeeded(libc.mount(b"proc", b"/proc", b"proc", 0, options.encode()))
        return as_nobody(processes.hidden)

    def apart() -> str:
        new_mounts, new_processes = 0x00020000, 0x20000000
        succeeded(libc.unshare(new_mounts | new_processes))
        return children.result_of(first_process, 60)

    return children.result_of(apart, 60)


@AS_ROOT
@pytest.mark.parametrize(("options", "hides"), [("hidepid=0", False), ("hidepid=1", True), ("hidepid=2", True)])
def test_hidden_processes_are_mentioned(options: str, hides: bool) -> None:
    try:
        found = hidden_with(options)
    except PermissionError:
        pytest.skip("no file system may be mounted here")
    assert found.startswith(" (/proc hides the processes of others from nobody, see hidepid") == hides
    assert bool(found) == hides
    assert processes.hidden() == ""


@pytest.mark.parametrize("answer", [Process(1, "", None, None, [], {}), ProcessLookupError(3, "No such process")])
def test_processes_are_hidden_where_the_first_one_is(
    answer: Process | Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in (vms, processes):
        monkeypatch.setattr(file, "reader", lambda: Other(answer))
    assert f" hides the processes of others from {vms.user_name(os.geteuid())}, " in processes.hidden()


@pytest.mark.parametrize(("name", "words"), [("vic", "the node vic with pid 7 "), (None, "the node with pid 7 ")])
def test_sockets_that_may_not_be_seen_take_more_rights(name: str | None, words: str) -> None:
    line = vms.UNKNOWN.command_line._replace(name=name)
    refused = vms.UNKNOWN._replace(pid=7, user="them", command_line=line)
    error = as_nobody(lambda: str(processes.not_permitted(refused)))
    assert error == f"{words}belongs to them, and nobody may not see its sockets: run with become"


def test_a_vm_of_another_network_has_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "network_of", lambda _pid: 4026532000)
    with vm() as found:
        assert found.namespace == 4026532000
