# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What epmd_restart makes of an outcome and of its options. The work itself is shown on a real systemd."""

from __future__ import annotations

from typing import Any

from ansible_collections.beamops.epmd.plugins.module_utils._errors import EpmdError
from ansible_collections.beamops.epmd.plugins.module_utils._options import Options
from ansible_collections.beamops.epmd.plugins.module_utils._steps.handover import Outcome, Wish, WouldLose
from ansible_collections.beamops.epmd.plugins.modules import epmd_restart
from ansible_collections.beamops.epmd.tests.unit.plugins.modules import support
from ansible_collections.beamops.epmd.tests.unit.plugins.modules.support import shown

OUTCOME = Outcome(
    changed=True,
    msg="done",
    unit="epmd.service",
    before={"vic": 1, "a_c_node": 2},
    after={"vic": 1},
    gap_ms={"vic": 40.5},
    lost=["a_c_node"],
    diff={"before": "a", "after": "b"},
    warnings=("hm",),
)
RESULT = {
    "changed": True,
    "msg": "done",
    "unit": "epmd.service",
    "before": {"vic": 1, "a_c_node": 2},
    "after": {"vic": 1},
    "gap_ms": {"vic": 40.5},
    "lost": ["a_c_node"],
    "warnings": ["hm"],
}


def ran(outcome: Outcome | EpmdError, **params: Any) -> support.Ran:
    """Run the module where the hand-over has this outcome or this error."""
    return support.ran(epmd_restart, outcome, "hand_over", **params)


def test_the_outcome_is_the_result() -> None:
    found = ran(OUTCOME)
    assert (shown(found), found.code) == (RESULT, 0)
    assert found.given == (Wish(), Options([]), False)


def test_the_options_are_the_wish() -> None:
    params = {"unit": "epmd.socket", "state": "restarted", "allow_lost": ["a_c_node"], "epmd_port": 4370, "timeout": 3}
    found = ran(OUTCOME, _ansible_check_mode=True, _ansible_diff=True, **params)
    assert shown(found) == {**RESULT, "diff": OUTCOME.diff}
    wish = Wish("epmd.socket", True, ("a_c_node",))
    assert found.given == (wish, Options([], epmd_port=4370, timeout=3), True)


def test_an_outcome_with_a_reason_is_a_failure_with_all_that_was_seen() -> None:
    found = ran(OUTCOME._replace(reason="names_lost"))
    assert (shown(found), found.code) == ({**RESULT, "failed": True, "reason": "names_lost"}, 1)


def test_an_error_is_a_failure_and_no_change() -> None:
    found = ran(WouldLose("a_c_node would be lost"))
    assert (shown(found), found.code) == ({"failed": True, "msg": "a_c_node would be lost", "reason": "would_lose"}, 1)
