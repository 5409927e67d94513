# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the steps hand to each other: one record a node, one record an epmd. Pure, and private to the collection.

Standard: "The way of the data" in the documentation. Every record can be sent from a child to its parent: none holds a
socket, a file or a cookie.
"""

from __future__ import annotations

from .._errors import EpmdError
from .._host.owners import Listener
from .._host.vms import Vm
from .._record import Record
from .._wire.epmd_client import DOWN, Daemon, Table

# The verdicts on a node.
REGISTERED = "registered"
MISSING = "missing"
BORROWED = "borrowed"
CONFLICT = "conflict"
EPMD_DOWN = "epmd_down"
EPMD_UNRESPONSIVE = "epmd_unresponsive"
NOT_APPLICABLE = "not_applicable"
UNIDENTIFIED = "unidentified"


class EpmdKey(Record):
    """Which epmd: where nodes ask for it, and in which network namespace (None: our own)."""

    namespace: int | None
    daemon: Daemon

    @property
    def number(self) -> int:
        """The network namespace and the port as one number: the lock of whoever starts an epmd there."""
        return ((self.namespace or 0) << 16) | self.daemon.port


class Observation(Record):
    """What was seen of one node.

    tls: whether it is spoken to in TLS. listener: its distribution port, or the likeliest one where it did not answer;
    None where none was asked. unasked: the ports of its other listeners that were not asked, since they belong to other
    services for all that is known. name: the full name from its challenge. trouble: why there was no challenge.
    is_node: whether what answers is a node, None where nothing does. table: what its epmd has. connected: whether it
    holds any connection to an epmd.
    holds: whether its registration is on a connection of the node itself, None where there is no registration or that
    can't be seen. left: seconds of its time that were not used. obstacle: why it could not be looked at.
    entered: whether its network namespace could be entered.
    """

    vm: Vm
    daemon: Daemon
    tls: bool
    listener: Listener | None = None
    unasked: tuple[int, ...] = ()
    name: str | None = None
    trouble: EpmdError | None = None
    is_node: bool | None = None
    table: Table = DOWN
    connected: bool = False
    holds: bool | None = None
    left: float = 0
    obstacle: Exception | None = None
    entered: bool = True

    @property
    def key(self) -> EpmdKey:
        """Its epmd."""
        return EpmdKey(self.vm.namespace, self.daemon)

    @property
    def known_name(self) -> str | None:
        """Its full name, or what its command line has: with or without the host."""
        return self.name or self.vm.command_line.name

    @property
    def alive(self) -> str | None:
        """The name as epmd knows it: without the host."""
        return self.known_name.partition("@")[0] if self.known_name else None

    @property
    def port(self) -> int | None:
        """Its distribution port."""
        return self.listener.port if self.listener else None

    @property
    def is_registered(self) -> bool:
        """Whether epmd has its name with its port, whoever holds it."""
        return self.alive is not None and self.port is not None and self.table.names.get(self.alive) == self.port


class Lost(Record):
    """A node that can be registered again: its name as epmd knows it, where it listens, and what epmd lacks.

    doubt: the flag by which it may need no epmd, which only the node itself can tell; empty without such a flag.
    """

    observation: Observation
    alive: str
    listener: Listener
    why: str
    doubt: str = ""

    @property
    def where(self) -> str:
        """Its distribution port, in words."""
        return f"{self.listener.reachable} port {self.listener.port}"


class Diagnosis(Record):
    """A verdict, and what was seen in a few words. lost: only where the verdict calls for a repair.

    doubtful: the node, where it has to be asked whether it needs an epmd before that verdict is one.
    """

    verdict: str
    msg: str
    lost: Lost | None = None
    doubtful: Lost | None = None


class Repair(Record):
    """How a repair ended: what epmd was seen to have afterwards, or would have in check mode.

    started: whether an epmd was started. reason: why it failed, for programs; empty where it did not.
    """

    changed: bool
    registered: bool
    msg: str
    table: Table
    started: bool = False
    reason: str = ""


class Finding(Record):
    """A node as it stands after the steps that it went through. repair: None where nothing was to be repaired."""

    observation: Observation
    diagnosis: Diagnosis
    repair: Repair | None = None


class Epmd(Record):
    """An epmd at the start and at the end of a run, with its process.

    addresses: those that it listens on. pid: None if what listens there is no epmd, or can't be seen. unit: the systemd
    unit whose cgroup it lives in. foreign: its names that belong to no node that was found. stranger: who answers in
    place of an epmd, empty where it is one.
    """

    key: EpmdKey
    before: Table
    after: Table
    started: bool = False
    addresses: tuple[str, ...] = ()
    pid: int | None = None
    user: str | None = None
    unit: str | None = None
    in_application_unit: bool = False
    foreign: tuple[Foreign, ...] = ()
    stranger: str = ""


class Foreign(Record):
    """A name at epmd that belongs to no node that was found: a C node, a node that is gone, a squatter."""

    name: str
    port: int
    pid: int | None
    user: str | None
