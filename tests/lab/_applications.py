# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real applications in a container, started as the services of their Debian packages start them."""

from __future__ import annotations

import re
import subprocess

import psutil

from ._container import Container
from ._process import Closable, LabError, wait_until


class Application(Closable):
    """An application that is up in a container, which goes with it.

    `ports`: services of it, beside distribution, and which of them are slow to open is up to it.
    """

    user: str
    program: str
    ports: tuple[int, ...]
    logs: str
    """Where it writes, as a pattern below the root of the container."""

    def __init__(self, container: Container) -> None:
        self.container = container
        self._prepare()
        self._process = container.spawn([self.program, *self.foreground], user=self.user)
        try:
            wait_until(self._is_up, f"{type(self).__name__} to be up", seconds=180)
            # Its tools are Erlang VMs too, but younger ones.
            self.pid = min(container.pids("beam.smp"), key=lambda pid: psutil.Process(pid).create_time())
        except BaseException as error:
            raise LabError(f"{error}; its log: {self.log[-2000:]}") from error

    foreground: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its node name in full."""
        raise NotImplementedError

    @property
    def up(self) -> tuple[str, ...]:
        """The command of its own tool which succeeds once it is up."""
        raise NotImplementedError

    def ctl(self, *command: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run its own command line tool, as its own user; one that takes longer has failed."""
        return self.container.run(["timeout", str(seconds), *command], user=self.user, seconds=seconds + 10)

    @property
    def log(self) -> str:
        """All that it has written to its files."""
        files = sorted(self.container.root.glob(self.logs))
        return "".join(path.read_text(errors="replace") for path in files if path.is_file())

    @property
    def complaints(self) -> list[str]:
        """The lines of its log that are warnings or errors."""
        return re.findall(r"^.*\[(?:warning|error|critical|alert|emergency)\].*$", self.log, re.MULTILINE)

    @property
    def port(self) -> int:
        """Its distribution port, as epmd has it."""
        return self.container.names()[self.name.partition("@")[0]]

    @property
    def cookie(self) -> str:
        """Its cookie, which no output may show."""
        home = self.container.account(self.user).home
        return (self.container.root / home.lstrip("/") / ".erlang.cookie").read_text().strip()

    def close(self) -> None:
        """Nothing of it outlives its container."""
        self.container.close()

    def _prepare(self) -> None:
        """What has to be there before it starts."""

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

    def _prepare(self) -> None:
        plugins = self.container.root / "etc/rabbitmq/enabled_plugins"
        plugins.write_text("[rabbitmq_management,rabbitmq_mqtt].\n")
