# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report for programs: the JSON against its schema, the metrics read by Prometheus' own parser.

For plugins/plugin_utils/_report.py, plugins/plugin_utils/_metrics.py and docs/report.schema.json.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from prometheus_client.parser import text_string_to_metric_families

from ansible_collections.beamops.epmd.plugins.module_utils._legible import legible
from ansible_collections.beamops.epmd.plugins.plugin_utils import _report
from ansible_collections.beamops.epmd.plugins.plugin_utils._fleet import KINDS, Record, glance
from ansible_collections.beamops.epmd.plugins.plugin_utils._metrics import metrics
from ansible_collections.beamops.epmd.tests.browser.fleets import HOSTILE, daemon, fleet, hostile, looked, node

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/report.schema.json").read_text())

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str) -> Samples:
    """What Prometheus reads. Fails for the same labels twice."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        assert (family.type, bool(family.documentation)) == ("gauge", True)
        for sample in family.samples:
            key = (sample.name, frozenset((name, value) for name, value in sample.labels.items() if value))
            assert key not in found
            found[key] = sample.value
    return found


def labels(**given: str) -> frozenset[tuple[str, str]]:
    return frozenset(given.items())


@pytest.mark.parametrize("made", [fleet(100), hostile(), *(glance({}, kind) for kind in KINDS)])
def test_the_json_is_as_its_schema_says(made: Record, tmp_path: Path) -> None:
    Draft202012Validator.check_schema(SCHEMA)
    files = _report.write(str(tmp_path), made)
    read = json.loads(Path(files[1]).read_text(encoding="utf-8"))
    assert read == made
    Draft202012Validator(SCHEMA).validate(read)
    described = SCHEMA["properties"]
    assert set(read) == set(described)
    for host in read["hosts"]:
        assert set(host) == set(described["hosts"]["items"]["properties"])


def test_the_metrics_are_what_prometheus_reads() -> None:
    found = samples(metrics(fleet(100)))
    registered = {key: value for key, value in found.items() if key[0] == "epmd_node_registered"}
    # A node that does not use epmd has none.
    assert (len(registered), list(registered.values()).count(0)) == (192, 3)
    assert found["epmd_node_registered", labels(host="web18", node="ejabberd@web18", epmd_port="4369")] == 0
    assert found["epmd_up", labels(host="web24", epmd_port="4369")] == 0
    assert found["epmd_up", labels(host="web1", epmd_port="4369")] == 1
    assert found["epmd_in_application_unit", labels(host="web62", epmd_port="4369", unit="shop.service")] == 1
    assert found["epmd_in_application_unit", labels(host="web1", epmd_port="4369", unit="epmd.service")] == 0
    assert found["epmd_host_looked_at", labels(host="web32")] == 0
    assert found["epmd_host_looked_at", labels(host="web1")] == 1


def test_hostile_names_stay_labels() -> None:
    found = samples(metrics(hostile()))
    nodes = {dict(key[1])["node"] for key in found if key[0] == "epmd_node_registered"}
    assert nodes == {"vic@web1", *map(legible, HOSTILE)}


def test_the_same_name_twice_is_one_sample_the_worse() -> None:
    twice = looked(node("vic@web1", "conflict"), node("vic@web1"), daemons=[daemon("::", state="mute"), daemon("::1")])
    found = samples(metrics(glance({"web1": twice}, "audit")))
    assert found["epmd_node_registered", labels(host="web1", node="vic@web1", epmd_port="4369")] == 0
    assert found["epmd_up", labels(host="web1", epmd_port="4369")] == 0


def test_a_report_takes_the_place_of_the_one_before_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _report.write(str(tmp_path / "new" / "folder"), fleet(1))
    assert sorted(Path(path).name for path in first) == ["audit.html", "audit.json", "audit.prom"]
    before = {path: Path(path).read_bytes() for path in first}
    inode = os.stat(first[2]).st_ino

    def broken(_from: Any, _to: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", broken)
        with pytest.raises(_report.ReportError, match="No space left on device"):
            _report.write(str(tmp_path / "new" / "folder"), fleet(2))
    assert {path: Path(path).read_bytes() for path in first} == before
    assert sorted(os.listdir(tmp_path / "new" / "folder")) == ["audit.html", "audit.json", "audit.prom"]
    _report.write(str(tmp_path / "new" / "folder"), fleet(2))
    assert os.stat(first[2]).st_ino != inode
    old = os.umask(0o027)
    try:
        _report.write(str(tmp_path / "new" / "folder"), fleet(2))
    finally:
        os.umask(old)
    assert {os.stat(path).st_mode & 0o777 for path in first} == {0o640}


def test_a_directory_that_can_not_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(_report.ReportError) as raised:
        _report.check(str(tmp_path / "file"))
    assert str(raised.value).startswith(f"nothing can be written to {tmp_path}/file (")
    assert str(raised.value).endswith("give a directory that you may write to")
