# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verdict -> actions -> proof, for one node.

Standard: "Repair" and "Prove" in the way of the data; `register_node` in erl_epmd.erl. The node
registers itself, so that the name belongs to its own connection. What is reported is what epmd
says afterwards, never what was sent.
"""

from __future__ import annotations

from typing import NamedTuple

from .._deadline import Deadline
from .._errors import EpmdError, StillSilent, Unreachable
from .._host import cookies, owners
from .._host.cookies import Cookie
from .._options import Options
from .._wire import epmd_client, erl_epmd
from .._wire.etf import Term
from .._wire.node import NodeConnection
from . import diagnose, observe
from .diagnose import Diagnosis, Observation
from .observe import Seen


class Ready(NamedTuple):
    """What a repair needs of us: a connection at its challenge, and the cookie."""

    connection: NodeConnection
    cookie: Cookie


class Asked(NamedTuple):
    """What the node answered, None where it was not asked; whether a dead socket was cut for it."""

    reply: Term
    cut: bool


class Repair(NamedTuple):
    """What came of it. `names`: the table of epmd afterwards, None where it is down. `failed`: msg says why."""

    changed: bool
    registered: bool
    msg: str
    names: dict[str, int] | None
    started_epmd: bool = False
    failed: bool = False


def failure(observation: Observation, error: EpmdError, started: bool = False) -> Repair:
    """What to report where the work ended early; `observation` has the table that was seen last."""
    return Repair(started, False, str(error), observation.table.names, started, failed=True)


def prepare(seen: Seen, diagnosis: Diagnosis, options: Options, deadline: Deadline) -> Ready:
    """Everything that can be known to fail before anything is touched. Errors: EpmdError."""
    if options.epmd_port not in (None, seen.daemon.port):
        raise EpmdError(
            f"{diagnosis.msg} (on port {seen.daemon.port}); the node uses no other, so leave out "
            f"epmd_port={options.epmd_port}"
        )
    if diagnosis.verdict == diagnose.EPMD_DOWN and not options.start_epmd:
        raise EpmdError(f"epmd is down on port {seen.daemon.port}, and start_epmd=false: start it")
    if seen.connection is None:
        raise EpmdError(f"{diagnosis.msg}, but the node does not answer: {seen.observation.trouble}")
    return Ready(seen.connection, cookies.find(seen.vm, options.cookie, options.cookie_file, deadline))


def predict(seen: Seen) -> Repair:
    """What `repair` would report if all goes well."""
    names = dict(seen.observation.table.names or {})
    names[str(seen.observation.alive)] = int(seen.observation.port or 0)
    started = seen.observation.table.names is None
    return Repair(
        True,
        False,
        "epmd would be started and the node registered" if started else "would be registered",
        names,
        started,
    )


def repair(seen: Seen, ready: Ready, deadline: Deadline) -> Repair:
    """Register the node, starting its epmd first where that is down. Never raises EpmdError.

    The cookie comes first: a node that refuses us leaves everything as it was.
    """
    observation, started = seen.observation, False
    try:
        _authenticate(seen, ready)
        if observation.table.names is None:
            _check_epmd(seen, ready.connection)
            # Here and not above, as in `_ensure.py`.
            from . import start_epmd  # noqa: PLC0415

            table, started = start_epmd.start(seen.vm, seen.daemon, deadline)
            observation = observation._replace(table=table)
        asked = Asked(None, False) if observation.is_registered else _register(seen, ready, deadline)
        observation = observe.look_again(seen, deadline)
        return _prove(seen, observation, asked, started)
    except EpmdError as error:
        return failure(observation, error, started or isinstance(error, StillSilent))


def _where(seen: Seen) -> str:
    return f"{seen.listener.reachable} port {seen.listener.port}" if seen.listener else "its port"


def _authenticate(seen: Seen, ready: Ready) -> None:
    listener, pid = seen.listener, seen.vm.pid
    # A digest is enough to guess a cookie from. Between look and connection, somebody else may have taken the port.
    if listener and pid and not owners.accepted(pid, listener.port, ready.connection.own_port):
        raise EpmdError(
            f"{_where(seen)} is answered by another process than the node's, so the cookie was not used: run again"
        )
    try:
        ready.connection.authenticate(ready.cookie.value)
    except Unreachable as error:
        raise EpmdError(f"{error} (at {_where(seen)}, in the handshake): run again") from None
    except EpmdError as error:
        where = f"at {_where(seen)}, with the cookie from {ready.cookie.source}"
        raise EpmdError(f"{error} ({where}): give the node's own cookie or cookie_file") from None


def _check_epmd(seen: Seen, connection: NodeConnection) -> None:
    """See that the node uses this epmd, before it is started. Errors: EpmdError."""
    try:
        module = erl_epmd.epmd_module(connection)
        # That of a process that is known stands on its command line.
        port = erl_epmd.epmd_port(connection) if seen.vm.pid is None else None
    except EpmdError as error:
        raise EpmdError(f"{error} (at {_where(seen)}, asked which epmd it uses): run again") from None
    if module not in (None, "erl_epmd"):
        raise EpmdError(f"the node finds other nodes with its own epmd_module {module}, and needs no epmd")
    if port not in (None, seen.daemon.port):
        raise EpmdError(f"the node uses the epmd on port {port}, not {seen.daemon.port}: give epmd_port={port}")


def _register(seen: Seen, ready: Ready, deadline: Deadline) -> Asked:
    """Have the node register itself, without the socket that it may hold to an epmd that is gone."""
    observation = seen.observation
    alive, port, inet6 = str(observation.alive), int(observation.port or 0), seen.vm.said.inet6
    try:
        reply = erl_epmd.register(ready.connection, alive, port, inet6)
        # Behind a port alone may be a node of another host, whose socket leads to an epmd of its own.
        if reply != erl_epmd.ALREADY_REGISTERED or seen.vm.pid is None:
            return Asked(reply, False)
        # In this order: the socket is known to be dead only if epmd has nothing after it has been seen.
        dead = erl_epmd.socket_of(ready.connection)
        table = epmd_client.ask_about(seen.daemon, alive, deadline)
        if table.names is None or table.trouble or alive in table.names:
            return Asked(reply, False)
        reply = erl_epmd.register_without(ready.connection, dead, alive, port, inet6)
        return Asked(reply, dead is not None)
    except EpmdError as error:
        raise EpmdError(f"{error} (at {_where(seen)}, asked to register itself): run again") from None


def _prove(seen: Seen, observation: Observation, asked: Asked, started: bool) -> Repair:
    names = observation.table.names
    if observation.table.trouble:
        raise EpmdError(
            f"the node was asked to register itself, but epmd gives no table now: {observation.table.trouble}"
        )
    own = isinstance(asked.reply, tuple) and asked.reply[:1] == ("ok",)
    if observation.is_registered and observation.holds is not False:
        did = "registered" if own else "registered by itself meanwhile"
        if own and asked.cut:
            did = "registered, after its dead connection to an earlier epmd was cut"
        return Repair(own or started, True, f"epmd was started; {did}" if started else did, names, started)
    raise EpmdError(_explain(seen, observation, asked.reply))


def _explain(seen: Seen, observation: Observation, reply: Term) -> str:
    """Why a node that was asked to register itself is not registered."""
    epmd = f"epmd on port {seen.daemon.port}"
    if reply == erl_epmd.ALREADY_REGISTERED:
        again = "run again" if seen.vm.pid else "run without port, on its own host, with psutil there and become"
        return f"the node believes that it is registered, but {epmd} does not have its name: {again}"
    if reply == ("error", "duplicate_name"):
        return f"{epmd} gave the name {observation.alive} to somebody else meanwhile: run again"
    if reply == ("error", "econnrefused"):
        return f"the node can't reach {epmd} at the loopback address"
    if isinstance(reply, tuple) and reply[:1] == ("badrpc",):
        return f"the node has no erl_epmd to register with ({reply!r:.60}): with its own epmd_module it needs no epmd"
    return f"the node answered {reply!r:.80}, and {epmd} does not have its name: run again"
