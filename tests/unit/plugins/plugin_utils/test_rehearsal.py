# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of a rehearsal, from the results of its steps, in every outcome; with the sentence of the fleet.

`action/rehearse.py`, which runs the steps, is seen at work on the hosts of the lab; `modules/rehearse.py` has its
documentation.
"""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.beamops.epmd.plugins.plugin_utils import _rehearsal
from ansible_collections.beamops.epmd.plugins.plugin_utils._fleet import glance

NODE: dict[str, Any] = {
    "name": "rehearse_1@web1",
    "pid": 11,
    "user": "rabbitmq",
    "epmd_port": 40123,
    "program": "/erts/bin",
    "like": ["rabbit@web1", "other@web1"],
    "msg": "started",
    "reason": "",
}
FOUND = {"name": "rehearse_1@web1", "pid": 11, "verdict": "epmd_down", "registered": True, "msg": "registered"}
STARTED: dict[str, Any] = {"scratch_nodes": [NODE], "msg": "1 scratch node started"}
LOST, REGISTERED, ENDED = {"msg": "killed"}, {"nodes": [FOUND]}, {"ended": [11, 12]}


def verdicts(*steps: Any) -> list[tuple[str, str, str]]:
    return [(row["name"], row["verdict"], row["msg"]) for row in _rehearsal.result(*steps)["rows"]]


def test_a_name_that_came_back_is_one_for_each_node_that_is_like_it() -> None:
    why = "user rabbitmq, Erlang /erts/bin: registered"
    assert verdicts(STARTED, LOST, REGISTERED, ENDED) == [
        ("rabbit@web1", "would work", why),
        ("other@web1", "would work", why),
    ]
    found = _rehearsal.result(STARTED, LOST, REGISTERED, ENDED)
    assert "failed" not in found
    assert found["changed"] is False  # the host is as it was
    assert _rehearsal.started(STARTED) == [NODE]


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ((LOST, {"nodes": [{**FOUND, "registered": False, "msg": "refused"}]}, ENDED), "refused"),
        ((LOST, {"nodes": [], "failed": True, "msg": "no psutil"}, ENDED), "no psutil"),
        ((LOST, {"nodes": []}, ENDED), "its scratch node has ended"),
        ((LOST, {"nodes": [{**FOUND, "pid": 10}, {**FOUND, "pid": 12}]}, ENDED), "its scratch node has ended"),
        ((LOST, REGISTERED, {"ended": [12]}), "its scratch node ended while it was registered"),
        (({}, {}, ENDED), "its scratch node could not be made to lose its name"),
    ],
)
def test_whatever_goes_wrong_would_not_work_and_says_why(steps: Any, why: str) -> None:
    found = _rehearsal.result(STARTED, *steps)
    assert {(row["verdict"], row["msg"]) for row in found["rows"]} == {("would not work", why)}
    assert found["failed"]


def test_a_step_that_fails_has_a_row() -> None:
    rows = verdicts(STARTED, {"failed": True, "msg": "left alone"}, {}, {"failed": True, "msg": "still there"})
    assert rows[0] == ("rabbit@web1", "would not work", "left alone")
    assert rows[-2:] == [("-", "failed", "left alone"), ("-", "failed", "still there")]


def test_nodes_for_which_nothing_was_started() -> None:
    boxed = {**NODE, "pid": None, "like": ["a@box"], "reason": "not_rehearsed", "msg": "in a container"}
    bare = {**NODE, "pid": None, "like": ["b@web1"], "reason": "no_cookie", "msg": "no cookie"}
    strange = {**NODE, "pid": None, "like": ["c@web1"], "reason": "timed_out", "msg": "no answer"}
    started = {"scratch_nodes": [boxed, bare, strange]}
    assert _rehearsal.started(started) == []
    assert verdicts(started) == [
        ("a@box", "not rehearsed", "in a container"),
        ("b@web1", "would not work", "no cookie"),
        ("c@web1", "would not work", "no answer"),
    ]


def test_a_host_without_nodes_is_no_failure_and_says_what_to_type() -> None:
    found = _rehearsal.result({"scratch_nodes": []})
    assert (found["rows"], found.get("failed")) == ([], None)
    assert found["msg"].endswith("-e rehearse_erl=erl")


def test_a_first_step_that_failed_and_check_mode() -> None:
    unreachable = {"failed": True, "msg": "no rights", "reason": "not_permitted"}
    assert _rehearsal.result(unreachable) == unreachable
    assert verdicts({"msg": "nothing is started", "changed": True}) == [("-", "not rehearsed", "nothing is started")]


def test_the_sentence_of_the_fleet_counts_hosts_once() -> None:
    results = {
        "good": _rehearsal.result(STARTED, LOST, REGISTERED, ENDED),
        "bad": _rehearsal.result({"scratch_nodes": [{**NODE, "pid": None, "reason": "no_cookie"}]}),
        "boxed": _rehearsal.result({"scratch_nodes": [{**NODE, "pid": None, "reason": "not_rehearsed"}]}),
        "empty": _rehearsal.result({"scratch_nodes": []}),
    }
    fleet = glance(results, "rehearse")
    assert fleet["sentence"] == ("the recovery would work on 1 of 4 hosts, would not on 1, and was not tried on 2")
    assert fleet["needs_somebody"] == ["bad"]
    well = glance({"good": results["good"]}, "rehearse")
    assert well["sentence"] == "the recovery would work on 1 of 1 host"
    checked = glance({"good": _rehearsal.result({"msg": "nothing is started"})}, "rehearse", check=True)
    assert checked["sentence"] == "nothing was rehearsed: check mode starts no scratch nodes"


def test_each_step_in_words() -> None:
    assert _rehearsal.words("started", STARTED) == ["rehearse_1@web1: started"]
    assert _rehearsal.words("started", {"scratch_nodes": [], "msg": "0 started"}) == ["0 started"]
    for step in ("absent", "lost", "shown", "tested"):
        assert _rehearsal.words(step, {**STARTED, **REGISTERED, "msg": "all of it"}) == ["all of it"]
    assert _rehearsal.words("absent", {"failed": True, "msg": "left alone"}) == ["failed: left alone"]
    daemons = [{"port": 40123, "pid": 12, "names": {"rehearse_1": 4}}, {"port": 4369, "pid": 3, "names": None}]
    assert _rehearsal.words("registered", {"nodes": [FOUND], "daemons": daemons}) == [
        "epmd_register found rehearse_1@web1 (pid 11) epmd_down: registered",
        "epmd on port 40123 (pid 12) has: name rehearse_1 at port 4",
        "epmd on port 4369 (pid 3) has: nothing",
    ]
