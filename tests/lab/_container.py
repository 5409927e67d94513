# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers as Docker, LXC, systemd and chroot make them: namespaces(7), and an overlay over another root.

All changes are kept in memory. A container ends with its init, and the init with the tests.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import subprocess
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

import psutil

from ._node import Node
from ._otp import Otp
from ._process import Closable, LabError, completed, end, spawn, wait_until
from ._reached import reached_by

DOCKER = ("mount", "uts", "ipc", "net", "pid")
"""The namespaces that a container usually has, as options of unshare(1)."""

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# The shell stays as the first process: it reaps orphans, as an init does.
_INIT = "exec 2>&1; echo up; sleep infinity; :"
_LONELY_INIT = "exec 2>&1; echo up; exec sleep infinity"

_ROOT = """
mount -t tmpfs tmpfs .
cd "$PWD"
mkdir changes work root
mount -t overlay -o lowerdir="$SYSTEM",upperdir=changes,workdir=work overlay root
cd root
mount -t proc proc proc
mount -t tmpfs -o mode=755 tmpfs dev
mkdir -m 1777 dev/shm
for device in null zero full random urandom; do
    : >dev/$device
    mount --bind /dev/$device dev/$device
done
mount -t tmpfs -o mode=1777 tmpfs tmp
printf '127.0.0.1 localhost\\n127.0.1.1 %s\\n' "$(uname -n)" >etc/hosts
"""

_PIVOT = """
mkdir .outside
pivot_root . .outside
umount -l .outside
rmdir .outside
"""


class Account(NamedTuple):
    """A user in /etc/passwd of a container."""

    uid: int
    gid: int
    home: str


# The capabilities of root in a container of Docker.
_CAPABILITIES = "-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+net_bind_service,+sys_chroot"


class Container(Closable):
    """A running container.

    system: the root file system below its own, as `tests/toolchain/offline/system` makes it; None for this host's root.
    own: the namespaces that it does not share with the tests. Without "mount" it is a mere chroot, mounted in the
    namespace of the tests. cgroup: whether it gets a cgroup, where that is possible. ipv6: whether IPv6 is switched on
    in its network namespace.
    """

    def __init__(
        self,
        system: Path | None,
        name: str = "box",
        *,
        own: Collection[str] = DOCKER,
        cgroup: bool = False,
        ipv6: bool = True,
    ) -> None:
        self.name = name
        self._own = own
        self._has_root = system is not None
        self._cgroup = _make_cgroup() if cgroup else None
        self._directory = tempfile.TemporaryDirectory(prefix="beamops-lab-")
        setup = ["set -eu"]
        if "net" in own:
            setup += [] if ipv6 else ["echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6"]
            setup += ["ip link set lo up"]
        setup += [f"echo {shlex.quote(name)} >/proc/sys/kernel/hostname"] if "uts" in own else []
        setup += [_ROOT] if system else []
        setup += [_PIVOT] if system and "mount" in own else []
        setup += [f"exec {'chroot . ' if system else ''}sh -c {shlex.quote(_INIT if 'pid' in own else _LONELY_INIT)}"]
        command = [*self._in_cgroup(), "unshare", *(f"--{kind}" for kind in own)]
        command += ["--fork", "--kill-child"] if "pid" in own else []
        command += ["--map-root-user"] if "user" in own else []
        self._process = spawn(
            [*command, "sh", "-c", "\n".join(setup)],
            env={"PATH": _PATH, "SYSTEM": str(system)},
            output=subprocess.PIPE,
            cwd=Path(self._directory.name),
        )
        try:
            line = self._process.stdout.readline() if self._process.stdout else b""
            if line != b"up\n":
                rest = self._process.communicate(timeout=10)[0]
                raise LabError(f"the container {name} did not start: {(line + rest).decode(errors='replace')}")
            children = psutil.Process(self._process.pid).children()
            self.pid = children[0].pid if "pid" in own else self._process.pid
            self.root = Path(f"/proc/{self.pid}/root")
            self._identity = _identity(self.pid)
        except BaseException:
            self.close()
            raise

    def namespace(self, kind: str) -> int:
        """The number of one of its namespaces, such as `net`."""
        return os.stat(f"/proc/{self.pid}/ns/{kind}").st_ino

    @property
    def cgroup(self) -> str:
        """/proc/PID/cgroup of its init."""
        return Path(f"/proc/{self.pid}/cgroup").read_text()

    def account(self, user: str) -> Account:
        """One of its users."""
        for line in (self.root / "etc/passwd").read_text().splitlines():
            fields = line.split(":")
            if fields[0] == user:
                return Account(int(fields[2]), int(fields[3]), fields[5])
        raise LabError(f"the container has no user {user}")

    def write(self, path: str, content: str, user: str = "root", mode: int = 0o400) -> None:
        """Write a file inside, owned by this user; a missing directory is created."""
        account = self.account(user)
        file = self.root / path.lstrip("/")
        if not file.parent.is_dir():
            file.parent.mkdir(parents=True)
            os.chown(file.parent, account.uid, account.gid)
        file.unlink(missing_ok=True)
        with os.fdopen(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), "w") as opened:
            opened.write(content)
        os.chown(file, account.uid, account.gid)

    def command(
        self,
        words: Sequence[str | Path],
        user: str = "root",
        env: Mapping[str, str] | None = None,
        limited: bool = False,
    ) -> list[str]:
        """A command line for outside, which runs a command inside, as one of its users.

        limited: whether it runs with the capabilities of a container of Docker, and no_new_privs.
        """
        account = self.account(user)
        settings = {"PATH": _PATH, "HOME": account.home, "LANG": "C.UTF-8", **(env or {})}
        # Not by the PATH: that of BusyBox can't do this.
        become = ["/usr/bin/setpriv", "--pdeathsig=KILL", f"--reuid={account.uid}", f"--regid={account.gid}"]
        become += [f"--bounding-set={_CAPABILITIES}", "--no-new-privs"] if limited else []
        # In a user namespace with only one user, a process can't change its groups.
        become += ["--keep-groups" if "user" in self._own else "--clear-groups"]
        assigned = [f"{key}={value}" for key, value in settings.items()]
        return [*self._enter(), *become, "env", "--ignore-environment", *assigned, *map(str, words)]

    def in_network(self, words: Sequence[str]) -> list[str]:
        """A command line which runs a command outside, but in its network namespace."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", *words]

    def run(
        self, words: Sequence[str | Path], user: str = "root", env: Mapping[str, str] | None = None, seconds: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside; its standard output includes standard error."""
        return completed(self.command(words, user, env), seconds=seconds)

    def reached_from(self, directory: Path) -> dict[str, str]:
        """The variables by which Ansible reaches it, as root, by a program in this directory."""
        return reached_by(self.command([]), directory)

    def spawn(self, words: Sequence[str | Path], user: str, output: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a process inside, which ends with the container."""
        return spawn(self.command(words, user, limited=True), env={"PATH": _PATH}, output=output)

    def node(
        self,
        name: str,
        *,
        release: int,
        cookie: str | None = None,
        user: str = "root",
        args: Sequence[str] = (),
        epmd_port: int = 4369,
    ) -> Node:
        """Start a node of the container's own Erlang, with its cookie only in its home inside.

        As in the field, the node starts epmd if there is none.
        """
        if cookie is not None:
            self.write(f"{self.account(user).home}/.erlang.cookie", cookie, user)
        return _Inside(self, name, release, cookie or "", user, args, epmd_port)

    def otp(self, otp: Otp) -> Otp:
        """This Erlang of the host, with nodes that run inside; for a container with the host's root and processes."""
        if self._has_root or "pid" in self._own:
            raise LabError("an Erlang of the host needs a container with the host's files and processes")
        return self._launched(otp.release, otp.root, [*self._enter(), str(otp.erlexec)], otp.bindir)

    def pids(self, name: str) -> set[int]:
        """The pids, in the namespace of the tests, of the processes inside with this name."""
        return {process.pid for process in self._inhabitants() if process.info["name"] == name}

    def names(self, epmd_port: int = 4369) -> dict[str, int]:
        """The table of epmd inside, by epmd's own client; empty if there is none."""
        lines = self.run(["epmd", "-port", str(epmd_port), "-names"]).stdout.splitlines()
        found = [line.split() for line in lines if line.startswith("name ")]
        return {words[1]: int(words[4]) for words in found}

    def listeners(self, port: int) -> set[int]:
        """The pids that listen on this port in its network."""
        return self._owners("listening", "sport", port)

    def holders(self, port: int) -> set[int]:
        """The pids with a connection to this port in its network."""
        return self._owners("established", "dport", port)

    def kill_epmd(self, port: int = 4369) -> None:
        """Kill epmd as the OOM killer would, and wait until every node has noticed."""
        for pid in self.listeners(port):
            process = psutil.Process(pid)
            process.kill()
            process.wait(30)
        wait_until(lambda: not self.holders(port), "the nodes to notice that their epmd is gone")

    def start_epmd(self, user: str = "root", port: int = 4369) -> None:
        """Start an epmd as a node would."""
        self.run(["epmd", "-port", str(port), "-daemon"], user)
        wait_until(lambda: self.listeners(port), f"an epmd on port {port} of the container")

    def close(self) -> None:
        """Kill all processes inside, and unmount its root."""
        # In a process namespace, all processes end with the first one.
        end(self._process)
        if self._process.stdout:
            self._process.stdout.close()
        if self._has_root and hasattr(self, "_identity"):
            leftovers = self._inhabitants()
            while leftovers:
                for process in leftovers:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
                psutil.wait_procs(leftovers, timeout=10)
                leftovers = self._inhabitants()
        if self._has_root and "mount" not in self._own:
            subprocess.run(["umount", "--recursive", "--lazy", self._directory.name], check=False, capture_output=True)
        self._directory.cleanup()
        if self._cgroup is not None:
            wait_until(self._remove_cgroup, "the cgroup to be empty")

    def _inhabitants(self) -> list[psutil.Process]:
        """The processes with its root directory."""
        return [process for process in psutil.process_iter(["name"]) if _identity(process.pid) == self._identity]

    def _enter(self) -> list[str]:
        root = ["--root", "--wd"] if self._has_root else []
        kinds = [f"--{kind}" for kind in self._own]
        return [*self._in_cgroup(), "nsenter", f"--target={self.pid}", *kinds, *root, "--"]

    def _in_cgroup(self) -> list[str]:
        if self._cgroup is None:
            return []
        return ["sh", "-c", 'echo 0 >"$0" && exec "$@"', str(self._cgroup / "cgroup.procs")]

    def _remove_cgroup(self) -> bool:
        with contextlib.suppress(OSError):
            if self._cgroup is not None:
                self._cgroup.rmdir()
            return True
        return False

    def _launched(self, release: int, root: Path, words: Sequence[str], bindir: Path) -> Otp:
        """An Erlang that is started by this command line, followed by its arguments."""
        launcher = Path(self._directory.name, f"erl-{secrets.token_hex(4)}")
        launcher.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        launcher.chmod(0o700)
        return _Launched(release, root, launcher, bindir)

    def _owners(self, state: str, side: str, port: int) -> set[int]:
        words = ["ss", "--no-header", "--numeric", "--tcp", "--processes", "state", state, side, "=", f":{port}"]
        done = subprocess.run(self.in_network(words), check=True, stdout=subprocess.PIPE, text=True, timeout=30)
        return {int(part.split(",")[0]) for part in done.stdout.split("pid=")[1:]}


@dataclass(frozen=True)
class _Launched(Otp):
    """An Erlang that is started by a launcher."""

    launcher: Path
    launched_bindir: Path

    @property
    def erlexec(self) -> Path:
        return self.launcher

    @property
    def bindir(self) -> Path:
        return self.launched_bindir


class _Inside(Node):
    """A node in a container; `eval` uses the same two pipes as for any other node."""

    def __init__(
        self,
        container: Container,
        name: str,
        release: int,
        cookie: str,
        user: str,
        args: Sequence[str],
        epmd_port: int,
    ) -> None:
        env = {"ERL_EPMD_PORT": str(epmd_port), "ERL_CRASH_DUMP_SECONDS": "0"}
        words = container.command(["erl"], user, env, limited=True)
        # It does not use the home outside, which every node of the lab gets.
        super().__init__(
            container._launched(release, Path("/usr/lib/erlang"), words, Path("/usr/bin")),
            name,
            epmd_port=epmd_port,
            cookie=cookie,
            home=None,
            args=args,
            env={},
            long_names=False,
            user=None,
            set_cookie_arg=False,
            start_epmd=True,
        )
        # Where nsenter forks, the node is its child.
        family = [psutil.Process(self.pid), *psutil.Process(self.pid).children(recursive=True)]
        self.pid = next(process.pid for process in family if process.name().startswith("beam"))


def _identity(pid: int) -> tuple[int, int] | None:
    """The identity of the root directory of a process; None if it has ended."""
    with contextlib.suppress(OSError):
        root = os.stat(f"/proc/{pid}/root")
        return root.st_dev, root.st_ino
    return None


def _make_cgroup() -> Path | None:
    """Make a cgroup below that of the tests, in the hierarchy of systemd(1); None where they may not."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _number, controllers, path = line.split(":", 2)
        if controllers in ("", "name=systemd"):
            mounted = Path(f"/sys/fs/cgroup/{controllers.replace('name=', '')}{path}")
            made = mounted / f"beamops-lab-{secrets.token_hex(4)}"
            if (mounted / "cgroup.procs").exists():
                with contextlib.suppress(OSError):
                    made.mkdir()
                    return made
    return None


def system(release: int) -> Path:
    """The root file system of a Debian with this OTP, to which BEAMOPS_SYSTEM_<release> points."""
    variable = f"BEAMOPS_SYSTEM_{release}"
    root = Path(os.environ.get(variable, ""))
    if not (root / "usr/lib/erlang").is_dir():
        raise LabError(f"set {variable} to a root file system with Erlang/OTP {release}")
    return root
