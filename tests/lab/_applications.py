# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real applications in a container, started as the services of their Debian packages are."""

from __future__ import annotations

import contextlib
import re
import secrets
import subprocess
import tempfile

import psutil

from ._container import Container
from ._process import Closable, LabError, end, wait_until


class Application(Closable):
    """An application that is up in a container. ports: of its services, besides distribution."""

    user: str
    program: str
    ports: tuple[int, ...]
    logs: str
    """Its log files, as a pattern below the root of the container."""

    def __init__(self, container: Container) -> None:
        self.container = container
        self.cookie = secrets.token_hex(10)
        # Without one, the application and its tools would create it at the same time, and one of them would fail.
        container.write(f"{container.account(self.user).home}/.erlang.cookie", self.cookie, self.user)
        self._prepare()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 # closed below
        self._process = container.spawn([self.program, *self.foreground], self.user, self._output)
        try:
            wait_until(self._is_up, f"{type(self).__name__} to be up", seconds=180)
            self.pid = self._oldest_vm()
        except BaseException as error:
            self._output.seek(0)
            printed = f"it printed: {self._output.read().decode()}; its log: {self.log[-2000:]}"
            self.close()
            raise LabError(f"{error}; {printed}") from error

    foreground: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its full node name."""
        raise NotImplementedError

    @property
    def up(self) -> tuple[str, ...]:
        """The command of its own tool which succeeds as soon as it is up."""
        raise NotImplementedError

    def ctl(self, *command: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run its own command line tool, as its own user, and kill it after so many seconds."""
        return self.container.run(["timeout", str(seconds), *command], user=self.user, seconds=seconds + 10)

    @property
    def log(self) -> str:
        """The contents of its log files."""
        files = sorted(self.container.root.glob(self.logs))
        return "".join(path.read_text(errors="replace") for path in files if path.is_file())

    @property
    def complaints(self) -> list[str]:
        """The warnings and errors in its log, without a late one about its start.

        And without that of RabbitMQ's own watch, which looks for its name at epmd once a minute: tests lose that name.
        """
        found = re.findall(r"^.*\[(?:warning|error|critical|alert|emergency)\].*$", self.log, re.MULTILINE)
        expected = ("turn_ipv4_address", "epmd does not know us")
        return [line for line in found if not any(words in line for words in expected)]

    @property
    def port(self) -> int:
        """Its distribution port, as epmd has it."""
        return self.container.names()[self.name.partition("@")[0]]

    def close(self) -> None:
        """Kill it."""
        end(self._process, patience=0)  # it is a script, whose VM does not end by itself
        self._output.close()

    def _prepare(self) -> None:
        """Prepare what it needs to start."""

    def _oldest_vm(self) -> int:
        """The pid of its own VM: its tools are Erlang VMs, too, but younger ones, which may end at any moment."""
        started = {}
        for pid in self.container.pids("beam.smp"):
            with contextlib.suppress(psutil.NoSuchProcess):
                started[pid] = psutil.Process(pid).create_time()
        return min(started, key=lambda pid: started[pid])

    def _is_up(self) -> bool:
        if self._process.poll() is not None:
            raise LabError(f"{type(self).__name__} ended")
        return self.ctl(*self.up, seconds=20).returncode == 0


class Ejabberd(Application):
    """ejabberd with the six listeners of Debian's configuration."""

    user = "ejabberd"
    program = "/usr/sbin/ejabberdctl"
    foreground = ("foreground",)
    ports = (1883, 5222, 5223, 5269, 5280, 5443)
    logs = "var/log/ejabberd/*.log"
    up = ("/usr/sbin/ejabberdctl", "status")
    name = "ejabberd@localhost"

    def _prepare(self) -> None:
        # RuntimeDirectory= of its unit
        self.container.run(["install", "-d", "-o", "ejabberd", "-g", "ejabberd", "/run/ejabberd"])


class RabbitMq(Application):
    """RabbitMQ with its management and MQTT plugins."""

    user = "rabbitmq"
    program = "/usr/lib/rabbitmq/bin/rabbitmq-server"
    ports = (1883, 5672, 15672)
    logs = "var/log/rabbitmq/*.log"
    up = ("/usr/lib/rabbitmq/bin/rabbitmqctl", "await_startup", "--timeout", "15")

    @property
    def name(self) -> str:
        return f"rabbit@{self.container.name}"

    def _is_up(self) -> bool:
        # Some lines about its start are logged after that.
        return super()._is_up() and "Server startup complete" in self.log

    def _prepare(self) -> None:
        plugins = self.container.root / "etc/rabbitmq/enabled_plugins"
        plugins.write_text("[rabbitmq_management,rabbitmq_mqtt].\n")
        # Otherwise it closes a client that has only sent its greeting after 10 s, and logs an error.
        (self.container.root / "etc/rabbitmq/rabbitmq.conf").write_text("handshake_timeout = 600000\n")
