# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Has lost nodes register themselves, all at once, and has that proved. Private to the collection.

Standard: "Repair" in the way of the data; `register_node` in erl_epmd.erl. The node registers itself, so that the name
belongs to its own connection. What epmd has afterwards, `prove.py` finds out.
"""

from __future__ import annotations

import contextlib
from typing import Callable, Iterator, Sequence

from .._deadline import Deadline
from .._errors import (
    CannotStart,
    CannotTell,
    EpmdError,
    NeedsNoEpmd,
    NotRegistered,
    ProtocolError,
    StillSilent,
    TlsFailed,
    Unreachable,
    in_words,
)
from .._host import connections, cookies
from .._host.cookies import Cookie
from .._limits import FORGET_ATTEMPTS, MARGIN_SECONDS
from .._options import Options
from .._wire import digest, epmd_client, erl_epmd
from .._wire.epmd_client import State, Table
from .._wire.erl_epmd import Held
from .._wire.node import NodeConnection
from . import observe, prove
from .at_once import at_once
from .prove import Attempt
from .records import Lost, Repair


def repair(lost: Sequence[Lost], options: Options) -> list[Repair]:
    """Register these nodes, and prove it. How that ended for each, in their order."""
    # What each child would have to compile for itself.
    from .._wire import control  # noqa: F401

    if options.start_epmd and any(node.observation.table.state is State.DOWN for node in lost):
        from . import start_epmd  # noqa: F401
    if len(lost) > 1 and any(node.observation.vm.command_line.cookie is None for node in lost):
        from .._host import inside  # noqa: F401

    attempts = at_once(
        lambda node: _attempt(node, options),
        lost,
        lambda node: node.observation.vm,
        options.timeout + MARGIN_SECONDS,
    )
    return prove.prove(
        [
            attempt if isinstance(attempt, Attempt) else Attempt(node, node.observation.table, error=attempt)
            for node, attempt in zip(lost, attempts)
        ]
    )


def predict(lost: Sequence[Lost], options: Options) -> list[Repair]:
    """What `repair` would do if all goes well. Looks for the cookies, and uses none."""
    outcomes = at_once(
        lambda node: _predict(node, options),
        lost,
        lambda node: node.observation.vm,
        options.timeout + MARGIN_SECONDS,
    )
    return [
        outcome if isinstance(outcome, Repair) else prove.failure(node.observation.table, outcome)
        for node, outcome in zip(lost, outcomes)
    ]


def ask(doubtful: Sequence[Lost], options: Options) -> list[Exception | None]:
    """Ask nodes that may need no epmd whether they do. None for one that does, else NeedsNoEpmd or what went wrong."""
    outcomes = at_once(
        lambda node: _ask(node, options),
        doubtful,
        lambda node: node.observation.vm,
        options.timeout + MARGIN_SECONDS,
    )
    return [outcome if isinstance(outcome, Exception) else None for outcome in outcomes]


def _ask(node: Lost, options: Options) -> None:
    deadline = Deadline(node.observation.left)
    with _authenticated(node, options, deadline) as connection:
        _check_epmd(node, connection)


@contextlib.contextmanager
def prepared(node: Lost, options: Options, deadline: Deadline) -> Iterator[Callable[[Deadline], Attempt]]:
    """A node that has proved its cookie, and said that it uses this epmd: when called, it registers itself.

    The call takes its own deadline and the same connection. Errors, also of the call: EpmdError.
    """
    _check(node, options)
    with _authenticated(node, options, deadline) as connection:
        _check_epmd(node, connection)

        def register(deadline: Deadline) -> Attempt:
            connection.extend(deadline)
            attempt = _register(Attempt(node, node.observation.table), connection, deadline)
            return attempt._replace(left=deadline.unused())

        yield register


@contextlib.contextmanager
def _authenticated(node: Lost, options: Options, deadline: Deadline) -> Iterator[NodeConnection]:
    """A connection to the node with which it can be asked. Errors: EpmdError; CannotTell where there is a doubt."""
    try:
        cookie = cookies.find(node.observation.vm, options.cookie, options.cookie_file, deadline)
        connection = _connect(node, options, deadline)
    except EpmdError as error:
        raise _unclear(node, error) from None
    try:
        try:
            _authenticate(node, connection, cookie)
        except EpmdError as error:
            raise _unclear(node, error) from None
        yield connection
    finally:
        connection.close()


def _unclear(node: Lost, error: EpmdError) -> EpmdError:
    if not node.doubt:
        return error
    return CannotTell(f"it runs with {node.doubt}, {node.why}, and it can't be asked whether it needs one: {error}")


def _predict(node: Lost, options: Options) -> Repair:
    _check(node, options)
    cookies.find(node.observation.vm, options.cookie, options.cookie_file, Deadline(node.observation.left))
    table = node.observation.table
    starts = table.state is State.DOWN
    wrong = table.names.get(node.alive)
    instead = f", {_in_place_of(wrong)}" if wrong else ""
    return Repair(
        changed=True,
        registered=False,
        msg="epmd would be started and the node registered" if starts else f"would be registered{instead}",
        table=Table(State.UP, {**table.names, node.alive: node.listener.port}),
        started=starts,
    )


def _check(node: Lost, options: Options) -> None:
    """Everything that can be known to fail before anything is touched. Errors: EpmdError."""
    observation = node.observation
    port = observation.daemon.port
    if options.epmd_port not in (None, port):
        raise EpmdError(
            f"{node.why} (on port {port}); the node uses no other, so leave out epmd_port={options.epmd_port}"
        )
    if observation.table.state is State.DOWN and not options.start_epmd:
        raise CannotStart(f"epmd is down on port {port}, and start_epmd=false: start it")
    if observation.name is None:
        kind = type(observation.trouble) if observation.trouble else EpmdError
        raise kind(f"{node.why}, but the node does not answer: {observation.trouble}")
    digest.digest(b"", 0)  # a Python may have no MD5


def _attempt(node: Lost, options: Options) -> Attempt:
    """Have one node register itself, starting its epmd first where that is down.

    The cookie comes first: a node that refuses us leaves everything as it was.
    """
    deadline = Deadline(node.observation.left)
    attempt = Attempt(node, node.observation.table)
    try:
        if not node.doubt:
            _check(node, options)
        with _authenticated(node, options, deadline) as connection:
            _check_epmd(node, connection)
            if node.doubt:
                _check(node, options)
            if attempt.table.state is State.DOWN:
                attempt = _start_epmd(attempt, deadline)
            if attempt.table.names.get(node.alive) != node.listener.port:
                attempt = _register(attempt, connection, deadline)
    except Exception as error:  # also a defect of ours: what was started by then has to be told
        attempt = attempt._replace(error=in_words(error), started=attempt.started or isinstance(error, StillSilent))
    return attempt._replace(left=deadline.unused())


def _connect(node: Lost, options: Options, deadline: Deadline) -> NodeConnection:
    """A second connection to the node, at its challenge. Errors: EpmdError."""
    observation = node.observation
    tls = observe.tls_context(observation.vm, options, deadline) if observation.tls else None
    try:
        connection = NodeConnection.open(node.listener.reachable, node.listener.port, deadline, deadline, tls)
    except EpmdError as error:
        raise type(error)(f"{error} (at {node.where}, connecting again): run again") from None
    if connection.peer.name != observation.name:
        connection.close()
        raise EpmdError(
            f"{node.where} is answered by another node now, {connection.peer.name}, so the cookie was not used: "
            "run again"
        )
    return connection


def _authenticate(node: Lost, connection: NodeConnection, cookie: Cookie) -> None:
    # A digest is enough to guess a cookie from. Between look and connection, somebody else may have taken the port.
    pid = node.observation.vm.pid
    own, theirs = connection.ends
    if pid and not connections.accepted(pid, theirs, own):
        raise EpmdError(
            f"{node.where} is answered by another process than the node's, so the cookie was not used: run again"
        )
    try:
        connection.authenticate(cookie.value)
    except Unreachable as error:
        raise type(error)(f"{error} (at {node.where}, in the handshake): run again") from None
    except EpmdError as error:
        where = f"at {node.where}, with the cookie from {cookie.source}"
        raise type(error)(f"{error} ({where}): give the node's own cookie or cookie_file") from None


def _start_epmd(attempt: Attempt, deadline: Deadline) -> Attempt:
    """Start the epmd that the node asks, after the node itself has said that it does. Errors: EpmdError."""
    observation = attempt.node.observation
    from . import start_epmd

    table, by_us, how = start_epmd.start(observation.vm, observation.daemon, observation.key.number, deadline)
    return attempt._replace(table=table, started=by_us, how=how)


def _check_epmd(node: Lost, connection: NodeConnection) -> None:
    """Ask the node itself whether it uses this epmd: settings may stand in files that no command line mentions.

    Errors: NeedsNoEpmd, EpmdError.
    """
    observation = node.observation
    try:
        registers = erl_epmd.registers(connection)
        module = None if registers else erl_epmd.epmd_module(connection)
        if module not in (None, "erl_epmd"):
            raise NeedsNoEpmd(f"it finds other nodes with its own epmd_module {module}, and needs no epmd")
        if registers is False:
            raise NeedsNoEpmd("it says itself that it registers at no epmd")
        port = erl_epmd.epmd_port(connection)
        # A node that starts no epmd and holds no connection to one came up without one, and will do.
        optional = observation.table.state is State.DOWN or not (
            observation.vm.command_line.starts_epmd or observation.connected
        )
        fixed = optional and erl_epmd.has_fixed_port(connection)
    except NeedsNoEpmd:
        raise
    except EpmdError as error:
        raise type(error)(f"{error} (at {node.where}, asked which epmd it uses): run again") from None
    if port not in (None, observation.daemon.port):
        raise EpmdError(f"the node uses the epmd on port {port}, not {observation.daemon.port}: give epmd_port={port}")
    if fixed:
        raise NeedsNoEpmd("it has a fixed port for other nodes (erl_epmd_node_listen_port), and needs no epmd")


def _register(attempt: Attempt, connection: NodeConnection, deadline: Deadline) -> Attempt:
    """Have the node register itself, without the socket that it may hold for nothing. Errors: EpmdError."""
    node = attempt.node
    observation = node.observation
    arguments = (node.alive, node.listener.port, ":" in observation.daemon.address)
    try:
        reply = erl_epmd.register(connection, *arguments)
        if reply == erl_epmd.DUPLICATE_NAME and node.alive in observation.table.names:
            raise _held_elsewhere(node, deadline)
        # Behind a port alone may be a node of another host, whose socket leads to an epmd of its own.
        if reply != erl_epmd.ALREADY_REGISTERED or observation.vm.pid is None:
            return attempt._replace(reply=reply)
        for _unused in range(FORGET_ATTEMPTS):
            # In this order: what is lost with the socket is known only if epmd is asked after it has been seen.
            held = erl_epmd.held(connection)
            table = epmd_client.ask_about(observation.daemon, node.alive, deadline)
            given_up = _given_up(node, connection, held, table, deadline) if table.state is State.UP else None
            if given_up is None:
                break
            reply = erl_epmd.register_without(connection, held.socket if held else None, *arguments)
            attempt = attempt._replace(given_up=given_up)
            if reply != erl_epmd.ALREADY_REGISTERED:
                break
        return attempt._replace(reply=reply)
    except (Unreachable, ProtocolError, TlsFailed) as error:
        raise type(error)(f"{error} (at {node.where}, asked to register itself): run again") from None


def _given_up(
    node: Lost, connection: NodeConnection, held: Held | None, table: Table, deadline: Deadline
) -> str | None:
    """What is lost with the node's socket to epmd, as the end of a sentence; None where the socket has to stay.

    Its own name with a wrong port may go, and another name for its own port. Errors: NotRegistered for what may be
    meant, or in use; Unreachable, ProtocolError, TlsFailed.
    """
    registered = table.names.get(node.alive)
    if held is None:
        return None if registered else ""
    if registered and registered != held.port and registered == node.observation.table.names.get(node.alive):
        raise _held_elsewhere(node, deadline)
    known = held.alive is not None and held.port is not None and table.names.get(held.alive) == held.port
    if not known:
        return None if registered else "after its dead connection to an earlier epmd was cut"
    if registered == node.listener.port:
        return None
    from . import holders

    observation = node.observation
    if held.alive == node.alive:
        at_port = holders.what_is_at(held.port or 0, observation, deadline)
        is_mistake, given_up = at_port.is_another, _in_place_of(held.port)
        why = f"the node itself has registered port {held.port}; {at_port.sentence}"
    elif registered:
        return None
    else:
        is_mistake = held.port == node.listener.port
        given_up = f"in place of the name {held.alive}, which the node itself had registered"
        why = f"the node holds the name {held.alive} with port {held.port}, which may be in use"
    if is_mistake and erl_epmd.may_choose_its_name(connection):
        is_mistake, why = False, f"{why}; its own epmd_module or proto_dist may have chosen that"
    if not is_mistake:
        raise NotRegistered(f"{why}; {holders.by_hand(observation)}")
    return given_up


def _held_elsewhere(node: Lost, deadline: Deadline) -> NotRegistered:
    """The error for a node of which another process than its erl_epmd holds its name with a wrong port."""
    from . import holders

    observation = node.observation
    port = holders.port_of_holder(observation.daemon, node.alive, deadline)
    return NotRegistered(
        f"the node itself holds its name with port {observation.table.names[node.alive]}, on a connection that is not "
        "that of its erl_epmd; type in a shell of the node, and run again: "
        f"[gen_tcp:close(P) || P <- erlang:ports(), inet:port(P) =:= {{ok, {port}}}]."
    )


def _in_place_of(port: int | None) -> str:
    return f"in place of port {port}, which the node itself had registered"
