# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module documents is what it takes and gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from ansible_collections.beamops.epmd.plugins.module_utils import _options
from ansible_collections.beamops.epmd.plugins.module_utils._steps import diagnose
from ansible_collections.beamops.epmd.plugins.modules import epmd_register

DOCUMENTATION: dict[str, Any] = yaml.safe_load(epmd_register.DOCUMENTATION)
EXAMPLES: list[dict[str, Any]] = yaml.safe_load(epmd_register.EXAMPLES)
RETURN: dict[str, Any] = yaml.safe_load(epmd_register.RETURN)

TYPES = {"str": str, "int": int, "bool": bool, "list": list, "dict": dict, "float": float}


class Stopped(Exception):
    """The module has said what it takes."""


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The arguments that `main` gives to AnsibleModule."""
    found: dict[str, Any] = {}

    def stop(**arguments: Any) -> None:
        found.update(arguments)
        raise Stopped

    monkeypatch.setattr(epmd_register, "AnsibleModule", stop)
    with pytest.raises(Stopped):
        epmd_register.main()
    return found


def returned(values: dict[str, Any] = RETURN, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, value in values.items():
        yield path + name, value
        yield from returned(value.get("contains", {}), f"{path}{name}.")


EVERY_VALUE = pytest.mark.parametrize("value", [pytest.param(value, id=path) for path, value in returned()])


def test_the_documented_options_are_those_that_are_taken(taken: dict[str, Any]) -> None:
    assert list(DOCUMENTATION["options"]) == list(taken["argument_spec"])
    assert set(_options.Options._fields) == set(taken["argument_spec"])


@pytest.mark.parametrize("option", DOCUMENTATION["options"])
def test_an_option_is_documented_with_its_type_and_default(taken: dict[str, Any], option: str) -> None:
    documented, spec = DOCUMENTATION["options"][option], taken["argument_spec"][option]
    for key in ("type", "elements", "default", "required", "choices"):
        assert documented.get(key) == spec.get(key)
    assert documented["description"]


def test_only_the_cookie_is_kept_out_of_the_log(taken: dict[str, Any]) -> None:
    hidden = {option for option, spec in taken["argument_spec"].items() if spec.get("no_log")}
    assert hidden == {"cookie"}


def test_the_cookie_comes_from_one_place_only(taken: dict[str, Any]) -> None:
    assert ("cookie", "cookie_file") in taken["mutually_exclusive"]


def test_check_mode_is_supported(taken: dict[str, Any]) -> None:
    assert taken["supports_check_mode"] is True


@EVERY_VALUE
def test_every_returned_value_is_documented_with_a_sample_of_its_type(value: dict[str, Any]) -> None:
    assert value["description"]
    assert value["returned"]
    assert value["sample"].__class__ is TYPES[value["type"]]


@EVERY_VALUE
def test_a_sample_of_a_list_has_all_that_its_elements_contain(value: dict[str, Any]) -> None:
    if value["type"] == "list":
        assert value["elements"] == "dict"
        for element in value["sample"]:
            assert list(element) == list(value["contains"])
            for name, part in value["contains"].items():
                assert element[name].__class__ is TYPES[part["type"]]


def test_every_verdict_is_documented() -> None:
    described = " ".join(RETURN["nodes"]["contains"]["verdict"]["description"])
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
        assert f"V({verdict}) " in described


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: str(example["name"]))
def test_examples_use_documented_options(example: dict[str, Any]) -> None:
    options = example["beamops.epmd.epmd_register"] or {}
    assert set(options) <= set(DOCUMENTATION["options"])
