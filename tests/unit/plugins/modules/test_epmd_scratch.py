# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What epmd_scratch makes of its options and of an outcome. The work itself is shown on real nodes."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._errors import EpmdError, NoCookie
from ansible_collections.beamops.epmd.plugins.modules import epmd_scratch
from ansible_collections.beamops.epmd.tests.unit.plugins.modules import support
from ansible_collections.beamops.epmd.tests.unit.plugins.modules.support import shown

DONE = {"changed": True, "msg": "done"}


def ran(outcome: Any, function: str, **params: Any) -> support.Ran:
    return support.ran(epmd_scratch, outcome, function, **params)


@pytest.mark.parametrize(
    ("function", "params"),
    [
        ("_start", {}),
        ("_start_like", {"like_nodes": True}),
        ("_lose", {"state": "lost"}),
        ("_end", {"state": "absent"}),
        ("_predict", {"_ansible_check_mode": True}),
    ],
)
def test_each_state_has_its_work(function: str, params: dict[str, Any]) -> None:
    found = ran(DONE, function, **params)
    assert (shown(found), found.code) == (DONE, 0)
    (given,) = found.given or ()
    assert (given["name"], given["lifetime"], given["epmd_port"]) == ("scratch", 600, None)


def test_an_error_is_a_failure_with_its_reason() -> None:
    found = ran(NoCookie("no cookie at /home"), "_start")
    assert (shown(found), found.code) == ({"failed": True, "msg": "no cookie at /home", "reason": "no_cookie"}, 1)


@pytest.mark.parametrize(
    "params", [{"name": "a b"}, {"lifetime": 86401}, {"lifetime": -1}, {"timeout": 0}, {"epmd_port": 0}]
)
def test_options_that_make_no_sense_are_refused_before_any_work(params: dict[str, Any]) -> None:
    found = ran(EpmdError("never"), "_start", **params)
    assert (found.result["reason"], found.code, found.given) == ("invalid_option", 1, None)
