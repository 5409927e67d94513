# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of epmds that the filter makes, and its complaints."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.beamops.epmd.plugins.filter.epmds import FilterModule

epmds = FilterModule().filters()["epmds"]


def test_only_the_hosts_of_the_play_are_asked() -> None:
    hostvars = {"a": {"epmd_expected": ["vic"]}, "b": {"ansible_host": "192.0.2.2"}, "c": {}}
    assert epmds(["a", "b"], hostvars) == [
        {"name": "a", "host": "a", "port": 4369, "expected": ["vic"]},
        {"name": "b", "host": "192.0.2.2", "port": 4369, "expected": None},
    ]


def test_the_last_audit_says_what_is_expected_where_no_variable_does() -> None:
    nodes = [{"name": "vic@a", "epmd_port": 4369, "verdict": "registered", "namespace": None}]
    audit = {"version": 1, "hosts": [{"host": host, "state": "well", "nodes": nodes} for host in "ab"]}
    found = epmds(["a", "b", "c"], {"a": {}, "b": {"epmd_expected": []}, "c": {}}, audit)
    assert {epmd["name"]: epmd["expected"] for epmd in found} == {"a": ["vic"], "b": [], "c": None}
    with pytest.raises(AnsibleFilterError, match="run it again"):
        epmds(["a"], {"a": {}}, {"version": 0})


def test_a_variable_that_can_not_be_meant_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="epmd_expected of a is 'vic': give a list of names, \\[\\] for none"):
        epmds(["a"], {"a": {"epmd_expected": "vic"}})
