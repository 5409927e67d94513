# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which order listeners are asked for a node, and which are left in peace."""

from __future__ import annotations

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._host.owners import Listener
from ansible_collections.beamops.epmd.plugins.module_utils._steps import distribution_port
from ansible_collections.beamops.epmd.plugins.module_utils._steps.distribution_port import Candidates

DISTRIBUTION = Listener(17, "0.0.0.0", 42815, 128)
XMPP = Listener(20, "::", 5222, 128)
MQTT = Listener(21, "::", 1883, 128)
OTHER = Listener(22, "::", 7000, 1024)
LATER = Listener(23, "::", 40001, 128)


WEB = Listener(24, "::", 8080, 128)


def sort(
    listeners: list[Listener],
    listen_range: tuple[int, int] | None = None,
    own: tuple[int, ...] = (),
    registered: tuple[int, ...] = (),
    largest_backlog: int = 4096,
    is_node: bool = True,
) -> Candidates:
    return distribution_port.candidates(listeners, listen_range, own, registered, largest_backlog, is_node)


def ports(listeners: list[Listener]) -> list[int]:
    return [listener.port for listener in listeners]


def asked(*given: list[Listener], **hints: object) -> tuple[list[int], list[int]]:
    """The likely and the unlikely ones."""
    found = sort(*given, **hints)  # type: ignore[arg-type]
    return ports(found.likely), ports(found.unlikely)


def test_services_that_are_known_are_not_asked() -> None:
    found = sort([DISTRIBUTION, XMPP, MQTT])
    assert (ports(found.likely), ports(found.unlikely), ports(found.unasked)) == ([42815], [], [5222, 1883])


def test_a_service_is_asked_where_flags_or_epmd_say_that_it_is_the_node() -> None:
    assert asked([DISTRIBUTION, XMPP, MQTT], own=(1883,)) == ([1883, 42815], [])
    assert asked([DISTRIBUTION, XMPP, MQTT], listen_range=(5222, 5222)) == ([5222, 42815], [])
    assert asked([DISTRIBUTION, XMPP, MQTT], registered=(5222,)) == ([42815], [5222])


@pytest.mark.parametrize(
    "port",
    [
        *(22, 25, 465, 587, 4369),
        *(1883, 8083, 8084, 8883, 14567, 18083, 18084),
        *(5222, 5223, 5269, 5270, 5280, 5281, 5443, 3478, 5349, 7777),
        *(5671, 5672, 15671, 15672, 15674, 15675, 15691, 15692, 61613, 61614, 5551, 5552),
        *(5984, 5986, 6984),
        *(8087, 8098, 8099),
    ],
)
def test_a_service_is_known_by_its_usual_port(port: int) -> None:
    """A digit that is mistyped there costs the log of that service an error an hour."""
    assert asked([DISTRIBUTION._replace(port=port)]) == ([], [])


@pytest.mark.parametrize("port", [80, 443, 4000, 4001, 8080, 8443])
def test_a_port_of_the_web_is_asked_last_if_it_looks_like_a_nodes(port: int) -> None:
    assert asked([WEB._replace(port=port), OTHER, LATER]) == ([40001], [7000, port])
    assert asked([WEB._replace(port=port, backlog=1024)]) == ([], [])


def test_another_backlog_comes_later() -> None:
    assert asked([OTHER, DISTRIBUTION, LATER]) == ([42815, 40001], [7000])
    assert asked([OTHER._replace(backlog=5)]) == ([], [7000])


def test_a_backlog_that_the_kernel_has_cut_tells_nothing() -> None:
    cut = [DISTRIBUTION._replace(backlog=64), OTHER._replace(backlog=64), LATER._replace(backlog=5)]
    assert asked(cut, largest_backlog=64) == ([42815, 7000], [40001])


def test_where_no_backlog_can_be_seen_all_are_likely() -> None:
    assert asked([OTHER._replace(backlog=None), DISTRIBUTION._replace(backlog=None)]) == ([7000, 42815], [])


def test_the_order_is_that_of_the_descriptors_with_the_registered_first() -> None:
    assert asked([DISTRIBUTION, LATER]) == ([42815, 40001], [])
    assert asked([DISTRIBUTION, LATER], registered=(40001,)) == ([40001, 42815], [])
    assert asked([DISTRIBUTION, OTHER, LATER], own=(7000,), registered=(40001, 7000)) == ([7000, 40001, 42815], [])


def test_each_hint_counts_for_more_than_all_after_it() -> None:
    ports = [7001, 7002, 7003, 7004, 7005, 8080, 5222]
    own, ranged, known, fits, other, web, service = (
        Listener(place, "::", port, 128) for place, port in enumerate(ports)
    )
    other = other._replace(backlog=5)
    found = sort([service, web, other, fits, known, ranged, own], (7002, 7002), own=(7001,), registered=(7003, 5222))
    assert found == Candidates([own, ranged, known, fits], [other, web, service], [])
    rank = distribution_port.ranking((7002, 7002), (7001,), (7003, 5222), 4096)
    assert [rank(each) for each in (own, ranged, known, fits, other, web, service)] == [0, 1, 2, 3, 4, 5, 6]
    assert rank(XMPP._replace(port=5671)) == 7
    unknown = sort([service, other], (7002, 7002))
    assert unknown == Candidates([], [other], [service])


@pytest.mark.parametrize(
    ("listen_range", "first"),
    [((40000, 40010), 40001), ((40001, 40010), 40001), ((39999, 40001), 40001), ((1883, 1883), 1883), ((1, 2), 42815)],
)
def test_a_range_comes_first_and_rules_nothing_out(listen_range: tuple[int, int], first: int) -> None:
    likely, _unlikely = asked([DISTRIBUTION, XMPP, MQTT, OTHER, LATER], listen_range=listen_range)
    assert likely[0] == first
    assert {42815, 40001} <= set(likely)


def test_of_a_vm_without_a_name_only_the_likeliest_is_likely() -> None:
    assert asked([OTHER, DISTRIBUTION, LATER], is_node=False) == ([42815], [40001, 7000])
