# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which order to ask a VM's listening ports for a node. Pure.

Standard: `inet_tcp_dist.erl` of kernel listens with a backlog of 128 (`listen_options`), and is started before every
application, so its socket is the oldest. All of that can be set otherwise, in files and by flags that are not what they
look like, so it tells the order alone. A handshake that meets another service can leave an error in that service's log:
ports of such services are asked only if flags or epmd say that they are the node's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Collection, Sequence

from .._host.owners import Listener
from .._record import Record

if TYPE_CHECKING:  # pragma: no mutate: nothing of it is used at run time
    from .._host.interface import Socket

DISTRIBUTION_BACKLOG = 128

KNOWN_SERVICES = frozenset(
    [
        *(22, 25, 465, 587, 4369),  # mail, epmd
        *(1883, 8083, 8084, 8883, 14567, 18083, 18084),  # MQTT, and EMQX's dashboard
        *(5222, 5223, 5269, 5270, 5280, 5281, 5443, 3478, 5349, 7777),  # XMPP, STUN and TURN, as in ejabberd
        *(5671, 5672, 15671, 15672, 15674, 15675, 15691, 15692, 61613, 61614, 5551, 5552),  # AMQP, RabbitMQ's plugins
        *(5984, 5986, 6984),  # CouchDB
        *(8087, 8098, 8099),  # Riak
    ]
)
"""Ports of services that Erlang is used for, none of them for distribution."""

WEB = frozenset([80, 443, 4000, 4001, 8080, 8443])
"""Ports that web servers use, and that people like for anything else. Web servers in Erlang log no bad request."""


class Candidates(Record):
    """Listeners to ask, in this order: those that hints point to, then those that nothing else explains.

    unasked: those that belong to another service for all that is known.
    """

    likely: list[Listener]
    unlikely: list[Listener]
    unasked: list[Listener]


OWN, IN_RANGE, LIKELY, UNASKED = 0, 1, 3, 7
"""Ranks: of the port that epmd has for the node, those of its range, the last that is likely, and what is not asked."""


def ranking(
    listen_range: tuple[int, int] | None, own: Collection[int], registered: Collection[int], largest_backlog: int
) -> Callable[[Listener | Socket], int]:
    """How likely a listener is the distribution port, 0 the likeliest. The arguments: as of `candidates`."""
    backlog = min(DISTRIBUTION_BACKLOG, largest_backlog)

    def rank(found: Listener | Socket) -> int:
        if found.port in own:
            return OWN
        if listen_range and listen_range[0] <= found.port <= listen_range[1]:
            return IN_RANGE
        fits = found.backlog in (None, backlog)
        if found.port in KNOWN_SERVICES or (found.port in WEB and not fits):
            return 6 if found.port in registered else UNASKED
        if found.port in WEB:
            return 5
        return 2 if found.port in registered else LIKELY if fits else 4

    return rank


def candidates(
    listeners: Sequence[Listener],
    listen_range: tuple[int, int] | None,
    own: Collection[int],
    registered: Collection[int],
    largest_backlog: int,
    is_node: bool,
) -> Candidates:
    """Sort the listeners of a VM.

    listeners: in the order of their descriptors. listen_range: `inet_dist_listen_min` and `_max`. own: the ports that
    epmd has for this node's name. registered: those that it has for any name. largest_backlog: what the kernel cuts a
    backlog down to (net.core.somaxconn). is_node: whether the VM was started as a node that listens; one that was not
    may be no node at all, so only the likeliest gets more than a moment.
    """
    rank = ranking(listen_range, own, registered, largest_backlog)
    ranked = sorted(listeners, key=rank)
    likely = [found for found in ranked if rank(found) <= LIKELY]
    unlikely = [found for found in ranked if LIKELY < rank(found) < UNASKED]  # pragma: no mutate: it is the highest
    if not is_node:
        likely, unlikely = likely[:1], likely[1:] + unlikely
    unasked = [found for found in ranked if rank(found) == UNASKED]  # pragma: no mutate: it is the highest
    return Candidates(likely, unlikely, unasked)
