# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules make of an outcome: the result, warnings, and a failure where it is one.

AnsibleModule is Ansible's own: it takes the parameters as on a target, and prints the result. What the work gives to it
is said here; the work itself is tested in `module_utils`.
"""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any, NamedTuple
from unittest import mock

import pytest
from ansible.module_utils import basic

from ansible_collections.beamops.epmd.plugins.module_utils._ensure import Mode
from ansible_collections.beamops.epmd.plugins.module_utils._errors import EpmdError, PsutilMissing
from ansible_collections.beamops.epmd.plugins.module_utils._host.children import result_of
from ansible_collections.beamops.epmd.plugins.module_utils._options import Options
from ansible_collections.beamops.epmd.plugins.module_utils._steps.report import Outcome
from ansible_collections.beamops.epmd.plugins.modules import epmd_facts, epmd_register

NODE = {"name": "vic@host", "changed": True}
DAEMON = {"port": 4369, "started": False}
OUTCOME = Outcome(
    changed=True,
    failed=False,
    msg="done",
    nodes=[NODE],
    daemons=[DAEMON],
    missing=["wim"],
    reason="",
    diff={"before": "a", "after": "b"},
    warnings=["hm"],
)
FAILED = OUTCOME._replace(failed=True, reason="conflict")


class Ran(NamedTuple):
    """How a module ended. result: what it printed. given: the options, and whether it may change something."""

    result: dict[str, Any]
    code: int
    given: tuple[Options, Mode] | None


def args_of(params: dict[str, Any]) -> Any:
    """Have AnsibleModule take these parameters."""
    try:
        from ansible.module_utils.testing import patch_module_args  # noqa: PLC0415 # since ansible-core 2.18
    except ImportError:
        return mock.patch.object(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": params}).encode())
    return patch_module_args(params)


def ran(module: Any, outcome: Outcome | EpmdError, **params: Any) -> Ran:
    """Run a module in a process of its own, as Ansible does, where the work has this outcome or this error."""

    def work() -> Ran:
        ensure = mock.Mock(side_effect=[outcome])
        printed = io.StringIO()
        with contextlib.ExitStack() as stack:
            stack.enter_context(args_of(params))
            stack.enter_context(mock.patch.object(module, "ensure", ensure))
            stack.enter_context(contextlib.redirect_stdout(printed))
            ended = stack.enter_context(pytest.raises(SystemExit))
            module.main()
        given = ensure.call_args[0] if ensure.call_args else None
        return Ran(json.loads(printed.getvalue()), int(ended.value.code or 0), given)

    return result_of(work, 60)


def shown(found: Ran) -> dict[str, Any]:
    """The result as its reader gets it: without the copy of the parameters, and with warnings as text."""
    result = {key: value for key, value in found.result.items() if key != "invocation"}
    if "warnings" in result:  # records since ansible-core 2.19
        result["warnings"] = [said if isinstance(said, str) else said["event"]["msg"] for said in result["warnings"]]
    return result


RESULT = {
    "changed": True,
    "msg": "done",
    "nodes": [NODE],
    "daemons": [DAEMON],
    "missing": ["wim"],
    "warnings": ["hm"],
}


def test_the_outcome_is_the_result() -> None:
    found = ran(epmd_register, OUTCOME, name=["vic"], port=4711)
    assert (shown(found), found.code) == (RESULT, 0)
    assert found.given == (Options(["vic"], port=4711), Mode.REPAIR)


def test_check_mode_predicts() -> None:
    found = ran(epmd_register, OUTCOME, _ansible_check_mode=True)
    assert (shown(found), found.code) == (RESULT, 0)
    assert found.given == (Options([]), Mode.PREDICT)


def test_a_diff_is_there_where_it_was_asked_for() -> None:
    assert shown(ran(epmd_register, OUTCOME, _ansible_diff=True)) == {**RESULT, "diff": OUTCOME.diff}


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
