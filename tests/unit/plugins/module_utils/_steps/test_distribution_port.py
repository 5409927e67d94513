# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which listeners may be the distribution port, and which are never asked."""

from __future__ import annotations

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._host.owners import Listener
from ansible_collections.beamops.epmd.plugins.module_utils._steps import distribution_port

DISTRIBUTION = Listener(17, "0.0.0.0", 42815, 128)
XMPP = Listener(20, "::", 5222, 128)
MQTT = Listener(21, "::", 1883, 128)
OTHER = Listener(22, "::", 7000, 1024)
LATER = Listener(23, "::", 40001, 128)


def ports(
    listeners: list[Listener],
    listen_range: tuple[int, int] | None = None,
    registered: tuple[int, ...] = (),
    largest_backlog: int = 4096,
    named: bool = True,
) -> list[int]:
    found = distribution_port.candidates(listeners, listen_range, registered, largest_backlog, named)
    return [listener.port for listener in found]


def test_services_that_are_known_are_never_asked() -> None:
    assert ports([DISTRIBUTION, XMPP, MQTT]) == [42815]
    assert ports([XMPP, MQTT]) == []
    assert ports([XMPP, MQTT], registered=(5222,)) == []


@pytest.mark.parametrize(
    "port",
    [
        *(22, 25, 80, 443, 465, 587, 4369, 8080, 8443),
        *(4000, 4001),
        *(1883, 8083, 8084, 8883, 14567, 18083, 18084),
        *(5222, 5223, 5269, 5270, 5280, 5281, 5443, 3478, 5349, 7777),
        *(5671, 5672, 15671, 15672, 15674, 15675, 15691, 15692, 61613, 61614, 5551, 5552),
        *(5984, 5986, 6984),
        *(8087, 8098, 8099),
    ],
)
def test_a_service_is_known_by_its_usual_port(port: int) -> None:
    """A digit that is mistyped there costs the log of that service an error an hour."""
    assert ports([DISTRIBUTION._replace(port=port)]) == []


def test_another_backlog_is_another_service() -> None:
    assert ports([OTHER, DISTRIBUTION, LATER]) == [42815, 40001]
    assert ports([OTHER._replace(backlog=5), DISTRIBUTION]) == [42815]


def test_where_no_backlog_fits_it_may_have_been_set() -> None:
    assert ports([OTHER, XMPP]) == [7000]
    assert ports([OTHER, XMPP], named=False) == []


def test_a_backlog_that_the_kernel_has_cut_tells_nothing() -> None:
    cut = [DISTRIBUTION._replace(backlog=64), OTHER._replace(backlog=64), LATER._replace(backlog=5)]
    assert ports(cut, largest_backlog=64) == [42815, 7000]


def test_where_no_backlog_can_be_seen_all_count() -> None:
    assert ports([OTHER._replace(backlog=None), DISTRIBUTION._replace(backlog=None)]) == [7000, 42815]


def test_the_order_is_that_of_the_descriptors_with_the_registered_first() -> None:
    assert ports([DISTRIBUTION, LATER]) == [42815, 40001]
    assert ports([DISTRIBUTION, LATER], registered=(40001,)) == [40001, 42815]


@pytest.mark.parametrize(("listen_range", "found"), [((40000, 40010), [40001]), ((1883, 1883), [1883]), ((1, 2), [])])
def test_a_range_decides_alone(listen_range: tuple[int, int], found: list[int]) -> None:
    assert ports([DISTRIBUTION, XMPP, MQTT, OTHER, LATER], listen_range) == found


def test_of_a_vm_without_a_name_only_the_likeliest_is_asked() -> None:
    assert ports([OTHER, DISTRIBUTION, LATER], named=False) == [42815]
