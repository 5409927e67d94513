# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which processes are Erlang VMs, what is told of them, and that only what is as short as honest is read."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psutil
import pytest

from ansible_collections.beamops.epmd.plugins.module_utils import _limits
from ansible_collections.beamops.epmd.plugins.module_utils._errors import EpmdError
from ansible_collections.beamops.epmd.plugins.module_utils._host import namespaces, processes

SAID = ["--", "-home", "/home/of/vic", "-sname", "vic"]


GONE = 2**22 + 1
"""No process has such a number (PID_MAX_LIMIT)."""

WAITS = "print(flush=True); input()"


@contextmanager
def running(arguments: list[str], environment: Mapping[str, str], called: str = "") -> Iterator[psutil.Process]:
    """A process that says this of itself; `called`: its command name, where that matters."""
    renames = f"open('/proc/self/comm', 'w').write('{called}'); " if called else ""
    with subprocess.Popen(
        [sys.executable, "-c", renames + WAITS, *arguments],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout
            process.stdout.readline()
            yield psutil.Process(process.pid)
        finally:
            process.kill()


@pytest.mark.parametrize(("count", "name"), [(0, "vic"), (_limits.MAX_COMMAND_LINE // 2, None)])
def test_a_command_line_that_no_honest_node_has_says_nothing(count: int, name: str | None) -> None:
    with running([*SAID, *["-"] * count], {"HOME": "/home"}) as process:
        said = processes._read(process).said
        assert (said.name, said.home) == (name, "/home/of/vic" if name else "/home")
        shown = processes.describe(process.pid)
        assert len(shown) < _limits.MAX_SHOWN_COMMAND + 100
        assert ("vic" in shown) == bool(name)


@pytest.mark.parametrize(("count", "port"), [(1, 4711), (12, None)])
def test_an_environment_that_no_honest_node_has_says_nothing(count: int, port: int | None) -> None:
    environment = {"ERL_EPMD_PORT": "4711", **{f"X{number}": "x" * 100_000 for number in range(count)}}
    with running(SAID, environment) as process:
        said = processes._read(process).said
        assert (said.name, said.epmd_port) == ("vic", port)


def test_a_vm_is_found_by_its_command_name_with_all_that_it_says() -> None:
    with running(SAID, {"ERL_EPMD_PORT": "4711"}, "beam.smp") as process:
        (vm,) = [vm for vm in processes.find_vms() if vm.pid == process.pid]
        assert (vm.uid, vm.user) == (os.geteuid(), processes.user_name(os.geteuid()))
        assert (vm.said.name, vm.said.home, vm.said.epmd_port) == ("vic", "/home/of/vic", 4711)
        assert vm.executable == os.path.realpath(sys.executable)
        assert vm.namespace is None
        assert processes.known_pids_called("beam.smp").count(process.pid) == 1
        shown = processes.describe(process.pid)
        assert shown.startswith(f"pid {process.pid} of user {vm.user} (")
        assert "which is no Erlang VM" not in shown
    assert process.pid not in processes.pids_called("beam.smp")


@pytest.mark.parametrize("called", ["beam", "beam.smp", "beam.debug.smp"])
def test_every_kind_of_emulator_is_one(called: str) -> None:
    with running([], {}, called) as process:
        assert process.pid in processes.pids_called(processes.EMULATOR)
        assert processes.is_called(process.pid, processes.EMULATOR)


def test_what_is_only_called_alike_is_no_vm() -> None:
    with running([], {}, "beam.smp-not") as process:
        assert process.pid not in [vm.pid for vm in processes.find_vms()]
        assert processes.describe(process.pid).endswith(", which is no Erlang VM")


def test_in_another_root_a_user_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "shares_root", lambda _pid: False)
    with running(SAID, {}) as process:
        assert processes._read(process).user == str(os.geteuid())


@pytest.mark.parametrize("error", [psutil.NoSuchProcess(GONE), FileNotFoundError(2, "gone")])
def test_a_vm_that_ends_meanwhile_is_none(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_pid: int) -> None:
        raise error

    with running(SAID, {}, "beam.smp"):
        monkeypatch.setattr(psutil, "Process", fail)
        assert processes.find_vms() == []


def test_of_a_vm_that_may_not_be_looked_at_only_the_pid_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_process: psutil.Process) -> None:
        raise psutil.AccessDenied

    with running(SAID, {"ERL_EPMD_PORT": "4711"}) as process:
        for name in ("uids", "exe", "cmdline", "environ"):
            monkeypatch.setattr(psutil.Process, name, refuse)
        vm = processes._read(process)
        assert (vm.pid, vm.uid, vm.user, vm.executable) == (process.pid, None, None, None)
        assert (vm.said.name, vm.said.epmd_port) == (None, None)
        assert processes.describe(process.pid) == f"pid {process.pid}"


def test_a_process_that_has_ended_is_a_number() -> None:
    assert processes.describe(GONE) == f"pid {GONE}"
    assert not processes.is_called(GONE, ".*x")
    assert processes._command_name(GONE) == ""


def test_a_process_that_ends_while_it_is_read_has_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_descriptor: int, _size: int) -> None:
        raise ProcessLookupError(3, "No such process")

    monkeypatch.setattr(os, "read", fail)
    before = os.listdir("/proc/self/fd")
    assert processes._command_name(os.getpid()) == ""
    assert os.listdir("/proc/self/fd") == before


def test_without_psutil_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "HAS_PSUTIL", False)
    with pytest.raises(EpmdError, match=r"psutil is missing .* or give name, port and cookie_file$"):
        processes.find_vms()


def test_a_user_without_a_name_is_a_number() -> None:
    assert processes.user_name(2**30 + 4711) == str(2**30 + 4711)
    assert processes.user_name(0) == "root"


def test_that_processes_are_hidden_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert processes.hidden() == ""
    real = open

    def hide(path: str, mode: str) -> object:
        if path.startswith("/proc/1/"):
            raise FileNotFoundError(2, "hidepid=2")
        return real(path, mode)

    monkeypatch.setattr("builtins.open", hide)
    assert "/proc hides the processes of others" in processes.hidden()


@pytest.mark.parametrize(("name", "words"), [("vic", "the node vic with pid 7 "), (None, "the node with pid 7 ")])
def test_sockets_that_may_not_be_seen_take_more_rights(name: str | None, words: str) -> None:
    said = processes.UNKNOWN.said._replace(name=name)
    error = str(processes.not_permitted(processes.UNKNOWN._replace(pid=7, user="them", said=said)))
    assert error.startswith(words + "belongs to them, and ")
    assert error.endswith(" may not see its sockets: run with become")
