# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What epmd_facts makes of an outcome: facts, whatever it was."""

from __future__ import annotations

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._ensure import Mode
from ansible_collections.beamops.epmd.plugins.module_utils._errors import PsutilMissing
from ansible_collections.beamops.epmd.plugins.module_utils._options import Options
from ansible_collections.beamops.epmd.plugins.module_utils._steps.report import Outcome
from ansible_collections.beamops.epmd.plugins.modules import epmd_facts
from ansible_collections.beamops.epmd.tests.unit.plugins.modules.support import FAILED, OUTCOME, ran, shown


@pytest.mark.parametrize("outcome", [OUTCOME, FAILED])
def test_facts_are_all_that_is_known_and_nothing_of_changes(outcome: Outcome) -> None:
    """A node that epmd_register would fail for is a fact like any other."""
    found = ran(epmd_facts, outcome, epmd_port=4370)
    facts = {"daemons": [{"port": 4369}], "nodes": [{"name": "vic@host"}]}
    expected = {"changed": False, "msg": "done", "ansible_facts": {"epmd": facts}, "warnings": ["hm"]}
    assert ({"changed": False, **shown(found)}, found.code) == (expected, 0)
    assert found.given == (Options([], epmd_port=4370, timeout=10), Mode.DIAGNOSE)


def test_where_psutil_is_needed_and_missing_there_are_no_facts() -> None:
    found = ran(epmd_facts, PsutilMissing("psutil is missing"))
    expected = {"failed": True, "msg": "psutil is missing", "reason": "psutil_missing"}
    assert (shown(found), found.code) == (expected, 1)
