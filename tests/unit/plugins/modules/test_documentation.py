# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of the modules agrees with the options that they take and with what they return.

For `module_utils/_errors.py`, too: it has a documented reason for each error. The attributes of the modules, from
`doc_fragments/_attributes.py`, are checked by ansible-test.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from ansible_collections.beamops.epmd.plugins.module_utils import _errors
from ansible_collections.beamops.epmd.plugins.module_utils._host import vms
from ansible_collections.beamops.epmd.plugins.module_utils._options import Options
from ansible_collections.beamops.epmd.plugins.module_utils._steps import diagnose, handover, own_unit, report
from ansible_collections.beamops.epmd.plugins.module_utils._steps.records import (
    Diagnosis,
    Epmd,
    EpmdKey,
    Finding,
    Foreign,
    Observation,
)
from ansible_collections.beamops.epmd.plugins.module_utils._sweep import ask
from ansible_collections.beamops.epmd.plugins.module_utils._sweep.hosts import Target
from ansible_collections.beamops.epmd.plugins.module_utils._wire import epmd_client
from ansible_collections.beamops.epmd.plugins.module_utils._wire.epmd_client import Daemon, State, Table
from ansible_collections.beamops.epmd.plugins.modules import (
    epmd_facts,
    epmd_register,
    epmd_restart,
    epmd_scratch,
    epmd_sweep,
)

MODULES = {
    "epmd_register": epmd_register,
    "epmd_facts": epmd_facts,
    "epmd_restart": epmd_restart,
    "epmd_scratch": epmd_scratch,
    "epmd_sweep": epmd_sweep,
}
DOCUMENTED: dict[str, dict[str, Any]] = {name: yaml.safe_load(module.DOCUMENTATION) for name, module in MODULES.items()}
RETURNED: dict[str, dict[str, Any]] = {name: yaml.safe_load(module.RETURN) for name, module in MODULES.items()}
REGISTER, FACTS = RETURNED["epmd_register"], RETURNED["epmd_facts"]["ansible_facts"]["contains"]["epmd"]["contains"]
TASKS = [task for module in MODULES.values() for task in yaml.safe_load(module.EXAMPLES)]

TYPES = {"str": str, "int": int, "bool": bool, "list": list, "dict": dict, "float": float}

EVERY_MODULE = pytest.mark.parametrize("name", MODULES)
EVERY_OPTION = pytest.mark.parametrize(
    ("name", "option"), [(name, option) for name in MODULES for option in DOCUMENTED[name]["options"]]
)


class Stopped(Exception):
    """The module has shown which options it takes."""


@pytest.fixture
def taken(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The arguments that `main` of this module gives to AnsibleModule."""
    found: dict[str, Any] = {}

    def stop(**arguments: Any) -> None:
        found.update(arguments)
        raise Stopped

    monkeypatch.setattr(MODULES[name], "AnsibleModule", stop)
    with pytest.raises(Stopped):
        MODULES[name].main()
    return found


def returned(values: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, value in values.items():
        yield f"{path}.{name}", value
        yield from returned(value.get("contains", {}), f"{path}.{name}")


EVERY_VALUE = pytest.mark.parametrize(
    "value", [pytest.param(value, id=path) for name in MODULES for path, value in returned(RETURNED[name], name)]
)


def is_of(value: Any, kind: str) -> bool:
    """Whether a value is exactly of this documented type: a bool is no int."""
    return value.__class__ is TYPES[kind]


def described(value: dict[str, Any]) -> str:
    return " ".join(value["description"])


@EVERY_MODULE
def test_the_documented_options_are_those_that_are_taken(name: str, taken: dict[str, Any]) -> None:
    assert list(DOCUMENTED[name]["options"]) == list(taken["argument_spec"])
    own = {
        "epmd_restart": {"unit", "state", "allow_lost"},
        "epmd_scratch": {"state", "like_nodes", "erl", "lifetime"},
        "epmd_sweep": {"hosts", "at_once"},
    }
    assert set(taken["argument_spec"]) - own.get(name, set()) <= set(Options._fields)
    assert name != "epmd_register" or set(taken["argument_spec"]) == set(Options._fields)


@EVERY_OPTION
def test_an_option_is_documented_with_its_type_and_default(name: str, option: str, taken: dict[str, Any]) -> None:
    documented, spec = DOCUMENTED[name]["options"][option], taken["argument_spec"][option]
    for key in ("type", "elements", "default", "required", "choices"):
        assert documented.get(key) == spec.get(key)
    assert documented["description"]


def test_the_action_group_documents_the_options_that_all_modules_take() -> None:
    common = set.intersection(*(set(documentation["options"]) for documentation in DOCUMENTED.values()))
    assert common == {"epmd_port", "timeout"}
    for option in common:
        first, *others = (documentation["options"][option] for documentation in DOCUMENTED.values())
        for other in others:
            assert (first["type"], first.get("default")) == (other["type"], other.get("default"))


@pytest.mark.parametrize("name", ["epmd_register"])
def test_only_the_cookie_is_kept_out_of_the_log(taken: dict[str, Any]) -> None:
    hidden = {option for option, spec in taken["argument_spec"].items() if spec.get("no_log")}
    assert hidden == {"cookie"}


@pytest.mark.parametrize("name", ["epmd_register"])
def test_the_cookie_comes_from_one_place_only(taken: dict[str, Any]) -> None:
    assert ("cookie", "cookie_file") in taken["mutually_exclusive"]


@pytest.mark.parametrize("name", ["epmd_register"])
def test_an_option_that_requires_another_is_documented_so(taken: dict[str, Any]) -> None:
    assert taken["required_by"] == {"port": ["name"], "tls_keyfile": ["tls_certfile"]}
    for option, (required,) in taken["required_by"].items():
        text = described(DOCUMENTED["epmd_register"]["options"][option])
        assert re.search(rf"O\({required}\), which is required then\.", text)


@EVERY_MODULE
def test_check_mode_is_supported(taken: dict[str, Any]) -> None:
    assert taken["supports_check_mode"] is True


@EVERY_VALUE
def test_every_returned_value_is_documented_with_a_sample_of_its_type(value: dict[str, Any]) -> None:
    assert value["description"]
    assert value["returned"]
    assert is_of(value["sample"], value["type"])


@EVERY_VALUE
def test_a_sample_of_a_list_has_all_that_its_elements_contain(value: dict[str, Any]) -> None:
    if value["type"] == "list":
        parts: dict[str, dict[str, Any]] = value.get("contains", {})
        assert value["sample"]
        for element in value["sample"]:
            assert is_of(element, value["elements"])
            assert (list(element) if parts else []) == list(parts)
            for name, part in parts.items():
                assert is_of(element[name], part["type"])


@pytest.mark.parametrize(("records", "added"), [("nodes", "changed"), ("daemons", "started")])
def test_both_modules_return_the_same_shapes(records: str, added: str) -> None:
    registered, gathered = REGISTER[records]["contains"], FACTS[records]["contains"]
    assert [name for name in registered if name != added] == list(gathered)
    for name, value in gathered.items():
        for key in ("type", "elements", "returned"):
            assert value.get(key) == registered[name].get(key)
        assert list(value.get("contains", [])) == list(registered[name].get("contains", []))


def test_what_is_returned_has_the_documented_keys() -> None:
    daemon = Daemon("127.0.0.1", 4369)
    finding = Finding(Observation(vms.UNKNOWN, daemon, tls=False), Diagnosis(diagnose.MISSING, "epmd has no name vic"))
    foreign = Foreign("a_c_node", 35001, None, None)
    epmd = Epmd(EpmdKey(None, daemon), epmd_client.DOWN, Table(State.UP, {}), foreign=(foreign,))
    outcome = report.outcome([finding], [epmd], [], [], Options([]), is_prediction=False)
    for records in ("nodes", "daemons"):
        (record,) = getattr(outcome, records)
        assert set(record) == set(REGISTER[records]["contains"])
    assert set(outcome.daemons[0]["foreign"][0]) == set(REGISTER["daemons"]["contains"]["foreign"]["contains"])


def test_every_verdict_is_documented() -> None:
    for values in (REGISTER, FACTS):
        text = described(values["nodes"]["contains"]["verdict"])
        for verdict in (
            diagnose.REGISTERED,
            diagnose.MISSING,
            diagnose.BORROWED,
            diagnose.CONFLICT,
            diagnose.EPMD_DOWN,
            diagnose.EPMD_UNRESPONSIVE,
            diagnose.NOT_APPLICABLE,
            diagnose.UNIDENTIFIED,
        ):
            assert f"V({verdict}) " in text


def test_every_state_is_documented() -> None:
    for values in (REGISTER, FACTS):
        text = described(values["daemons"]["contains"]["state"])
        assert all(f"V({state.value}) " in text for state in epmd_client.State)


def test_every_reason_is_documented() -> None:
    of_errors = {
        error.reason
        for error in vars(_errors).values()
        if isinstance(error, type) and issubclass(error, _errors.EpmdError)
    }
    of_verdicts = {diagnose.CONFLICT, diagnose.EPMD_UNRESPONSIVE, diagnose.UNIDENTIFIED}
    documented = set(re.findall(r"(?<!R)V\((\w+)\)", described(REGISTER["reason"])))
    of_errors.remove(diagnose.NOT_APPLICABLE)  # a node that says so is no failure
    assert documented == of_errors | of_verdicts | {"not_running", "several"}


def test_every_reason_of_its_own_that_epmd_restart_has_is_documented() -> None:
    errors = {error for module in (handover, own_unit) for error in vars(module).values() if isinstance(error, type)}
    own = {error.reason for error in errors if issubclass(error, _errors.EpmdError)} - {_errors.EpmdError.reason}
    text = described(RETURNED["epmd_restart"]["reason"])
    assert all(f"V({reason})" in text for reason in own - {"not_permitted"})


def test_what_epmd_restart_returns_has_the_documented_keys() -> None:
    outcome = handover.Outcome(True, "done", "epmd.service", {}, {}, {}, [], {})
    assert [*outcome.result(), "reason"] == ["changed", *RETURNED["epmd_restart"]]


def test_what_epmd_sweep_returns_has_the_documented_keys_and_states() -> None:
    documented = RETURNED["epmd_sweep"]
    target = Target("web1", "192.0.2.1", 4369, ("vic",))
    result = epmd_sweep.report([(target, ask.Answer(ask.UP, {}))])
    assert {*result, "at_once", "reason"} == set(documented)
    assert list(result["hosts"][0]) == list(documented["hosts"]["contains"])
    assert list(result["states"]) == list(documented["states"]["sample"]) == list(ask.STATES)
    text = described(documented["hosts"]["contains"]["state"])
    assert all(f"V({state}) " in text for state in ask.STATES)


@pytest.mark.parametrize("example", TASKS, ids=lambda example: str(example["name"]))
def test_examples_use_documented_options(example: dict[str, Any]) -> None:
    for name, documentation in DOCUMENTED.items():
        assert set(example.get(f"beamops.epmd.{name}") or {}) <= set(documentation["options"])
