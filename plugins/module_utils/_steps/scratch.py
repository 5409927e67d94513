# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts scratch nodes, has them lose their names, and ends them with their epmds. No other process is ever ended.

Standard: proc(5), /proc/PID/environ, where a scratch node and each epmd that anybody starts for it have a mark
(`likeness.py`). An epmd with the names of others is left alone. A scratch node ends by itself when its lifetime is
over, and its epmd with it, so that a run that was killed leaves nothing for long. Private to the collection.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import socket
import subprocess
import tempfile
import time
from typing import IO, Callable, Sequence

from .._deadline import Deadline
from .._errors import CannotStart, EpmdError, InvalidOption, NotPermitted, TimedOut, in_words
from .._host import ending, likeness, namespaces, owners, programs, rights, searches, systemd, vms
from .._host.ending import Running
from .._host.epmd_units import NO_UNITS
from .._host.likeness import Wanted
from .._host.programs import Place
from .._host.vms import Vm
from .._legible import legible
from .._limits import MAX_COMMAND_OUTPUT
from .._record import Record
from .._wire.epmd_client import Daemon, State
from . import models, start_epmd, tables
from .models import Model

MOST = 8
"""Scratch nodes at once on a host: each has an Erlang VM with some 50 MiB."""

POLL_SECONDS = 0.02

SCOPE_SECONDS = 5
"""How long systemd may take to move a process. One that it does not move ends with the login; nothing else is wrong."""

# org.freedesktop.systemd1(5)
_SYSTEMD = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
_START_TRANSIENT = ("busctl", "--quiet", "call", *_SYSTEMD, "StartTransientUnit", "ssa(sv)a(sa(sv))")

MAX_SHOWN = 300
"""Characters of what an Erlang says that does not start: its first complaint."""


class Scratch(Record):
    """A scratch node, or why there is none.

    name: with a host where that is known. program: the directory of its Erlang's programs. like: the nodes that it is
    made like. reason: why it was not started, for programs; empty where it was.
    """

    name: str
    pid: int | None
    user: str | None
    epmd_port: int | None
    program: str | None
    like: tuple[str, ...]
    msg: str
    reason: str = ""


class _Epmd(Record):
    """An epmd of a scratch node: its process, and the port that it was told to take."""

    process: Running
    port: int


def check_name(name: str) -> None:
    """Errors: InvalidOption."""
    if not re.fullmatch("[A-Za-z0-9_-]{1,64}", name):
        raise InvalidOption(f"name {name!r} is no name for a scratch node: give up to 64 letters, digits, _ and -")


def running(name: str) -> list[Vm]:
    """The scratch nodes with this mark."""
    found = [vm for vm in vms.find() if vm.command_line.epmd_environment.get(likeness.MARK) == name]
    return [vm for vm in found if vm.pid is not None and _is_here(vm.pid)]


def is_scratch(vm: Vm) -> bool:
    """Whether it is a scratch node, of whatever run."""
    return likeness.MARK in vm.command_line.epmd_environment


def start(wanted: Sequence[tuple[Wanted, Model]], timeout: float) -> list[Scratch]:
    """Start these nodes, each with an epmd of its own, and wait until they are registered. Errors: none.

    What was begun for one that does not start is ended.
    """
    deadline = Deadline(timeout)
    begun = [_tried(lambda each=each, model=model: _begin(each, model, deadline)) for each, model in wanted]  # type: ignore[misc]
    found = []
    for (each, model), outcome in zip(wanted, begun):
        if isinstance(outcome, _Begun):
            outcome = _tried(lambda begun=outcome: begun.wait(deadline))  # type: ignore[misc]  # noqa: PLW2901
        error = outcome if isinstance(outcome, EpmdError) else None
        if error:
            end(each.mark, Deadline(timeout), each.epmd_port)
        found.append(_described(each, model, None if error else outcome, error))
    return found


def _described(wanted: Wanted, model: Model, pid: object, error: EpmdError | None) -> Scratch:
    where = f"user {model.vm.user}, Erlang {model.bindir}, epmd on port {wanted.epmd_port}"
    return Scratch(
        wanted.name,
        pid if isinstance(pid, int) else None,
        model.vm.user,
        wanted.epmd_port,
        model.bindir,
        model.names,
        str(error) if error else f"started: pid {pid}, {where}",
        error.reason if error else "",
    )


def lose(name: str, deadline: Deadline) -> list[int]:
    """Kill the epmds of the scratch nodes with this mark, and return their pids. Errors: EpmdError."""
    nodes, epmds = running(name), _epmds(name)
    if not nodes:
        raise EpmdError(f"no scratch node {name} runs here: start it first")
    refused = [others for others in (_others(epmd, nodes, deadline) for epmd in epmds) if others]
    if refused:
        raise EpmdError(refused[0])
    for epmd in epmds:
        ending.end(epmd.process, deadline)
    for port in {vm.command_line.epmd_port for vm in nodes}:
        while owners.addresses(port or 0):
            deadline.left()
            time.sleep(POLL_SECONDS)
    return [epmd.process.pid for epmd in epmds]


class Ended(Record):
    """The pids of scratch nodes and of epmds that were ended, and sentences about epmds that were left alone."""

    nodes: list[int]
    epmds: list[int]
    left: list[str]


def end(name: str, deadline: Deadline, port: int | None = None) -> Ended:
    """End the scratch nodes with this mark and their epmds; port: only those on this one. Errors: EpmdError."""
    nodes = [vm for vm in running(name) if port in (None, vm.command_line.epmd_port)]
    ended = Ended([], [], [])
    for epmd in _epmds(name):
        if port in (None, epmd.port):
            others = _others(epmd, nodes, deadline)
            if others:
                ended.left.append(others)
            else:
                ending.end(epmd.process, deadline)
                ended.epmds.append(epmd.process.pid)
    for vm in nodes:
        process = ending.running(vm.pid or 0)
        if process:
            ending.end(process, deadline)
            ended.nodes.append(process.pid)
    return ended


def free_port() -> int:
    """A port of the loopback interface that nobody uses now. Errors: CannotStart.

    It is below the kernel's range for outgoing connections: in that, a client that asks an epmd that is not there yet
    might connect to itself, and so take its port.
    """
    for port in random.sample(range(10_000, 32_000), 200):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise CannotStart("no free port was found for the epmd of a scratch node: give epmd_port")


def _epmds(name: str) -> list[_Epmd]:
    """The epmds that were started for scratch nodes with this mark."""
    found = []
    for pid in owners.pids_called(owners.is_epmd):
        process = ending.running(pid)
        environment = searches.environment_of(pid)
        if process and environment.get(likeness.MARK) == name and _is_here(pid):
            found.append(_Epmd(process, int(environment.get("ERL_EPMD_PORT", "0"))))
    return found


def _is_here(pid: int) -> bool:
    """Whether a process is no container's: the mark of one there is none of ours."""
    return namespaces.network_of(pid) is None and not namespaces.is_container(pid)


def _others(epmd: _Epmd, nodes: Sequence[Vm], deadline: Deadline) -> str:
    """Why this epmd is left alone: its names that are not of these nodes. Empty where there are none."""
    own = {vm.command_line.name.partition("@")[0] for vm in nodes if vm.command_line.name}
    table = tables.ask(Daemon("127.0.0.1", epmd.port), deadline)
    others = sorted(set(table.names) - own) if table.state is State.UP else []
    pid = epmd.process.pid
    return legible(
        f"The epmd on port {epmd.port} (pid {pid}) has other names ({', '.join(others)}), so it is left alone: "
        f"end what they belong to, then run again"
        if others
        else ""
    )


def _tried(work: Callable[[], object]) -> object:
    try:
        return work()
    except (EpmdError, OSError) as error:
        return in_words(error)


class _Begun:
    """A scratch node that boots."""

    def __init__(self, wanted: Wanted, model: Model, child: subprocess.Popen[bytes], log: IO[bytes]) -> None:
        self._wanted = wanted
        self._model = model
        self._child = child
        self._log = log

    def wait(self, deadline: Deadline) -> int:
        """Wait until it has its name and its cookie, and return its pid. Errors: CannotStart."""
        daemon = _daemon(self._model, self._wanted)
        while True:
            code = self._child.poll()
            if code is not None:
                raise CannotStart(f"its Erlang ended with exit code {code}: {self._said() or 'it does not say why'}")
            is_ready = likeness.READY.encode() in self._output().split()
            if is_ready and self._wanted.alive in tables.ask(daemon, deadline).names:
                return self._child.pid
            try:
                deadline.left()
            except TimedOut:
                said = f", and says: {self._said()}" if self._said() else ""
                raise CannotStart(f"its Erlang does not register within {deadline.seconds:g} s{said}") from None
            time.sleep(POLL_SECONDS)

    def _output(self) -> bytes:
        """The start of what it has printed."""
        self._log.seek(0)
        return self._log.read(MAX_COMMAND_OUTPUT)

    def _said(self) -> str:
        """The first words of that for a person, without its cookie."""
        said = self._output().replace(self._model.cookie, b"***").decode("utf-8", "replace")
        return legible(" ".join(said.split()), MAX_SHOWN)


def _daemon(model: Model, wanted: Wanted) -> Daemon:
    return Daemon("::1" if model.vm.command_line.inet6 else "127.0.0.1", wanted.epmd_port)


def _begin(wanted: Wanted, model: Model, deadline: Deadline) -> _Begun:
    """Start its epmd as the module would start that of its model, then the node. Errors: EpmdError, OSError."""
    taken = owners.addresses(wanted.epmd_port)
    if taken:
        pids = ", ".join(map(str, searches.listening_pids(wanted.epmd_port))) or "unknown"
        raise CannotStart(
            f"Something listens on port {wanted.epmd_port} already (pid {pids}), and it is no epmd of {wanted.mark}: "
            "give another epmd_port"
        )
    vm = model.vm
    place = programs.host()
    line = vm.command_line._replace(epmd_environment=likeness.epmd_environment(wanted))
    daemon = _daemon(model, wanted)
    own = start_epmd.of_node(vm._replace(command_line=line), place, daemon, deadline)
    start_epmd.wait(daemon, start_epmd.start_own(own, place, NO_UNITS, deadline), deadline)
    log = tempfile.TemporaryFile()  # noqa: SIM115 # open as long as we wait for the node
    erlexec = os.path.join(model.bindir, "erlexec")
    try:
        # AnsibleModule.run_command waits for its command, and this one is to run on.
        child = subprocess.Popen(  # pylint: disable=ansible-bad-function,consider-using-with
            [erlexec, *likeness.flags(model.arguments, wanted, model.boot)],
            cwd="/",
            env=models.environment_of(model, wanted),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # Not setpriv(1): with LD_PRELOAD in its environment, a user would have root run his code.
            preexec_fn=_before(model.rights, place, deadline),  # noqa: PLW1509  # pylint: disable=subprocess-popen-preexec-fn
        )
    except subprocess.SubprocessError:
        raise NotPermitted(f"no node can be started as {vm.user}{rights.cure(rights.BECOME)}") from None
    except OSError as error:
        raise CannotStart(f"{erlexec} can't be started as {vm.user}: {error.strerror}") from None
    return _Begun(wanted, model, child, log)


def _before(theirs: rights.Rights | None, place: Place, deadline: Deadline) -> Callable[[], None] | None:
    """What a child calls before it becomes the node, with these rights for good (None: ours)."""
    if os.geteuid() != 0:
        return None

    def become() -> None:
        if place.systemd:
            _get_a_scope(place, deadline)
        if theirs is not None:
            os.setgroups(theirs.groups)
            os.setgid(theirs.gid)
            os.setuid(theirs.uid)

    return become


def _get_a_scope(place: Place, deadline: Deadline) -> None:
    """Have systemd keep this process apart from the login that it is in, with whose end it would end otherwise.

    (KillUserProcesses=yes in logind.conf.) Before it has children, which would stay behind. Not by systemd-run(1): that
    would run with the environment of the node, as root. The scope goes with the process.
    """
    pid = os.getpid()
    name = f"beamops-scratch-{pid}.scope"
    scope = (name, "fail", "1", "PIDs", "au", "1", str(pid), "0")
    with contextlib.suppress(EpmdError):
        programs.run(place, [*_START_TRANSIENT, *scope], deadline, "its scope could not be made")
        # systemd has only noted it by then.
        patience = Deadline(min(SCOPE_SECONDS, deadline.left()))
        while systemd.unit_of(pid) != name:
            patience.left()
            time.sleep(POLL_SECONDS)
