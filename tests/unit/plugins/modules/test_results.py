# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules make of an outcome: the result, warnings, and a failure where it is one."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._ensure import Mode
from ansible_collections.beamops.epmd.plugins.module_utils._errors import EpmdError, PsutilMissing
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


class Exit(Exception):
    """The module has ended, with this result."""


class FakeModule:
    """AnsibleModule, with these parameters, as far as the modules use it."""

    def __init__(self, params: dict[str, Any], diff: bool) -> None:
        self.params = params
        self.check_mode = True
        self._diff = diff
        self.warnings: list[str] = []

    def warn(self, warning: str) -> None:
        self.warnings.append(warning)

    def fail_json(self, **result: Any) -> None:
        raise Exit({"failed": True, **result})

    def exit_json(self, **result: Any) -> None:
        raise Exit({"failed": False, **result})


Ran = Callable[..., "tuple[dict[str, Any], FakeModule, list[Any]]"]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Ran:
    """Run a module on an outcome, or on an error; gives the result, and what the work was given."""

    def run(module: Any, outcome: Outcome | EpmdError, diff: bool = False, **params: Any) -> Any:
        made: list[FakeModule] = []
        given: list[Any] = []

        def make(argument_spec: dict[str, dict[str, Any]], **_more: Any) -> FakeModule:
            defaults = {name: spec.get("default") for name, spec in argument_spec.items()}
            made.append(FakeModule({**defaults, **params}, diff))
            return made[0]

        def work(*arguments: Any) -> Outcome:
            given.extend(arguments)
            if isinstance(outcome, EpmdError):
                raise outcome
            return outcome

        monkeypatch.setattr(module, "AnsibleModule", make)
        monkeypatch.setattr(module, "ensure", work)
        with pytest.raises(Exit) as ended:
            module.main()
        return ended.value.args[0], made[0], given

    return run


RESULT = {"failed": False, "changed": True, "msg": "done", "nodes": [NODE], "daemons": [DAEMON], "missing": ["wim"]}


def test_the_outcome_is_the_result(ran: Ran) -> None:
    result, module, given = ran(epmd_register, OUTCOME, port=4711)
    assert result == RESULT
    assert module.warnings == ["hm"]
    assert given == [Options([], port=4711), Mode.PREDICT]


def test_a_diff_is_there_where_it_was_asked_for(ran: Ran) -> None:
    result, _module, given = ran(epmd_register, OUTCOME, diff=True, name=["vic"])
    assert result == {**RESULT, "diff": OUTCOME.diff}
    assert given[0] == Options(["vic"])


def test_an_outcome_that_failed_fails_with_all_that_was_seen_and_the_reason(ran: Ran) -> None:
    assert ran(epmd_register, FAILED)[0] == {**RESULT, "failed": True, "reason": "conflict"}


def test_an_error_is_a_failure_without_nodes(ran: Ran) -> None:
    result, _module, _given = ran(epmd_register, PsutilMissing("psutil is missing"))
    assert result == {
        "failed": True,
        "msg": "psutil is missing",
        "reason": "psutil_missing",
        "nodes": [],
        "daemons": [],
        "missing": [],
    }


@pytest.mark.parametrize("outcome", [OUTCOME, FAILED])
def test_facts_are_all_that_is_known_and_nothing_of_changes(ran: Ran, outcome: Outcome) -> None:
    """A node that epmd_register would fail for is a fact like any other."""
    result, module, given = ran(epmd_facts, outcome, epmd_port=4370)
    facts = {"daemons": [{"port": 4369}], "nodes": [{"name": "vic@host"}]}
    assert result == {"failed": False, "msg": "done", "ansible_facts": {"epmd": facts}}
    assert module.warnings == ["hm"]
    assert given == [Options([], epmd_port=4370, timeout=10), Mode.DIAGNOSE]


def test_where_psutil_is_needed_and_missing_there_are_no_facts(ran: Ran) -> None:
    result = ran(epmd_facts, PsutilMissing("psutil is missing"))[0]
    assert result == {"failed": True, "msg": "psutil is missing", "reason": "psutil_missing"}
