# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module on an outcome of its work, for the tests of what it makes of that.

AnsibleModule is Ansible's own: it takes the parameters as on a target, prints the result and ends the process. The work
itself is tested in `module_utils`.
"""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any, NamedTuple
from unittest import mock

import pytest
from ansible.module_utils import basic

from ansible_collections.beamops.epmd.plugins.module_utils._errors import EpmdError
from ansible_collections.beamops.epmd.plugins.module_utils._host.children import result_of
from ansible_collections.beamops.epmd.plugins.module_utils._steps.report import Outcome

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
    """How a module ended. result: what it printed. given: what was asked of the work."""

    result: dict[str, Any]
    code: int
    given: tuple[Any, ...] | None


def args_of(params: dict[str, Any]) -> Any:
    """Have AnsibleModule take these parameters."""
    try:
        from ansible.module_utils.testing import patch_module_args  # noqa: PLC0415 # since ansible-core 2.18
    except ImportError:
        return mock.patch.object(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": params}).encode())
    return patch_module_args(params)


def ran(module: Any, outcome: tuple[Any, ...] | EpmdError, function: str = "ensure", **params: Any) -> Ran:
    """Run a module in a process of its own, as Ansible does, where the work has this outcome or this error.

    function: the name by which the module calls its work.
    """

    def work() -> Ran:
        called = mock.Mock(side_effect=[outcome])
        printed = io.StringIO()
        with contextlib.ExitStack() as stack:
            stack.enter_context(args_of(params))
            stack.enter_context(mock.patch.object(module, function, called))
            stack.enter_context(contextlib.redirect_stdout(printed))
            ended = stack.enter_context(pytest.raises(SystemExit))
            module.main()
        given = called.call_args[0] if called.call_args else None
        return Ran(json.loads(printed.getvalue()), int(ended.value.code or 0), given)

    return result_of(work, 60)


def shown(found: Ran) -> dict[str, Any]:
    """The result as its reader gets it: without the copy of the parameters, and with warnings as text."""
    result = {key: value for key, value in found.result.items() if key != "invocation"}
    if "warnings" in result:  # records since ansible-core 2.19
        result["warnings"] = [said if isinstance(said, str) else said["event"]["msg"] for said in result["warnings"]]
    return result
