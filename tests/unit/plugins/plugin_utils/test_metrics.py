# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metrics of a fleet, as lines. `tests/browser/test_report.py` has Prometheus' own parser read them."""

from __future__ import annotations

from typing import Any

from ansible_collections.beamops.epmd.plugins.plugin_utils._metrics import metrics


def node(name: str = "vic@web1", *, registered: bool = True, verdict: str = "", **other: Any) -> dict[str, Any]:
    known = {"name": name, "registered": registered, "verdict": verdict or ("registered" if registered else "missing")}
    return {**known, "epmd_port": 4369, "namespace": None, **other}


def epmd(state: str = "up", *, at_risk: bool = False, unit: str | None = None, **other: Any) -> dict[str, Any]:
    return {"port": 4369, "namespace": None, "state": state, "at_risk": at_risk, "unit": unit, **other}


def host(name: str = "web1", state: str = "well", nodes: Any = (), epmds: Any = ()) -> dict[str, Any]:
    return {"host": name, "state": state, "nodes": nodes, "epmds": epmds}


def samples(*hosts: dict[str, Any]) -> dict[str, list[str]]:
    """By metric: the labels and the value of each of its samples, as they are written."""
    found: dict[str, list[str]] = {}
    for line in metrics({"hosts": hosts}).splitlines():
        if not line.startswith("#"):
            name, _brace, rest = line.partition("{")
            found.setdefault(name, []).append(rest.replace("}", ""))
    return found


def test_each_metric_says_what_it_is_before_its_samples() -> None:
    lines = metrics({"hosts": [host()]}).splitlines()
    for name in ("epmd_node_registered", "epmd_up", "epmd_in_application_unit", "epmd_host_looked_at"):
        about, kind = [line for line in lines if line.split()[:3:2] == ["#", name]]
        assert about.startswith(f"# HELP {name} Whether ")
        assert kind == f"# TYPE {name} gauge"
    assert lines[-1] == 'epmd_host_looked_at{host="web1"} 1'
    assert metrics({"hosts": []}).endswith(" gauge\n")


def test_nodes_are_registered_or_not() -> None:
    found = samples(host(nodes=[node(), node("wim@web1", registered=False, epmd_port=4370, namespace=4026531840)]))
    assert found["epmd_node_registered"] == [
        'host="web1",node="vic@web1",epmd_port="4369",namespace="" 1',
        'host="web1",node="wim@web1",epmd_port="4370",namespace="4026531840" 0',
    ]


def test_a_node_that_uses_no_epmd_or_has_no_name_has_no_sample() -> None:
    assert "epmd_node_registered" not in samples(host(nodes=[node(verdict="not_applicable"), node("")]))


def test_epmds_are_up_or_not_and_at_risk_or_not() -> None:
    epmds = [epmd(), epmd("down", port=4370, namespace=7), epmd("mute", at_risk=True, unit="app.service", port=None)]
    found = samples(host(epmds=epmds))
    ports = ('epmd_port="4369",namespace=""', 'epmd_port="4370",namespace="7"', 'epmd_port="",namespace=""')
    one, other, third = (f'host="web1",{port}' for port in ports)
    assert found["epmd_up"] == [f"{one} 1", f"{other} 0", f"{third} 0"]
    assert samples(host(epmds=[epmd("what no version has yet")]))["epmd_up"] == [f"{one} 0"]
    assert found["epmd_in_application_unit"] == [
        f'{one},unit="" 0',
        f'{other},unit="" 0',
        f'{third},unit="app.service" 1',
    ]


def test_a_host_was_looked_at_unless_it_is_in_trouble() -> None:
    states = ["well", "lost", "unwell", "unreachable", "no python", "failed", "unknown", "not begun"]
    found = samples(*(host(state, state) for state in states))
    assert found["epmd_host_looked_at"] == [
        f'host="{state}" {int(state in ("well", "lost", "unwell"))}' for state in states
    ]


def test_of_two_with_the_same_labels_the_worse_one_is_told() -> None:
    """In either order: the same labels twice would make node_exporter refuse the file."""
    nodes = [node(), node(registered=False), node()]
    epmds = [epmd(), epmd("down", at_risk=True), epmd()]
    for order in (1, -1):
        found = samples(host(nodes=nodes[::order], epmds=epmds[::order]), host(nodes=[node()], state="unreachable"))
        assert [len(of_one) for of_one in found.values()] == [1, 1, 1, 1]
        assert found["epmd_node_registered"][0].endswith(" 0")
        assert found["epmd_up"][0].endswith(" 0")
        assert found["epmd_in_application_unit"][0].endswith(" 1")
        assert found["epmd_host_looked_at"] == ['host="web1" 0']


def test_labels_are_escaped() -> None:
    assert samples(host('a"b\\c\nd'))["epmd_host_looked_at"] == ['host="a\\"b\\\\c\\nd" 1']
