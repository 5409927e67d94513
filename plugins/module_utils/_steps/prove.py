# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks epmd again: what is reported is what was seen, never what was sent. Private to the collection.

Standard: "Prove" in the way of the data. Every epmd is asked once, after all of its nodes were asked to register.
"""

from __future__ import annotations

from typing import Sequence

from .._deadline import Deadline
from .._errors import EpmdError, NotRegistered, StillSilent
from .._host.owners import Listing
from .._limits import MARGIN_SECONDS
from .._record import Record
from .._wire import epmd_client, erl_epmd
from .._wire.epmd_client import State, Table
from .._wire.etf import Term
from . import observe
from .at_once import at_once
from .records import EpmdKey, Lost, Observation, Repair


class Attempt(Record):
    """What was done for one node, and what it answered.

    table: what its epmd had when that was seen last. reply: of `register_node`, None where it was not called.
    given_up: what the node had instead, as the end of a sentence; empty where it was nothing. started: whether an epmd
    was started; how: as in `start_epmd.Started`. error: why the work ended early. left: seconds of its time that were
    not used.
    """

    node: Lost
    table: Table
    reply: Term = None
    given_up: str = ""
    started: bool = False
    how: str = ""
    error: Exception | None = None
    left: float = 0


def prove(attempts: Sequence[Attempt]) -> list[Repair]:
    """How each attempt ended, in their order."""
    places: dict[EpmdKey, list[Attempt]] = {}
    for attempt in attempts:
        if attempt.error is None:
            places.setdefault(attempt.node.observation.key, []).append(attempt)
    outcomes = at_once(
        _prove,
        list(places.values()),
        lambda group: group[0].node.observation.vm,
        max((attempt.left for attempt in attempts), default=0) + MARGIN_SECONDS,
    )
    proved: dict[int, Repair] = {}
    for group, outcome in zip(places.values(), outcomes):
        repairs = outcome if isinstance(outcome, list) else [failure(attempt.table, outcome) for attempt in group]
        proved.update(zip(map(id, group), repairs))
    return [
        failure(attempt.table, attempt.error, attempt.started) if attempt.error else proved[id(attempt)]
        for attempt in attempts
    ]


def failure(table: Table, error: Exception, started: bool = False) -> Repair:
    """A repair that ended early; table: what was seen last. An epmd that was started and is gone again is no change."""
    started = started and (table.state is not State.DOWN or isinstance(error, StillSilent))
    return Repair(started, False, str(error), table, started, getattr(error, "reason", EpmdError.reason))


def _prove(group: list[Attempt]) -> list[Repair]:
    """The same for the nodes of one epmd."""
    deadline = Deadline(max(attempt.left for attempt in group))
    first = group[0].node.observation
    table = epmd_client.ask_names(first.daemon, deadline)
    # After the table: the socket of a registration that epmd has by then can be seen.
    listing = observe.listing_for(first.vm, first.daemon)
    return [_judge(attempt, table, listing, deadline) for attempt in group]


def _judge(attempt: Attempt, table: Table, listing: Listing | None, deadline: Deadline) -> Repair:
    observation = attempt.node.observation
    try:
        observation = observe.look_again(observation, table, listing, deadline)
        if observation.table.state is State.MUTE:
            trouble = observation.table.trouble
            raise NotRegistered(f"the node was asked to register itself, but epmd gives no table now: {trouble}")
        if not observation.is_registered or observation.holds is False:
            raise NotRegistered(_explain(observation, attempt.reply))
    except EpmdError as error:
        return failure(observation.table, error, attempt.started)
    own = isinstance(attempt.reply, tuple) and attempt.reply[:1] == ("ok",)
    did = "registered" if own else "registered by itself meanwhile"
    if own and attempt.given_up:
        did = f"registered, {attempt.given_up}"
    if attempt.started:
        did = f"epmd was started{attempt.how}; {did}"
    return Repair(own or attempt.started, True, did, observation.table, attempt.started)


def _explain(observation: Observation, reply: Term) -> str:
    """Why a node that was asked to register itself is not registered."""
    epmd = f"epmd on port {observation.daemon.port}"
    if reply == erl_epmd.ALREADY_REGISTERED:
        again = "run again" if observation.vm.pid else "run without port, on its own host, as root"
        return f"the node believes that it is registered, but {epmd} does not have its name: {again}"
    if reply == erl_epmd.DUPLICATE_NAME:
        return f"{epmd} gave the name {observation.alive} to another process meanwhile: run again"
    if reply == ("error", "econnrefused"):
        return f"the node can't reach {epmd} at the loopback address"
    if isinstance(reply, tuple) and reply[:1] == ("badrpc",):
        return f"the node has no erl_epmd to register with ({reply!r:.60}): with its own epmd_module it needs no epmd"
    return f"the node answered {reply!r:.80}, and {epmd} does not have its name: run again"
