# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which losses may be recovered, within which limits, and when a person is called instead. The clock is the test's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._errors import InvalidOption
from ansible_collections.beamops.epmd.plugins.module_utils._limits import RECOVERY_SECONDS
from ansible_collections.beamops.epmd.plugins.module_utils._sweep.healing import Healing


def lost(**more: Any) -> dict[str, Any]:
    return {"type": "lost", "name": "vic", "expected": True, "node": "running", **more}


def down(**more: Any) -> dict[str, Any]:
    return {"type": "epmd_down", "state": "refused", "names": ["vic"], **more}


def judged(healing: Healing, host: str, now: float, *events: dict[str, Any], ailing: bool = True) -> list[str]:
    """Which events are to be healed, and the reasons of the calls. The clock does not begin at 0."""
    now += 7.5
    calls = healing.judge(host, events, ailing, now)
    assert all(event["heal"] in (True, False) for event in events)
    again = Healing(9, 9, 9)
    again.restore(json.loads(json.dumps(healing.kept())))
    assert again.kept() == healing.kept()
    return [event["type"] for event in events if event["heal"]] + [call["reason"] for call in calls]


def test_one_recovery_is_for_the_whole_host() -> None:
    healing = Healing(2, 5, 3600)
    assert judged(healing, "a", 0, lost(), lost()) == ["lost"]
    assert judged(healing, "a", 20, lost()) == []
    assert judged(healing, "a", 30, ailing=False) == []
    assert judged(healing, "a", 40, down(), lost()) == ["epmd_down"]


@pytest.mark.parametrize(
    "event",
    [
        lost(node="stopped"),
        lost(expected=False),
        down(state="down"),
        down(state="timeout"),
        down(names=[]),
        {"type": "back"},
        {"type": "moved", "node": "running"},
    ],
)
def test_there_is_no_recovery_where_it_could_do_nothing(event: dict[str, Any]) -> None:
    assert judged(Healing(2, 5, 3600), "a", 0, event) == []


def test_a_node_of_which_nothing_is_known_may_be_running() -> None:
    assert judged(Healing(2, 5, 3600), "a", 0, lost(node="unknown")) == ["lost"]


def test_beyond_the_limit_of_a_host_a_person_is_called_once() -> None:
    healing = Healing(2, 5, 3600)
    for now in (0, 100):
        assert judged(healing, "a", now, lost()) == ["lost"]
        assert judged(healing, "a", now + 10, ailing=False) == []
    assert judged(healing, "a", 200, lost()) == ["host_limit"]
    assert judged(healing, "a", 300, lost()) == []
    assert judged(healing, "b", 300, lost()) == ["lost"]
    assert judged(healing, "a", 3600, lost()) == ["lost"]
    # The second one still counts, and so does the call.
    assert judged(healing, "a", 3610, ailing=False) == []
    assert judged(healing, "a", 3650, lost()) == []


def test_twenty_losses_at_once_are_five_recoveries_and_one_call() -> None:
    healing = Healing(2, 5, 3600)
    outcomes = [judged(healing, f"h{number}", number / 10, lost()) for number in range(20)]
    assert outcomes == [["lost"]] * 5 + [["fleet_limit"]] + [[]] * 14
    assert judged(healing, "h6", 3601, lost()) == ["lost"]


def test_a_call_says_what_happened_and_what_to_type() -> None:
    healing = Healing(2, 1, 3600)
    healing.judge("a", [lost()], True, 0)
    (call,) = healing.judge("web1", [lost()], True, 1)
    assert call == {
        "type": "call",
        "host": "web1",
        "time": "1970-01-01T00:00:01Z",
        "reason": "fleet_limit",
        "msg": "recover was run 1 time within 3600 s, the limit for the fleet; web1 is left alone, and so is what is "
        "lost next; see what is lost, and bring it back: ansible-playbook beamops.epmd.sweep",
        "heal": False,
    }


def test_a_recovery_that_does_not_help_is_a_call() -> None:
    healing = Healing(2, 5, 3600)
    assert judged(healing, "a", 0, lost()) == ["lost"]
    assert judged(healing, "a", RECOVERY_SECONDS - 1) == []
    assert judged(healing, "a", RECOVERY_SECONDS) == ["not_healed"]
    assert judged(healing, "a", 2 * RECOVERY_SECONDS) == []
    assert judged(healing, "b", 0, lost()) == ["lost"]
    assert judged(healing, "b", RECOVERY_SECONDS + 50) == ["not_healed"]


def test_limits_that_were_lowered_since_the_last_start_count() -> None:
    before = Healing(9, 9, 3600)
    for now in (0, 10, 20):
        assert judged(before, "a", now, lost()) == ["lost"]
        assert judged(before, "a", now + 5, ailing=False) == []
    for limits, reason in (((2, 9), "host_limit"), ((9, 2), "fleet_limit")):
        after = Healing(*limits, 3600)
        after.restore(before.kept())
        assert judged(after, "a", 30, lost()) == [reason]


def test_a_person_is_called_again_when_the_time_of_a_limit_is_over() -> None:
    healing = Healing(1, 5, 3600)
    assert judged(healing, "a", 0, lost()) == ["lost"]
    assert judged(healing, "a", 10, ailing=False) == []
    assert judged(healing, "a", 20, lost()) == ["host_limit"]
    assert judged(healing, "a", 3600, lost()) == ["lost"]
    assert judged(healing, "a", 3610, ailing=False) == []
    assert judged(healing, "a", 3619, lost()) == []
    assert judged(healing, "a", 3620, lost()) == ["host_limit"]


def test_who_was_called_about_is_kept_no_longer_than_that_counts() -> None:
    healing = Healing(1, 9, 3600)
    for host, now, called in (("a", 0, {"a"}), ("b", 3590, {"a", "b"}), ("c", 3600, {"b", "c"})):
        assert judged(healing, host, now, lost()) == ["lost"]
        assert judged(healing, host, now, ailing=False) == []
        assert judged(healing, host, now + 1, lost()) == ["host_limit"]
        assert set(healing.called) == called
    assert judged(healing, "b", 7210, lost()) == ["lost"]
    assert judged(healing, "b", 7210, ailing=False) == []
    assert judged(healing, "b", 7211, lost()) == ["host_limit"]
    assert set(healing.called) == {"b"}


@pytest.mark.parametrize(("per_host", "per_fleet"), [(0, 5), (2, 0)])
def test_without_recoveries_nobody_is_called_about_them(per_host: int, per_fleet: int) -> None:
    assert judged(Healing(per_host, per_fleet, 3600), "a", 0, lost()) == []


@pytest.mark.parametrize(
    "kept",
    [None, {}, {"granted": [1], "open": {}, "called": {}}, {"granted": [], "open": {"a": float("inf")}, "called": {}}],
)
def test_what_no_watch_wrote_is_refused(kept: Any) -> None:
    with pytest.raises(InvalidOption):
        Healing(2, 5, 3600).restore(kept)
