# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What epmd_register makes of an outcome: the result, warnings, and a failure where it is one; and of its options."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._ensure import Mode
from ansible_collections.beamops.epmd.plugins.module_utils._errors import PsutilMissing
from ansible_collections.beamops.epmd.plugins.module_utils._options import Options
from ansible_collections.beamops.epmd.plugins.modules import epmd_register
from ansible_collections.beamops.epmd.tests.unit.plugins.modules.support import (
    DAEMON,
    FAILED,
    NODE,
    OUTCOME,
    ran,
    shown,
)

RESULT = {
    "changed": True,
    "msg": "done",
    "nodes": [NODE],
    "daemons": [DAEMON],
    "missing": ["wim"],
    "warnings": ["hm"],
}
FACTS = {"ansible_facts": {"epmd": {"nodes": [NODE], "daemons": [DAEMON]}}}
"""Also where nothing failed; Ansible takes none of a module that fails."""


def test_the_outcome_is_the_result() -> None:
    found = ran(epmd_register, OUTCOME, name=["vic"], port=4711)
    assert (shown(found), found.code) == ({**RESULT, **FACTS}, 0)
    assert found.given == (Options(["vic"], port=4711), Mode.REPAIR)


def test_check_mode_predicts() -> None:
    found = ran(epmd_register, OUTCOME, _ansible_check_mode=True)
    assert (shown(found), found.code) == ({**RESULT, **FACTS}, 0)
    assert found.given == (Options([]), Mode.PREDICT)


def test_a_diff_is_there_where_it_was_asked_for() -> None:
    assert shown(ran(epmd_register, OUTCOME, _ansible_diff=True)) == {**RESULT, **FACTS, "diff": OUTCOME.diff}


def test_an_outcome_that_failed_fails_with_all_that_was_seen_and_the_reason() -> None:
    found = ran(epmd_register, FAILED)
    assert (shown(found), found.code) == ({**RESULT, "failed": True, "reason": "conflict"}, 1)


def test_an_error_is_a_failure_without_nodes() -> None:
    found = ran(epmd_register, PsutilMissing("psutil is missing"))
    assert found.code == 1
    assert shown(found) == {
        "failed": True,
        "msg": "psutil is missing",
        "reason": "psutil_missing",
        "nodes": [],
        "daemons": [],
        "missing": [],
    }


def test_the_cookie_is_not_in_the_result() -> None:
    found = ran(epmd_register, OUTCOME._replace(msg="MonsterCookie"), cookie="MonsterCookie")
    assert found.given == (Options([], cookie="MonsterCookie"), Mode.REPAIR)
    assert "MonsterCookie" not in str(found.result)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"cookie": "MonsterCookie", "cookie_file": "/x"}, "mutually exclusive: cookie|cookie_file"),
        ({"port": 4711}, "missing parameter(s) required by 'port': name"),
        ({"tls_keyfile": "/x"}, "missing parameter(s) required by 'tls_keyfile': tls_certfile"),
        ({"port": "ejabberd", "name": ["vic"]}, "'port' is of type"),
        ({"no_such_option": 1}, "Unsupported parameters"),
    ],
)
def test_options_that_do_not_go_together_are_refused_before_any_work(params: dict[str, Any], words: str) -> None:
    found = ran(epmd_register, OUTCOME, **params)
    assert (found.result["failed"], found.code, found.given) == (True, 1, None)
    assert words in found.result["msg"]
