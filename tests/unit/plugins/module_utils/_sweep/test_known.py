# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which events follow from what a watched epmd answers, one answer after the other. The clock is the test's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._errors import InvalidOption
from ansible_collections.beamops.epmd.plugins.module_utils._limits import FORGOTTEN_SECONDS
from ansible_collections.beamops.epmd.plugins.module_utils._sweep.ask import REFUSED, TIMEOUT, UP, Answer
from ansible_collections.beamops.epmd.plugins.module_utils._sweep.hosts import Target
from ansible_collections.beamops.epmd.plugins.module_utils._sweep.known import Known

GRACE = 60
VIC = {"vic": 4711}


class Story:
    """One epmd, told in answers; each is 10 s after the one before."""

    def __init__(self, expected: tuple[str, ...] | None = None) -> None:
        self.known = Known()
        self.target = Target("web1", "192.0.2.1", 4369, expected)
        self.now = 7.0

    def up(self, names: dict[str, int], seconds: float = 10) -> list[str]:
        return self._see(Answer(UP, names), seconds)

    def no(self, state: str = REFUSED, seconds: float = 10) -> list[str]:
        return self._see(Answer(state, {}, "why"), seconds)

    def _see(self, answer: Answer, seconds: float) -> list[str]:
        self.now += seconds
        self.events = self.known.see(self.target, answer, self.now, GRACE)
        # A restart of the watch makes no difference at any time, but for names that were seen once.
        again = Known.of(json.loads(json.dumps(self.known.kept())))
        assert again.kept() == self.known.kept()
        return [" ".join(map(str, [event["type"], event.get("name", "")])).strip() for event in self.events]


def test_a_name_that_goes_is_lost_after_the_grace_period_and_told_once() -> None:
    story = Story()
    assert story.up(VIC) == story.up({}) == story.up({}, 59) == []
    assert story.up({}, 1.26) == ["lost vic"]
    assert story.events == [
        {
            "type": "lost",
            "host": "web1",
            "epmd_port": 4369,
            "name": "vic",
            "port": 4711,
            "expected": True,
            "since": "1970-01-01T00:00:27Z",
            "time": "1970-01-01T00:01:27Z",
            "seconds": 60.3,
        }
    ]
    assert story.up({}, 3600) == []
    assert story.up({"vic": 4712}) == ["back vic"]
    assert (story.events[0]["port"], story.events[0]["was"], story.events[0]["seconds"]) == (4712, 4711, 3670.3)
    assert story.up({"vic": 4712}) == []


@pytest.mark.parametrize("port", [4711, 4712])
def test_a_restart_within_the_grace_period_is_nothing(port: int) -> None:
    story = Story()
    assert story.up(VIC) == story.up({}) == story.up({}, 50) == story.up({"vic": port}, 9) == []
    assert story.up({"vic": port}, 30) == []


@pytest.mark.parametrize("port", [4710, 4712])
def test_a_restart_between_two_looks_may_be_a_move_so_that_the_old_port_is_looked_at(port: int) -> None:
    story = Story()
    assert story.up(VIC) == story.up({"vic": port}) == story.up({"vic": port}, 59) == []
    assert story.up({"vic": port}, 1) == ["moved vic"]
    assert (story.events[0]["port"], story.events[0]["was"]) == (port, 4711)
    assert story.up({"vic": port}) == story.up(VIC) == []
    assert story.up(VIC, 100) == ["moved vic"]


def test_a_name_that_comes_back_to_its_old_port_did_not_move() -> None:
    story = Story()
    assert story.up(VIC) == story.up({"vic": 4712}) == story.up(VIC) == story.up({"vic": 4712}, 60) == []


def test_a_name_that_was_seen_once_is_not_missed() -> None:
    story = Story()
    assert story.up(VIC) == story.up({**VIC, "cli": 1}) == story.up(VIC, 60) == story.up(VIC, 60) == []
    assert story.up({**VIC, "wim": 2}) == story.up({**VIC, "wim": 2}) == story.up(VIC) == []
    assert story.up(VIC, 60) == ["lost wim"]


def test_a_name_that_is_expected_is_missed_from_the_start() -> None:
    story = Story(("ann", "vic"))
    assert story.up(VIC) == story.up(VIC, 59) == []
    assert story.up(VIC, 1) == ["lost ann"]
    assert (story.events[0]["port"], story.events[0]["expected"]) == (None, True)
    assert story.up({**VIC, "ann": 1}) == ["back ann"]


def test_of_a_name_that_nobody_expects_the_event_says_so_and_it_is_forgotten_after_a_day() -> None:
    story = Story(("vic",))
    assert story.up({**VIC, "old": 1}) == story.up(VIC) == []
    assert story.up(VIC, 60) == ["lost old"]
    assert story.events[0]["expected"] is False
    assert story.up(VIC, FORGOTTEN_SECONDS - 70) == story.up(VIC) == []
    assert story.up({**VIC, "old": 1}, 0) == ["back old"]
    assert story.up(VIC) == []
    assert story.up(VIC, 60) == ["lost old"]
    assert story.up(VIC, FORGOTTEN_SECONDS) == []
    assert story.up({**VIC, "old": 1}) == []


def test_an_epmd_that_goes_is_one_event_and_the_names_that_it_comes_back_without_are_others() -> None:
    story = Story()
    assert story.known.silent == 0
    assert story.up({**VIC, "wim": 1}) == story.no() == story.no(TIMEOUT, 59) == []
    assert story.no(seconds=1) == ["epmd_down"]
    assert (story.events[0]["names"], story.events[0]["state"], story.events[0]["msg"]) == (
        ["vic", "wim"],
        "refused",
        "why",
    )
    assert story.known.silent == 0
    assert story.no(seconds=1800) == story.no(seconds=1800) == []
    assert story.known.silent == 2
    assert story.up(VIC) == ["epmd_up"]
    assert story.known.silent == 0
    assert (story.events[0]["names"], story.events[0]["seconds"]) == (["vic"], 3670.0)
    assert story.up(VIC, 60) == ["lost wim"]


def test_an_epmd_that_is_looked_at_late_is_gone_as_well() -> None:
    story = Story()
    assert story.up(VIC) == story.no() == []
    assert story.no(seconds=100) == ["epmd_down"]


def test_an_epmd_that_is_restarted_within_the_grace_period_is_nothing() -> None:
    story = Story()
    assert story.up(VIC) == story.no() == story.no() == story.up(VIC) == story.up(VIC, 600) == []


def test_an_epmd_that_was_never_seen_may_be_on_loopback() -> None:
    story = Story(("vic",))
    assert story.no() == story.no(seconds=3600) == []
    assert story.up(VIC) == []


def test_when_there_is_something_to_tell_the_next_look_is_in_time_for_it() -> None:
    story = Story()
    story.up(VIC)
    assert story.known.wait(story.now, GRACE) is None
    story.up({})
    assert story.known.wait(story.now + 20, GRACE) == 40
    story.up({}, 60)
    assert story.known.wait(story.now, GRACE) is None
    story.no()
    assert story.known.wait(story.now + 70, GRACE) == 0
    never = Story()
    never.no()
    assert never.known.wait(never.now, GRACE) is None


def test_what_is_kept_is_of_that_moment_so_that_a_change_shows() -> None:
    story = Story()
    story.up(VIC)
    before = story.known.kept()
    story.up({})
    assert (story.known.kept() != before, story.known.told) == (True, set())


GOOD: dict[str, Any] = {**Known().kept(), "names": {"vic": 1}, "gone": {"vic": 5.0}, "told": ["vic"]}


@pytest.mark.parametrize(
    "kept",
    [
        None,
        [],
        {},
        {**GOOD, "more": 1},
        {**GOOD, "names": []},
        {**GOOD, "names": {"vic": "1"}},
        {**GOOD, "names": {"vic": True}},
        {**GOOD, "gone": {}},
        {**GOOD, "gone": {"vic": 5.0, "wim": 5.0}},
        {**GOOD, "gone": {"vic": "yesterday"}},
        {**GOOD, "told": [5]},
        {**GOOD, "seen": 1},
        {**GOOD, "down": []},
        {**GOOD, "gone": {"vic": float("inf")}},
        {**GOOD, "gone": {"vic": float("nan")}},
        {**GOOD, "gone": {"vic": 10**400}},
        {**GOOD, "down": -1},
        {**GOOD, "down": 1 << 37},
        {**GOOD, "down": 1e12},
    ],
)
def test_what_no_watch_wrote_is_refused(kept: Any) -> None:
    assert Known.of(GOOD).kept() == GOOD
    with pytest.raises(InvalidOption):
        Known.of(kept)


@pytest.mark.parametrize("when", [0.0, (1 << 37) - 1.0])
def test_a_time_is_taken_from_1970_to_the_year_6325(when: float) -> None:
    assert Known.of({**GOOD, "down": when}).kept()["down"] == when
