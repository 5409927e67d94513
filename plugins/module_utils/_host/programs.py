# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a program in the place where a node lives, which may be a container.

Standard: execve(2), environ(7). The program may be somebody else's, so it gets an environment and a session of its own,
and in a container no more rights than the container has (`inside.py`). Private to the collection.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
from typing import IO, Callable, Iterator, Mapping

from .._deadline import Deadline
from .._errors import CannotStart, TimedOut
from .._legible import legible
from .._limits import KILL_SECONDS, MAX_COMMAND_OUTPUT, MAX_SHOWN_OUTPUT
from .._record import Record
from . import inside, namespaces, rights, systemd
from .vms import Vm

Become = Callable[[], None]
"""What a child calls before it becomes a program, to change its user."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


_ABOUT_INIT = "cat /proc/1/comm && readlink /proc/1/ns/net"


class Place(Record):
    """Where a node lives, and whether its init is systemd.

    container: the pid of the node, where it has a root directory or processes of its own. network: its network
    namespace as a file that its init sees, where that is in another one.
    """

    systemd: bool
    container: int | None
    network: str


def host() -> Place:
    """Where we are."""
    return Place(systemd.is_booted(), None, "")


def place_of(vm: Vm, deadline: Deadline) -> Place:
    """The place of a node; ours where only its port is known. Errors: NotPermitted, Ended."""
    if vm.pid is None or not namespaces.is_container(vm.pid):
        network = f"/proc/{vm.pid}/ns/net" if vm.namespace is not None else ""
        return host()._replace(network=network)
    booted = inside.with_files_of(vm.pid, deadline.left(), systemd.is_booted)
    if not booted or namespaces.shares(vm.pid, "pid"):
        return Place(False, vm.pid, "")
    place = Place(True, vm.pid, "")
    try:
        # The directory may be one of the host's, as with its root directory in a process namespace.
        said = run(place, ["sh", "-c", _ABOUT_INIT], deadline, "its init can't be seen").split()
        of_node = os.readlink(f"/proc/{vm.pid}/ns/net")
        pid_inside = rights.pid_inside(vm.pid)
    except (CannotStart, OSError):
        said = []
    if said[:1] != ["systemd"]:
        return Place(False, vm.pid, "")
    return place if said[1:] == [of_node] else place._replace(network=f"/proc/{pid_inside}/ns/net")


def find(place: Place, program: str, directories: list[str], deadline: Deadline, mode: int = os.X_OK) -> str | None:
    """The path of a program in these directories or on the PATH, in this place. mode: as access(2) has it.

    Errors: EpmdError.
    """
    paths = [os.path.join(directory, program) for directory in (*directories, *PATH.split(":"))]

    def first() -> str | None:
        return next((path for path in paths if os.access(path, mode)), None)

    return inside.with_files_of(place.container, deadline.left(), first)


def run(place: Place, command: list[str], deadline: Deadline, failure: str) -> str:
    """The output of a command, which runs as root of a container, else as we do.

    Errors: CannotStart, with the failure and the first line of the output, where systemctl has the cause.
    """
    environment = {"PATH": PATH, "LANG": "C"}
    with _running(place, command, environment, False, failure) as child:
        try:
            output = _output(child.stdout, deadline)
            code = child.wait(deadline.left())
        except (TimedOut, subprocess.TimeoutExpired):
            raise CannotStart(f"{failure}: {command[0]} did not end within {deadline.seconds:g} s") from None
    if code != 0:
        first = (output.strip().splitlines() or [f"exit code {code}"])[0]
        hint = "" if os.geteuid() == 0 else "; run with become"
        raise CannotStart(f"{failure}: {first}{hint}")
    return output


def run_as_node(
    place: Place,
    command: list[str],
    environment: Mapping[str, str],
    deadline: Deadline,
    shown: str,
    become: Become | None = None,
) -> None:
    """Run a command that goes into the background: as the user of a container's node, else as `become` makes it.

    shown: the command as a person knows it. Errors: CannotStart, with its first words; one that stays in the foreground
    is ended.
    """
    failure = f"{shown} could not be started"
    with _running(place, command, environment, True, failure, become) as child:
        try:
            code = child.wait(deadline.left())
        except (TimedOut, subprocess.TimeoutExpired):
            raise CannotStart(f"{shown} did not go into the background within {deadline.seconds:g} s") from None
        if code != 0:
            said = _said(child)
            raise CannotStart(f"{shown} ended with exit code {code}{f': {said}' if said else ''}")


def words_of(
    place: Place,
    command: list[str],
    environment: Mapping[str, str],
    deadline: Deadline,
    shown: str,
    become: Become | None = None,
) -> str:
    """What a command says, as `run_as_node` runs it, before it ends by itself; empty if it says nothing or runs on.

    It does not outlive this. Errors: CannotStart.
    """
    failure = f"{shown} could not be started"
    with _running(place, command, environment, True, failure, become) as child:
        try:
            child.wait(deadline.left())
        except (TimedOut, subprocess.TimeoutExpired):
            return ""
        return _said(child)


@contextlib.contextmanager
def _running(
    place: Place,
    command: list[str],
    environment: Mapping[str, str],
    as_itself: bool,
    failure: str,
    become: Become | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A command while it runs; at the end, it is ended with all that it has started, also in a process namespace."""
    child = _started(place, command, environment, as_itself, failure, become)
    try:
        yield child
    finally:
        if child.poll() is None:
            with contextlib.suppress(PermissionError):
                os.killpg(child.pid, signal.SIGKILL)  # its own group: setsid(2)
            with contextlib.suppress(subprocess.TimeoutExpired):  # a file system hangs
                child.wait(KILL_SECONDS)
        if child.stdout:
            child.stdout.close()


def _said(child: subprocess.Popen[bytes]) -> str:
    """What a child that has ended has said, in one line."""
    data = b""
    if child.stdout:
        # Not to its end: what the child has left behind may still hold its output.
        os.set_blocking(child.stdout.fileno(), False)
        with contextlib.suppress(BlockingIOError):
            data = os.read(child.stdout.fileno(), MAX_SHOWN_OUTPUT)
    lines = [without_date(line).strip() for line in data.decode("utf-8", "replace").splitlines()]
    return legible("; ".join([line for line in lines if line][:3]))


def without_date(line: str) -> str:
    """A line of epmd without what it puts in front of its words (`dbg_gen_printf` in epmd.c)."""
    return re.sub(r"^epmd: \w{3} \w{3} [ \d]\d [\d:]{8} \d{4}: ", "", line)


def _started(
    place: Place,
    command: list[str],
    environment: Mapping[str, str],
    as_itself: bool,
    failure: str,
    become: Become | None,
) -> subprocess.Popen[bytes]:
    """A running command, without our environment and our terminal."""
    try:
        enter = become if place.container is None else inside.entrance(place.container, as_itself=as_itself)
        # AnsibleModule.run_command has no timeout, and no limit for what a command prints.
        return subprocess.Popen(  # pylint: disable=ansible-bad-function,consider-using-with
            command,
            cwd="/",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=enter,  # noqa: PLW1509  # pylint: disable=subprocess-popen-preexec-fn
        )
    except OSError as error:
        raise CannotStart(f"{failure}: {error.strerror}") from None
    except subprocess.SubprocessError:
        if place.container is None:
            raise CannotStart(f"{failure}: can't change to its user{rights.lack(rights.BECOME)}") from None
        raise CannotStart(f"{failure}: its container can't be entered{rights.lack(rights.ENTER)}") from None


def _output(pipe: IO[bytes] | None, deadline: Deadline) -> str:
    """What a command prints until it ends, up to the limit: in a container it may be more than memory can hold."""
    data = bytearray()
    while pipe:
        if not select.select([pipe], [], [], deadline.left())[0]:
            continue
        part = os.read(pipe.fileno(), MAX_COMMAND_OUTPUT)
        if not part:
            break
        data += part[: MAX_COMMAND_OUTPUT - len(data)]
    return data.decode("utf-8", "replace")
