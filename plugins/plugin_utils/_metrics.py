# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metrics of a fleet, for the textfile collector of Prometheus' node_exporter. Pure, and private to the collection.

Standard: the text format, https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ._fleet import TROUBLE, Record

_HELP = {
    "epmd_node_registered": "Whether epmd has the name of this node with its port. Not of nodes that do not use epmd.",
    "epmd_up": "Whether this epmd gives its table.",
    "epmd_in_application_unit": "Whether this epmd ends with the unit of somebody else, and all of its names with it.",
    "epmd_host_looked_at": "Whether the nodes of this host are known. Without, it has none of the others.",
}


Sample = tuple[str, dict[str, str], int, Callable[[int, int], int]]
"""A metric, its labels, its value, and which of two values is the worse one."""


def metrics(fleet: Record) -> str:
    """The metrics of what `glance` returned. Two that nothing but a process tells apart are one: the worse one."""
    lines = []
    for name, help_text in _HELP.items():
        # The same labels twice make a file that node_exporter refuses as a whole.
        samples: dict[str, int] = {}
        for host in fleet["hosts"]:
            for metric, labels, value, worse in _samples(host):
                if metric == name:
                    series = ",".join(f'{key}="{_escaped(label)}"' for key, label in labels.items())
                    samples[series] = worse(samples.get(series, value), value)
        lines += [f"# HELP {name} {help_text}", f"# TYPE {name} gauge"]
        lines += [f"{name}{{{series}}} {value}" for series, value in samples.items()]
    return "".join(f"{line}\n" for line in lines)


def _samples(host: Record) -> Iterator[Sample]:
    own = {"host": host["host"]}
    yield "epmd_host_looked_at", own, int(host["state"] not in TROUBLE), min
    for node in host["nodes"]:
        if node["name"] and node["verdict"] != "not_applicable":
            labels = {**own, "node": node["name"], **_epmd(node["epmd_port"], node["namespace"])}
            yield "epmd_node_registered", labels, int(node["registered"]), min
    for epmd in host["epmds"]:
        labels = {**own, **_epmd(epmd["port"], epmd["namespace"])}
        yield "epmd_up", labels, int(epmd["state"] == "up"), min
        yield "epmd_in_application_unit", {**labels, "unit": epmd["unit"] or ""}, int(epmd["at_risk"]), max


def _epmd(port: int | None, namespace: int | None) -> dict[str, str]:
    """Which epmd of the host it is. An empty label is as none."""
    return {"epmd_port": str(port or ""), "namespace": str(namespace or "")}


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
