# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many hosts, each with its own sshd, host name, epmd and real nodes, which are reached by real ssh.

The script `host` makes one; a fleet makes them in parallel, and ends them together. For a private host, as root.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import psutil

from ._epmd import names_at
from ._otp import Otp
from ._process import Closable, LabError, end, output_of, spawn, wait_until

T = TypeVar("T")

SCRIPTS = Path(__file__).parent
FIRST_ADDRESS = ipaddress.IPv4Address("198.18.0.2")
COOKIE = "fleet"

SMALL = ("+S", "1:1", "+SDcpu", "1:1", "+SDio", "1", "+A", "1", "-mode", "interactive")
"""Arguments for idle nodes: few threads, and code that is loaded when it is used."""


class Plan(NamedTuple):
    """A host to make: its name, the names of its nodes, more arguments of erl(1) for each of them, and their user.

    A user other than root needs access to the Erlang: a home is often closed.
    """

    name: str
    nodes: Sequence[str] = ("vic",)
    arguments: Sequence[str] = SMALL
    user: str = "root"


class Host(Closable):
    """A running host, which is ready after `wait`. pid: of its first process, in the namespace of the tests."""

    def __init__(self, plan: Plan, address: str, otp: Otp, directory: Path) -> None:
        self.name = plan.name
        self.address = address
        self.pid = 0
        self._nodes = set(plan.nodes)
        self._guests: list[subprocess.Popen[bytes]] = []
        self._epmd = otp.bindir / "epmd"
        self._log = directory / f"{plan.name}.log"
        become = (
            [] if plan.user == "root" else ["setpriv", f"--reuid={plan.user}", "--clear-groups", "env", "HOME=/tmp"]
        )
        erl = [*become, otp.root / "bin" / "erl", "-detached", "-setcookie", COOKIE, *plan.arguments, "-sname"]
        start = "\n".join(shlex.join(map(str, [*erl, node])) for node in plan.nodes)
        # As many descriptors as allowed: some nodes have many connections.
        command = f"ulimit -n $(ulimit -H -n)\n{start}"
        self._process = spawn([SCRIPTS / "host", plan.name, address, directory, command], env=os.environ)

    def wait(self) -> None:
        """Wait until its nodes are registered and its sshd answers."""

        def ready() -> bool:
            if self._process.poll() is not None:
                raise LabError(f"the host {self.name} did not start: {self._log.read_text()}")
            with contextlib.suppress(OSError):
                if not self._nodes or self._nodes <= set(self.names()):
                    with socket.create_connection((self.address, 22), timeout=5) as connection:
                        return connection.recv(4) == b"SSH-"
            return False

        wait_until(ready, f"the host {self.name} to be ready", seconds=300)
        (first,) = psutil.Process(self._process.pid).children()
        self.pid = first.pid

    def names(self) -> dict[str, int]:
        """Ask its epmd for its table, over the network."""
        return names_at(self.address, 4369)

    def lose(self) -> None:
        """Replace its epmd by one without names."""
        self.run([SCRIPTS / "lose", self._epmd])
        wait_until(self._forgotten, f"an empty epmd on {self.name}")

    def command(self, words: Sequence[str | Path]) -> list[str]:
        """A command line for outside, which runs a command inside."""
        enter = [f"--target={self.pid}", "--mount", "--uts", "--net", "--pid", "--root", "--wd"]
        settings = ["HOME=/root", f"PATH={os.environ['PATH']}", "LANG=C.UTF-8"]
        return ["nsenter", *enter, "--", "env", "--ignore-environment", *settings, *map(str, words)]

    def run(self, words: Sequence[str | Path]) -> str:
        """Run a command inside, and return what it printed."""
        return output_of(self.command(words), f"{words[0]} on {self.name}")

    def spawn(self, words: Sequence[str | Path], output: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Start a process inside, which ends with the host."""
        process = spawn(self.command(words), env={"PATH": os.environ["PATH"]}, output=output)
        self._guests.append(process)
        return process

    def close(self) -> None:
        """Kill its first process, with which all others end, and wait until its network is gone."""
        end(self._process)
        for process in self._guests:
            if process.stdout:
                process.stdout.close()
            process.wait(30)
        wait_until(
            lambda: self.address not in {name for _number, name in socket.if_nameindex()}, f"{self.name} to be gone"
        )

    def _forgotten(self) -> bool:
        with contextlib.suppress(OSError):
            return self.names() == {}
        return False


class Fleet(Closable):
    """Running hosts, in the order of their plans.

    directory: for keys and logs, and for files that the hosts are to see. It has to last as long as the fleet.
    """

    def __init__(self, plans: Sequence[Plan], otp: Otp, directory: Path) -> None:
        if os.geteuid() != 0:
            raise LabError("only root can make the hosts of a fleet: please run as root")
        self.directory = directory
        self.hosts: list[Host] = []
        subprocess.run([SCRIPTS / "host_keys", directory], check=True)

        def start(numbered: tuple[int, Plan]) -> None:
            number, plan = numbered
            host = Host(plan, str(FIRST_ADDRESS + number), otp, directory)
            self.hosts.append(host)
            host.wait()

        try:
            _in_parallel(start, list(enumerate(plans)))
        except BaseException:
            self.close()
            raise
        self.hosts.sort(key=lambda host: ipaddress.IPv4Address(host.address))

    def inventory(self, size: int | None = None, **variables: Any) -> Path:
        """Write an inventory of the first hosts, or of all, with these additional variables; returns its path."""
        common = {
            "ansible_user": "root",
            # The hosts see the file system of this machine.
            "ansible_python_interpreter": sys.executable,
            "ansible_ssh_private_key_file": str(self.directory / "user_key"),
            "ansible_ssh_args": self.ssh_args(),
            **variables,
        }
        hosts = {
            host.name: {"ansible_host": host.address, "ansible_control_path": str(self._control(host))}
            for host in self.hosts[:size]
        }
        file = self.directory / f"{'-'.join(['inventory', str(len(hosts)), *variables])}.json"
        file.write_text(json.dumps({"all": {"hosts": hosts, "vars": common}}))
        return file

    def ssh_args(self, share: bool = True) -> str:
        """The arguments of ssh to reach the hosts. share: whether a connection stays open for the next command."""
        shared = "-o ControlMaster=auto -o ControlPersist=600" if share else "-o ControlMaster=no -o ControlPath=none"
        return f"-F none {shared} -o UserKnownHostsFile={self.directory}/known_hosts"

    def lose(self, size: int | None = None) -> None:
        """Lose the names on the first hosts, or on all."""
        _in_parallel(Host.lose, self.hosts[:size])

    def close(self) -> None:
        """End all hosts, and the ssh connections to them."""
        for host in self.hosts:
            control = self._control(host)
            if control.exists():
                hang_up = ["ssh", "-F", "none", "-o", f"ControlPath={control}", "-O", "exit", host.address]
                subprocess.run(hang_up, check=False, capture_output=True, timeout=30)
        _in_parallel(Host.close, self.hosts)
        self.hosts = []

    def _control(self, host: Host) -> Path:
        return self.directory / f"{host.name}.ssh"


def _in_parallel(work: Callable[[T], None], items: Sequence[T]) -> None:
    """Do the work for each item in threads, which mostly wait. Raises the first error, and cancels the rest."""
    workers = ThreadPoolExecutor(4 * (os.cpu_count() or 1), thread_name_prefix="lab-fleet")
    try:
        for future in [workers.submit(work, item) for item in items]:
            future.result()
    finally:
        workers.shutdown(cancel_futures=True)
