# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of a VM's listening ports is the one for other nodes. Pure.

Standard: `inet_tcp_dist.erl` of kernel listens with a backlog of 128 (`listen_options`), and is
started before every application, so its socket is the oldest. A handshake that meets another
service can leave an error in that service's log, so ports that are known to be something else
are never asked.
"""

from __future__ import annotations

from typing import Collection, Sequence

from .._host.owners import Listener

DISTRIBUTION_BACKLOG = 128

KNOWN_SERVICES = frozenset(
    [
        *(22, 25, 80, 443, 465, 587, 4369, 8080, 8443),  # the web, mail, epmd
        *(4000, 4001),  # Phoenix
        *(1883, 8083, 8084, 8883, 14567, 18083, 18084),  # MQTT, and EMQX's dashboard
        *(5222, 5223, 5269, 5270, 5280, 5281, 5443, 3478, 5349, 7777),  # XMPP, STUN and TURN, as in ejabberd
        *(5671, 5672, 15671, 15672, 15674, 15675, 15691, 15692, 61613, 61614, 5551, 5552),  # AMQP, RabbitMQ's plugins
        *(5984, 5986, 6984),  # CouchDB
        *(8087, 8098, 8099),  # Riak
    ]
)
"""Ports of services that Erlang is used for, none of them for distribution."""


def candidates(
    listeners: Sequence[Listener],
    listen_range: tuple[int, int] | None,
    registered: Collection[int],
    largest_backlog: int,
    named: bool,
) -> list[Listener]:
    """The listeners that may be the distribution port, likeliest first.

    listeners: in the order of their descriptors. listen_range: `inet_dist_listen_min` and `_max`.
    registered: the ports that epmd has for this node's name, or for any where that is not known.
    largest_backlog: what the kernel cuts a backlog down to (net.core.somaxconn). named: whether the
    VM was started as a node; one that was not may be no node at all, so only the likeliest counts.
    """
    if listen_range is not None:
        low, high = listen_range
        return [found for found in listeners if low <= found.port <= high]
    unknown = [found for found in listeners if found.port not in KNOWN_SERVICES]
    backlog = min(DISTRIBUTION_BACKLOG, largest_backlog)
    likely = [found for found in unknown if found.backlog in (None, backlog)]
    if not named:
        return likely[:1]
    # `inet_dist_listen_options` may have set another backlog.
    return sorted(likely or unknown, key=lambda found: found.port not in registered)
