# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which epmds are asked and for what, from lists, inventories, variables and facts; and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._errors import InvalidOption
from ansible_collections.beamops.epmd.plugins.module_utils._sweep.hosts import (
    Target,
    audited,
    compare,
    targets,
    targets_of_host,
    targets_of_inventory,
)


@pytest.mark.parametrize(
    ("entry", "host", "port"),
    [
        ("web1", "web1", 4369),
        ("web1:4370", "web1", 4370),
        ("web1:1", "web1", 1),
        ("web1:065535", "web1", 65535),
        ("192.0.2.1", "192.0.2.1", 4369),
        ("192.0.2.1:4370", "192.0.2.1", 4370),
        ("2001:db8::1", "2001:db8::1", 4369),
        ("fe80::1%eth0", "fe80::1%eth0", 4369),
        ("[2001:db8::1]", "2001:db8::1", 4369),
        ("[2001:db8::1]:4370", "2001:db8::1", 4370),
    ],
)
def test_a_host_may_be_written_in_one_word(entry: str, host: str, port: int) -> None:
    assert targets([entry]) == [Target(host, host, port, None)]


def test_a_host_may_be_a_dict() -> None:
    full = {"name": "web1", "host": "192.0.2.1", "port": "4370", "expected": ["wim@web1", "vic", "vic"]}
    assert targets([full]) == [Target("web1", "192.0.2.1", 4370, ("vic", "wim"))]
    assert targets([{"host": "a"}, {"name": "b", "expected": []}], 4371) == [
        Target("a", "a", 4371, None),
        Target("b", "b", 4371, ()),
    ]
    assert targets([target.entry for target in targets([full])]) == targets([full])


@pytest.mark.parametrize(
    ("expected", "name", "expects"),
    [
        (None, "vic", True),
        (("vic",), "vic", True),
        (("ann", "vic"), "vic", True),
        (("ann",), "vic", False),
        ((), "vic", False),
        # As a node has it that was started in a locale without UTF-8.
        (("j\xf8rn",), "j\xc3\xb8rn", True),
    ],
)
def test_a_name_is_expected_unless_it_is_known_that_it_is_not(
    expected: tuple[str, ...] | None, name: str, expects: bool
) -> None:
    assert Target("web1", "web1", 4369, expected).expects(name) is expects


@pytest.mark.parametrize(
    ("entries", "complaint"),
    [
        ("web1", "hosts is 'web1': give a list of hosts"),
        ({"web1": 4369}, "hosts is {'web1': 4369}: give a list of hosts"),
        (["web1", 5], "entry 2 of hosts is 5: give a host, or a dict with name, host, port, expected"),
        ([""], "entry 1 of hosts is '': give a host, or host:port"),
        ([":4369"], "entry 1 of hosts is ':4369': give a host, or host:port"),
        (["web1:"], "entry 1 of hosts is '', which is not a TCP port: give 1 to 65535"),
        (["web1:epmd"], "entry 1 of hosts is 'epmd', which is not a TCP port: give 1 to 65535"),
        (["web1:0065536"], "entry 1 of hosts is '0065536', which is not a TCP port: give 1 to 65535"),
        (["web1:70000"], "entry 1 of hosts is '70000', which is not a TCP port: give 1 to 65535"),
        (["web1:65536"], "entry 1 of hosts is '65536', which is not a TCP port: give 1 to 65535"),
        (["[2001:db8::1"], "entry 1 of hosts is '[2001:db8::1': give [address]:port"),
        (["[2001:db8::1]4369"], "entry 1 of hosts is '[2001:db8::1]4369': give [address]:port"),
        (["[2001:db8::1]x"], "entry 1 of hosts is '[2001:db8::1]x': give [address]:port"),
        ([{"port": 1}], "entry 1 of hosts names no host: give its name, or its address as host"),
        ([{"host": 7}], "entry 1 of hosts names no host: give its name, or its address as host"),
        ([{"name": 7, "host": "a"}], "entry 1 of hosts names no host: give its name, or its address as host"),
        ([{"name": "a", "host": 7}], "entry 1 of hosts names no host: give its name, or its address as host"),
        (["[" + "x" * 57], f"entry 1 of hosts is '[{'x' * 57}': give [address]:port"),
        (["[" + "x" * 58], f"entry 1 of hosts is '[{'x' * 55}...: give [address]:port"),
        ([{"host": "a", "prot": 1}], "entry 1 of hosts has 'prot', which is none of name, host, port, expected"),
        (
            [{"host": "a", "zone": 1, "prot": 1}],
            "entry 1 of hosts has 'prot', which is none of name, host, port, expected",
        ),
        ([{"host": "a", "port": -1}], "port of a is -1, which is not a TCP port: give 1 to 65535"),
        ([{"host": "a", "port": 0}], "port of a is 0, which is not a TCP port: give 1 to 65535"),
        ([{"host": "a", "port": True}], "port of a is True, which is not a TCP port: give 1 to 65535"),
        (
            [{"host": "a", "port": "9" * 99}],
            "port of a is '" + "9" * 56 + "..., which is not a TCP port: give 1 to 65535",
        ),
        ([{"host": "a", "expected": "vic"}], "expected of a is 'vic': give a list of names, [] for none"),
        ([{"host": "a", "expected": [5]}], "expected of a has 5, which is no name of a node: give ejabberd"),
        ([{"host": "a", "expected": ["@a"]}], "expected of a has '@a', which is no name of a node: give ejabberd"),
        (
            [{"host": "a", "expected": ["\u20ac" * 86]}],
            "expected of a has '" + "\u20ac" * 56 + "..., which is no name of a node: give ejabberd",
        ),
        (["a", "b", "a"], "hosts has a with port 4369 twice: take one of the two out"),
    ],
)
def test_what_can_not_be_meant_is_refused_in_one_sentence(entries: Any, complaint: str) -> None:
    with pytest.raises(InvalidOption) as raised:
        targets(entries)
    assert str(raised.value) == complaint


NODES = [
    {"name": "vic@web1", "epmd_port": 4369, "verdict": "registered", "namespace": None},
    {"name": "wim@web1", "epmd_port": 4369, "verdict": "missing", "namespace": None},
    {"name": "far@web1", "epmd_port": 4370, "verdict": "epmd_down", "namespace": None},
    {"name": "box@web1", "epmd_port": 4369, "verdict": "registered", "namespace": 4026532567},
    {"name": "lone@web1", "epmd_port": 4369, "verdict": "not_applicable", "namespace": None},
    {"name": None, "epmd_port": 4369, "verdict": "unidentified", "namespace": None},
]


def test_a_variable_counts_for_more_than_an_audit_and_that_for_more_than_facts() -> None:
    variables: dict[str, Any] = {"ansible_host": "192.0.2.1", "ansible_facts": {"epmd": {"nodes": NODES}}}
    assert targets_of_host("web1", variables) == [
        Target("web1", "192.0.2.1", 4369, ("vic", "wim")),
        Target("web1", "192.0.2.1", 4370, ("far",)),
    ]
    assert targets_of_host("web1", variables, {4369: ["zoe"]}) == [Target("web1", "192.0.2.1", 4369, ("zoe",))]
    variables["epmd_expected"] = ["ann"]
    assert targets_of_host("web1", variables, {4369: ["zoe"]}) == [Target("web1", "192.0.2.1", 4369, ("ann",))]
    variables["epmd_expected"] = {"4369": ["ann"], 4371: []}
    assert targets_of_host("web1", variables) == [
        Target("web1", "192.0.2.1", 4369, ("ann",)),
        Target("web1", "192.0.2.1", 4371, ()),
    ]


def test_nothing_expected_is_not_the_same_as_nothing_known() -> None:
    assert targets_of_host("a", {}) == [Target("a", "a", 4369, None)]
    assert targets_of_host("a", {"epmd_port": 4370, "epmd": {"nodes": []}}) == [Target("a", "a", 4370, ())]
    assert targets_of_host("a", {"epmd_expected": []}) == [Target("a", "a", 4369, ())]


@pytest.mark.parametrize("epmd", ["x", ["x"], {"nodes": "x"}, {"nodes": {}}])
def test_facts_that_are_none_of_ours_expect_nothing(epmd: Any) -> None:
    assert targets_of_host("a", {"ansible_facts": {"epmd": epmd}}) == [Target("a", "a", 4369, None)]


@pytest.mark.parametrize("port", [1, 65535])
def test_epmd_may_have_any_tcp_port_in_the_facts_of_a_host(port: int) -> None:
    node = {"name": "vic@a", "epmd_port": port, "verdict": "missing", "namespace": None}
    assert targets_of_host("a", {"epmd": {"nodes": [node]}}) == [Target("a", "a", port, ("vic",))]


@pytest.mark.parametrize(
    "node",
    [
        "x",
        None,
        {"name": ["x"]},
        {"name": ""},
        {"epmd_port": "x"},
        *({"epmd_port": port} for port in (0, -1, 65536, 65537)),
    ],
)
def test_a_node_that_is_none_in_the_facts_of_a_host_does_not_spoil_the_others(node: Any) -> None:
    node = {"name": "vic@a", "epmd_port": 4369, "verdict": "missing", **node} if isinstance(node, dict) else node
    good = {"name": "wim@a", "epmd_port": 4369, "verdict": "missing", "namespace": None}
    assert targets_of_host("a", {"epmd": {"nodes": [node, good]}}) == [Target("a", "a", 4369, ("wim",))]


def test_the_report_of_an_audit() -> None:
    hosts = [
        {"host": "web1", "state": "lost", "nodes": NODES},
        {"host": "web2", "state": "well", "nodes": []},
        {"host": "web3", "state": "unreachable", "nodes": []},
    ]
    assert audited({"version": 1, "hosts": hosts}) == {"web1": {4369: ["vic", "wim"], 4370: ["far"]}, "web2": {}}


@pytest.mark.parametrize(
    "report",
    [
        None,
        [],
        {},
        {"version": 2, "hosts": []},
        {"version": 1},
        {"version": 1, "hosts": [{"state": "lost", "nodes": NODES}]},
        {"version": 1, "hosts": [["web1"]]},
    ],
)
def test_what_is_no_report_of_an_audit_is_refused(report: Any) -> None:
    with pytest.raises(InvalidOption, match="the audit is not what this version of the playbook audit writes: run it"):
        audited(report)


def test_an_inventory_as_ansible_prints_it() -> None:
    hostvars = {"web1": {"ansible_host": "192.0.2.1", "epmd_expected": ["vic"]}, "web2": {}}
    assert targets_of_inventory({"_meta": {"hostvars": hostvars}, "all": {}}) == [
        Target("web1", "192.0.2.1", 4369, ("vic",)),
        Target("web2", "web2", 4369, None),
    ]
    others: list[dict[str, Any]] = [{}, {"_meta": None}, {"_meta": {"hostvars": []}}]
    for other in others:
        with pytest.raises(InvalidOption, match="ansible-inventory --list"):
            targets_of_inventory(other)


@pytest.mark.parametrize(
    ("expected", "names", "missing", "extra"),
    [
        ((), (), [], []),
        (("b", "a"), (), ["a", "b"], []),
        (("a",), ("a", "c", "b"), [], ["b", "c"]),
        # As a node has it that was started in a locale without UTF-8.
        (("j\xf8rn",), ("j\xc3\xb8rn",), [], []),
        (("j\xf8rn",), ("j\xf8rn",), [], []),
        (("j\xf8rn",), ("x",), ["j\xf8rn"], ["x"]),
    ],
)
def test_what_is_missing_and_what_is_there_besides(
    expected: tuple[str, ...], names: tuple[str, ...], missing: list[str], extra: list[str]
) -> None:
    assert compare(expected, names) == (missing, extra)
