# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host whose init is a real systemd, booted by systemd-nspawn(1) from a root file system that stays as it is.

All changes are kept in memory. The host ends with systemd-nspawn, and that with the tests. Every pid is that of the
host, unless it is said to be seen from outside.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import subprocess
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from ._payload import run_payload
from ._process import Closable, LabError, completed, end, output_of, spawn, wait_until
from ._reached import reached_by

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# A process namespace also for systemd-nspawn: what is in it ends with it.
_START = """
echo 0 >"$CGROUP/cgroup.procs"
exec unshare --mount --pid --fork --kill-child --mount-proc sh -eu -c "$BOOT"
"""

# systemd gets the unified hierarchy of cgroups alone, since newer ones refuse the others. The program is that of the
# system, with its own libraries, so that this machine needs none. What it leaves in /run and /tmp goes with the mount
# namespace. The applications and timers of the system would only get in the way.
_BOOT = """
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mkdir /run/system
mount --bind "$SYSTEM" /run/system
mount -t tmpfs tmpfs /tmp
cd /run/system
set -- lib/*/ld-linux*.so.*
libraries=
for folder in "$PWD/${1%/*}" "$PWD/usr/${1%/*}" "$PWD/lib"; do
    libraries=$libraries${libraries:+:}$folder:$folder/systemd
done
exec "$1" --library-path "$libraries" usr/bin/systemd-nspawn --quiet --register=no --keep-unit --volatile=overlay \\
    --private-network --notify-ready=yes --console=pipe --hostname="$NAME" --directory="$PWD" \\
    --boot systemd.hostname="$NAME" systemd.mask=timers.target systemd.mask=ejabberd.service \\
    systemd.mask=rabbitmq-server.service
"""

# A node takes a second to end in good order.
_AT_ONCE = ("KillSignal=SIGKILL", "SuccessExitStatus=SIGKILL")

# The numbers of processes are left out.
_STATE = """
systemctl list-units --all --plain --no-legend --type=service,socket,scope --state=active,activating,failed |
    awk '{ print $1, $3, $4 }'
systemctl list-unit-files --no-legend 'epmd.*'
find /etc/systemd /run/systemd/system /run/systemd/transient /run/systemd/sessions /tmp /root /home | sort
ps --no-headers --deselect -s "$$" -o user=,args= --sort=args
ss --no-header --listening --numeric --tcp | awk '{ print $4 }'
epmd -names
"""


class UnitNode(NamedTuple):
    """A node in a unit: its process and its distribution port."""

    pid: int
    port: int


class Systemd(Closable):
    """A running host.

    system: its root file system, as `tests/toolchain/offline/system` makes it.
    """

    def __init__(self, system: Path, name: str = "box") -> None:
        self.name = name
        self._cgroup = _make_cgroup()
        self._directory = tempfile.TemporaryDirectory(prefix="beamops-lab-")
        self._console = Path(self._directory.name, "console")
        address = f"beamops-lab-{secrets.token_hex(8)}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, self._console.open("wb") as console:
            ready.bind(f"\0{address}")
            self._process = spawn(
                ["sh", "-eu", "-c", _START],
                env={
                    "PATH": _PATH,
                    "SYSTEM": str(system),
                    "NAME": name,
                    "BOOT": _BOOT,
                    "CGROUP": str(self._cgroup),
                    "NOTIFY_SOCKET": f"@{address}",
                },
                output=console,
                cwd=Path(self._directory.name),
            )
            try:
                self.pid = self._booted(ready, time.monotonic() + 60)
                self.root = Path(f"/proc/{self.pid}/root")
                (self.root / "etc/hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {name}\n")
                running = self.completed(["systemctl", "is-system-running"]).stdout.strip()
                if running not in ("running", "degraded"):
                    raise LabError(f"systemd is up, and says {running}")
            except BaseException:
                self.close()
                raise

    def command(self, words: Sequence[str]) -> list[str]:
        """A command line for outside, which runs a command inside, as root and in no unit."""
        enter = ["nsenter", f"--target={self.pid}", "--all", "--"]
        return [*enter, "env", "--ignore-environment", f"PATH={_PATH}", "LANG=C.UTF-8", *words]

    def completed(self, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command inside to its end, whether it succeeds or not."""
        return completed(self.command(words), seconds=60)

    def run(self, *words: str) -> str:
        """The output of a command inside, which has to succeed."""
        return output_of(self.command(words), " ".join(words))

    def systemctl(self, *words: str) -> str:
        """The output of systemctl(1), which has to succeed."""
        return self.run("systemctl", "--quiet", *words)

    def show(self, unit: str, name: str) -> str:
        """A property of a unit, such as ActiveState."""
        return self.systemctl("show", f"--property={name}", "--value", unit).strip()

    def write(self, path: str, content: str) -> None:
        """Write a file of root inside, in a directory that is made where it is missing."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)

    def module(
        self,
        module: str,
        *,
        check: bool = False,
        user: str = "root",
        login: str | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """The result of a module that this user runs inside, as on a target of Ansible, in a unit that ends with it.

        login: whose login that is instead of a unit; another user gets there by su(1).
        """
        unit = ["systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--service-type=exec"]
        unit += [f"--uid={login}", "--property=PAMName=login"] if login else [f"--uid={user}"]
        become = ["su", '--command=exec "$0"', user] if login not in (None, user) else []
        return run_payload(module, options, check=check, within=self.command([*unit, *become]), python="python3")

    def reached_from(self, directory: Path) -> dict[str, str]:
        """The variables by which Ansible reaches it, by a program in this directory."""
        return reached_by(self.command([]), directory)

    @contextlib.contextmanager
    def node(
        self,
        name: str,
        cookie: str,
        *,
        user: str = "ejabberd",
        properties: Collection[str] = (),
        within: Collection[str] = (),
        args: Collection[str] = (),
    ) -> Iterator[UnitNode]:
        """A node of the host's own Erlang in a unit of its name, which is stopped at the end.

        As in the field, the node starts epmd if there is none. properties: settings of the unit, as `Key=value`.
        within: a command in front of that of the node, such as unshare(1). args: more arguments.
        """
        unit = f"{name}.service"
        settings = ["Type=notify", "NotifyAccess=all", f"User={user}", *_AT_ONCE, *properties]
        erl = [*within, "erl", "-noinput", "-sname", name, "-setcookie", cookie, *args]
        erl += ["-eval", 'os:cmd("systemd-notify --ready").']
        try:
            self.run("systemd-run", "--quiet", f"--unit={unit}", *(f"--property={each}" for each in settings), *erl)
            yield self.node_in(unit)
        finally:
            self.completed(["systemctl", "stop", unit])
            self.completed(["systemctl", "reset-failed", unit])

    def node_in(self, unit: str) -> UnitNode:
        """The node that runs in a unit."""
        group = self.show(unit, "ControlGroup")
        members = map(int, self.run("cat", f"/sys/fs/cgroup{group}/cgroup.procs").split())
        # What told systemd that it is ready may end at this moment.
        (pid,) = (each for each in members if self.completed(["cat", f"/proc/{each}/comm"]).stdout == "beam.smp\n")
        listening = self._sockets("listening", "sport", pid)
        (port,) = (port for port, pids in listening.items() if pid in pids)
        return UnitNode(pid, port)

    def life(self, node: UnitNode) -> tuple[int, float, str]:
        """What must not change of a node: its process, the start of that, and what it has logged."""
        log = self.run("journalctl", "--quiet", "--output=cat", f"_PID={node.pid}")
        return node.pid, psutil.Process(self.outside(node.pid)).create_time(), log

    def outside(self, pid: int) -> int:
        """The pid of one of its processes as the tests see it."""
        depth = len(_numbers(self.pid))
        for process in psutil.Process(self.pid).children(recursive=True):
            with contextlib.suppress(OSError):
                numbers = _numbers(process.pid)
                if len(numbers) >= depth and numbers[depth - 1] == pid:
                    return process.pid
        raise LabError(f"{self.name} has no process {pid}")

    def names(self, *within: str) -> dict[str, int]:
        """The table of epmd, by epmd's own client; empty if there is none. within: a command in front of that."""
        lines = self.completed([*within, "epmd", "-names"]).stdout.splitlines()
        return {words[1]: int(words[4]) for words in map(str.split, lines) if words[0] == "name"}

    def units(self, *patterns: str) -> list[str]:
        """The units that are loaded and match one of these patterns."""
        listed = self.systemctl("list-units", "--all", "--plain", "--no-legend", *patterns)
        return [line.split()[0] for line in listed.splitlines()]

    def logins(self) -> list[str]:
        """The units of those who are logged in; also until the last process of a login has ended."""
        return self.units("session-*.scope", "user@*.service", "user-runtime-dir@*.service")

    def owner(self, pid: int) -> str:
        """The user of a process."""
        return self.run("ps", "--no-headers", "-o", "user:32=", "--pid", str(pid)).strip()

    def network(self, pid: int) -> int:
        """The number of the network namespace of a process."""
        return os.stat(self.root / f"proc/{pid}/ns/net").st_ino

    def listeners(self, port: int = 4369) -> set[int]:
        """The pids that listen on this port; with a socket unit, that of the init is among them."""
        return self._sockets("listening", "sport").get(port, set())

    def holders(self, port: int = 4369) -> set[int]:
        """The pids with a connection to this port."""
        return self._sockets("established", "dport").get(port, set())

    def state(self) -> str:
        """What a test has to leave as it was: units, their files, processes, ports, names."""
        return self.run("setsid", "--wait", "sh", "-c", _STATE)

    def close(self) -> None:
        """Kill all processes; with them go all mounts and all files."""
        end(self._process)
        self._directory.cleanup()
        wait_until(self._remove_cgroup, "its cgroup to be empty")

    def _booted(self, ready: socket.socket, deadline: float) -> int:
        """The pid of its init from outside, as soon as that says that all is started."""
        ready.settimeout(1)
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(TimeoutError):
                if b"READY=1\n" in ready.recv(4096):
                    (nspawn,) = psutil.Process(self._process.pid).children()
                    return next(child.pid for child in nspawn.children() if child.name() == "systemd")
        raise LabError(f"systemd did not start: {self._console.read_text(errors='replace')}")

    def _sockets(self, state: str, side: str, network_of: int = 1) -> dict[int, set[int]]:
        """The pids at each port, in the network of this process."""
        found: dict[int, set[int]] = {}
        ss = ["ss", "--no-header", "--numeric", "--tcp", "--processes", "state", state]
        for line in self.run("nsenter", f"--target={network_of}", "--net", *ss).splitlines():
            words = line.split()
            address = words[2 if side == "sport" else 3]
            pids = found.setdefault(int(address.rpartition(":")[2]), set())
            pids.update(int(part.split(",")[0]) for part in line.split("pid=")[1:])
        return found

    def _remove_cgroup(self) -> bool:
        directories = sorted((path for path in self._cgroup.rglob("*") if path.is_dir()), reverse=True)
        for directory in [*directories, self._cgroup]:
            with contextlib.suppress(OSError):
                directory.rmdir()
        return not self._cgroup.exists()


def _numbers(pid: int) -> list[int]:
    """The pids of a process, from outside to its own process namespace. Errors: OSError."""
    status = Path(f"/proc/{pid}/status").read_text()
    (numbers,) = re.findall("^NSpid:(.*)$", status, re.MULTILINE)
    return [int(number) for number in numbers.split()]


def _make_cgroup() -> Path:
    """Make a cgroup below that of the tests, in the unified hierarchy (cgroups(7))."""
    hybrid = Path("/sys/fs/cgroup/unified")
    mounted = hybrid if hybrid.is_dir() else hybrid.parent
    (own,) = re.findall(r"^0::/(.*)$", Path("/proc/self/cgroup").read_text(), re.MULTILINE)
    cgroup = Path(mounted, own, f"beamops-lab-{secrets.token_hex(4)}")
    cgroup.mkdir()
    return cgroup
