# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on the controller, without a run: callback/fleet.py (its progress), filter/fleet.py and filter/epmds.py.

Not among the unit tests: code of the controller changes how `AnsibleModule` works in the same process. What else the
callback prints is in test_glance.py.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible.plugins.callback.default import CallbackModule as Default

from ansible_collections.beamops.epmd.plugins.callback.fleet import CallbackModule
from ansible_collections.beamops.epmd.plugins.filter import epmds as of_epmds
from ansible_collections.beamops.epmd.plugins.filter import fleet as of_fleet

epmds = of_epmds.FilterModule().filters()["epmds"]
TASK = SimpleNamespace(_uuid="look", run_once=False)


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ansible's own part prints nothing."""
    for name in ("play_start", "task_start"):
        monkeypatch.setattr(Default, f"v2_playbook_on_{name}", lambda *_given: None)
    for name in ("ok", "skipped", "failed", "unreachable"):
        monkeypatch.setattr(Default, f"v2_runner_on_{name}", lambda *_given: None)


def result(needs_somebody: bool, task: Any = TASK) -> Any:
    return SimpleNamespace(_task=task, _result={"needs_somebody": needs_somebody})


@pytest.mark.usefixtures("silent")
def test_progress_every_few_seconds() -> None:
    now = [0.0]
    said: list[str] = []
    callback = CallbackModule()
    callback.clock = lambda: now[0]
    callback._display = SimpleNamespace(display=said.append)  # type: ignore[assignment]
    variables = {"ansible_play_hosts_all": ["a host"] * 100}
    play = SimpleNamespace(get_variable_manager=lambda: SimpleNamespace(get_vars=lambda **_given: variables))
    callback.v2_playbook_on_play_start(play)  # type: ignore[arg-type]
    callback.v2_playbook_on_task_start(TASK, False)  # type: ignore[arg-type]
    for place in range(100):
        now[0] += 0.125
        heard = callback.v2_runner_on_skipped if place == 10 else callback.v2_runner_on_ok
        heard(result(place in (10, 60)))
    # Not of the last host: the table is next.
    assert said == ["40 of 100 hosts asked, 1 needs somebody", "80 of 100 hosts asked, 2 need somebody"]
    said.clear()

    # A task for all hosts at once is no progress.
    once = SimpleNamespace(_uuid="show", run_once=True)
    callback.v2_playbook_on_task_start(once, False)  # type: ignore[arg-type]
    now[0] += 60
    callback.v2_runner_on_ok(result(False, once))
    assert said == []

    # Hosts that fail and those that can't be reached count, too.
    callback.v2_playbook_on_task_start(TASK, False)  # type: ignore[arg-type]
    callback.v2_runner_on_failed(result(False))
    now[0] += 60
    callback.v2_runner_on_unreachable(result(False))
    assert said == ["2 of 100 hosts asked, 2 need somebody"]


def test_the_filter_wants_results_by_host() -> None:
    fleet = of_fleet.FilterModule().filters()["fleet"]
    lost = {"name": "vic@web1", "verdict": "missing", "registered": False}
    assert fleet({"web1": {"nodes": [lost]}})["limit"] == "web1"
    assert fleet({"web1": {"nodes": [lost]}}, "recover")["playbook"] == "recover"
    with pytest.raises(AnsibleFilterError, match="needs a dict of results by host"):
        fleet([lost])
    with pytest.raises(AnsibleFilterError, match="knows no playbook 'sweep', but audit, recover"):
        fleet({}, "sweep")


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
