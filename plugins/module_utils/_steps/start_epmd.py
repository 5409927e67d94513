# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts an epmd that is down, as the distribution or else as the node itself would have done it.

Standard: `start_epmd` in `erlexec.c` of erts (`BINDIR/epmd -daemon`, with the environment of
the node); systemd.unit(5), systemd-run(1). It must outlive the Ansible connection, and
where logind ends what a login started, the login: so under systemd it gets a unit of its own. For a
node in a container it is started in there, by the systemd in there, or else beside the node.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import select
import subprocess
import time
from typing import IO, Callable, NamedTuple

from .._deadline import Deadline
from .._errors import EpmdError, StillSilent, TimedOut
from .._host import children, inside, namespaces, processes
from .._host.processes import Vm
from .._limits import MAX_COMMAND_OUTPUT
from .._wire import epmd_client
from .._wire.epmd import DEFAULT_PORT
from .._wire.epmd_client import Daemon, Table

SYSTEMD = "/run/systemd/system"
"""There while systemd runs as the init of this host (sd_booted(3))."""

UNITS = ("epmd.socket", "epmd.service")
POLL_SECONDS = 0.01

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class _Place(NamedTuple):
    """Where a node lives, and whether its init is systemd.

    container: the pid of the node, where it has a root or processes of its own. network: its
    network namespace as a file, where systemd is outside of that.
    """

    systemd: bool
    container: int | None
    network: str


def _place_of(vm: Vm, deadline: Deadline) -> _Place:
    if vm.pid is None or not namespaces.is_container(vm.pid):
        network = f"/proc/{vm.pid}/ns/net" if vm.namespace is not None else ""
        return _Place(os.path.isdir(SYSTEMD), None, network)
    if os.geteuid() != 0:
        raise EpmdError("epmd is down, and only root may start it in the node's container: run with become")
    booted = inside.with_files_of(vm.pid, deadline.left(), lambda: os.path.isdir(SYSTEMD))
    return _Place(booted and not namespaces.shares_pids(vm.pid), vm.pid, "")


def _entrance(place: _Place, as_itself: bool) -> Callable[[], None] | None:
    return None if place.container is None else inside.entrance(place.container, as_itself=as_itself)


class Started(NamedTuple):
    """The table of an epmd that answers, and whether it was we who started it."""

    table: Table
    by_us: bool


def start(vm: Vm, daemon: Daemon, deadline: Deadline) -> Started:
    """Start the epmd of this node if it is still down, and wait until it answers.

    Errors: EpmdError; StillSilent where one was started.
    """
    # Several nodes are worked on at once, and may share an epmd.
    with children.alone(deadline):
        table = epmd_client.ask_names(daemon, deadline)
        if table.names is not None and not table.trouble:
            return Started(table, False)
        return Started(_start(vm, daemon, deadline), True)


def _start(vm: Vm, daemon: Daemon, deadline: Deadline) -> Table:
    place = _place_of(vm, deadline)
    unit = _unit_for(place, daemon.port, deadline) if place.systemd and not place.network else None
    if unit:
        # Units that failed too often are not started again without this: the start limit of systemd.unit(5).
        with contextlib.suppress(EpmdError):
            _run(place, ["systemctl", "--no-ask-password", "reset-failed", *UNITS], deadline, "")
        failure = f"its unit {unit} could not be started"
        _run(place, ["systemctl", "--no-ask-password", "start", unit], deadline, failure)
    else:
        unit = _start_as_node(vm, place, daemon, deadline)
    return _wait(daemon, unit, deadline)


def _wait(daemon: Daemon, unit: str | None, deadline: Deadline) -> Table:
    with contextlib.suppress(TimedOut):
        while deadline.left() > POLL_SECONDS * 2:
            table = epmd_client.ask_names(daemon, deadline)
            if table.names is not None and not table.trouble:
                return table
            time.sleep(POLL_SECONDS)
    hint = f": see journalctl -u {unit}" if unit else ""
    raise StillSilent(f"epmd was started, but does not answer on {daemon.address} port {daemon.port}{hint}")


def _run(place: _Place, command: list[str], deadline: Deadline, failure: str) -> str:
    """The output of a command. Errors: EpmdError with the failure and the first line, where systemctl has the cause."""
    try:
        # AnsibleModule.run_command has no timeout, and no limit for what a command says.
        with subprocess.Popen(  # pylint: disable=ansible-bad-function
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=_entrance(place, as_itself=False),  # noqa: PLW1509  # pylint: disable=subprocess-popen-preexec-fn
        ) as child:
            try:
                said = _start_of(child.stdout, deadline)
                code = child.wait(deadline.left())
            finally:
                child.kill()
    except (TimedOut, subprocess.TimeoutExpired):
        raise EpmdError(f"{failure}: {command[0]} did not end within {deadline.seconds:g} s") from None
    except OSError as error:
        raise EpmdError(f"{failure}: {error.strerror}") from None
    except subprocess.SubprocessError:
        raise EpmdError(f"{failure}: its container can't be entered") from None
    if code != 0:
        first = (said.strip().splitlines() or [f"exit code {code}"])[0]
        hint = "" if os.geteuid() == 0 else "; run with become"
        raise EpmdError(f"{failure}: {first}{hint}")
    return said


def _start_of(output: IO[bytes] | None, deadline: Deadline) -> str:
    """What a command says until it ends, up to the limit: in a container it may say more than memory can hold."""
    data = bytearray()
    while output:
        if not select.select([output], [], [], deadline.left())[0]:
            continue
        part = os.read(output.fileno(), MAX_COMMAND_OUTPUT)
        if not part:
            break
        data += part[: MAX_COMMAND_OUTPUT - len(data)]
    return data.decode("utf-8", "replace")


def _unit_for(place: _Place, port: int, deadline: Deadline) -> str | None:
    """The installed unit that runs epmd on this port."""
    if _find(place, "systemctl", [], deadline) is None:
        return None
    properties = "--property=Id,LoadState,Listen,ExecStart,Environment"
    shown = _run(place, ["systemctl", "show", properties, *UNITS], deadline, "its systemd units can't be read")
    return choose_unit(shown, port)


def choose_unit(shown: str, port: int) -> str | None:
    """From `systemctl show` of the units: the one to start for this port.

    A socket unit decides by where it listens, a service without one by its command.
    """
    units = {}
    for block in shown.split("\n\n"):
        lines = [line.partition("=") for line in block.splitlines() if "=" in line]
        unit: dict[str, str] = {}
        for key, _equals, value in lines:
            unit[key] = f"{unit[key]}\n{value}" if key in unit else value
        if unit.get("LoadState") == "masked":
            return None
        if unit.get("LoadState") == "loaded":
            units[unit.get("Id", "")] = unit
    listens = units.get("epmd.socket", {}).get("Listen", "")
    if re.search(rf":{port} \(Stream\)", listens):
        # The service pulls its socket in, and answers without waiting for a first client.
        return "epmd.service" if "epmd.service" in units else "epmd.socket"
    if listens or "epmd.service" not in units:
        return None
    service = units["epmd.service"]
    said = re.search(r"-port[ =]0*([0-9]+)", service.get("ExecStart", "")) or re.search(
        r"ERL_EPMD_PORT=0*([0-9]+)", service.get("Environment", "")
    )
    return "epmd.service" if str(port) == (said.group(1) if said else str(DEFAULT_PORT)) else None


def _start_as_node(vm: Vm, place: _Place, daemon: Daemon, deadline: Deadline) -> str | None:
    """Gives the transient unit, where there is one."""
    command = _program(vm, place, deadline)
    environment = {**vm.said.epmd_environment, "PATH": _PATH, "ERL_EPMD_PORT": str(daemon.port)}
    uid = vm.uid
    if uid is None:
        raise EpmdError("epmd is down, and whose node this is can't be seen: start epmd as the node's user")
    if os.geteuid() not in (0, uid):
        raise EpmdError(f"epmd is down, and only root or {vm.user} may start it as the node would: run with become")
    if place.systemd and os.geteuid() == 0 and _find(place, "systemd-run", [], deadline):
        # Two runs at once, or what is left of an earlier unit, must not get into each other's way: one of the epmds
        # finds the port taken and ends. setpriv, because User= wants a user that has a name.
        unit = f"beamops-epmd-{daemon.port}-{os.getpid()}.service"
        settings = [f"--setenv={key}={value}" for key, value in environment.items()]
        if place.network:
            settings.append(f"--property=NetworkNamespacePath={place.network}")
        user, change = [], _user_change(uid)
        if place.container is not None:
            ids = inside.ids_inside(place.container)
            change = ["setpriv", f"--reuid={ids.uid}", f"--regid={ids.gid}", "--clear-groups", "--"]
        elif _known(uid):
            user, change = [f"--uid={uid}"], []
        _run(
            place,
            ["systemd-run", f"--unit={unit}", "--collect", "--quiet", *user, *settings, "--", *change, command],
            deadline,
            "systemd-run could not start epmd",
        )
        return unit
    become = _user_change(uid) if place.container is None else []
    # setsid and -daemon: no terminal can take it down. Under logind with KillUserProcesses=yes the end of the login
    # still does, where we are not root.
    try:
        child = subprocess.Popen(  # pylint: disable=ansible-bad-function
            [*become, command, "-daemon"],
            cwd="/",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_entrance(place, as_itself=True),  # noqa: PLW1509  # pylint: disable=subprocess-popen-preexec-fn
        )
    except OSError as error:
        raise EpmdError(f"{command} could not be started: {error.strerror}") from None
    except subprocess.SubprocessError:
        raise EpmdError(f"{command} could not be started: its container can't be entered") from None
    try:
        code = child.wait(timeout=deadline.left())
    except (TimedOut, subprocess.TimeoutExpired):
        # Whatever it is, it is no epmd as the node would have started it, and it is ours.
        child.kill()
        child.wait()
        raise EpmdError(f"{command} -daemon did not go into the background within {deadline.seconds:g} s") from None
    if code != 0:
        raise EpmdError(f"{command} -daemon ended with exit code {code}")
    return None


def _user_change(uid: int) -> list[str]:
    """The command that becomes this user; empty where we are this user."""
    if os.geteuid() == uid:
        return []
    gid = pwd.getpwuid(uid).pw_gid if _known(uid) else uid
    groups = "--init-groups" if _known(uid) else "--clear-groups"
    return ["setpriv", f"--reuid={uid}", f"--regid={gid}", groups, "--"]


def _known(uid: int) -> bool:
    return processes.user_name(uid) != str(uid)


def _program(vm: Vm, place: _Place, deadline: Deadline) -> str:
    """The epmd of the node's own erts; the one on the PATH where that is gone or not known."""
    own = [directory for directory in (os.path.dirname(vm.executable or ""), vm.said.bindir) if directory]
    found = _find(place, "epmd", own, deadline)
    if found is None:
        raise EpmdError("epmd is down, and neither the node's own epmd nor one on the PATH can be found: start it")
    return found


def _find(place: _Place, program: str, directories: list[str], deadline: Deadline) -> str | None:
    """A program in these directories or on the PATH, where the node lives."""
    paths = [os.path.join(directory, program) for directory in (*directories, *_PATH.split(":"))]

    def first() -> str | None:
        return next((path for path in paths if os.access(path, os.X_OK)), None)

    return first() if place.container is None else inside.with_files_of(place.container, deadline.left(), first)
