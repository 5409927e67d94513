# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can't be meant by an option is refused in one sentence, and what can be is not."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from ansible_collections.beamops.epmd.plugins.module_utils import _options
from ansible_collections.beamops.epmd.plugins.module_utils._errors import EpmdError
from ansible_collections.beamops.epmd.plugins.module_utils._limits import MAX_NAME, MAX_TIMEOUT
from ansible_collections.beamops.epmd.plugins.module_utils._options import Options
from ansible_collections.beamops.epmd.plugins.modules import epmd_register


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": ["a@b@c"]}, "'a@b@c' is not a node name"),
        ({"name": ["vic", "@host"]}, "'@host' is not a node name"),
        ({"name": ["vic@"]}, "'vic@' is not a node name"),
        ({"name": [""]}, "'' is not a node name"),
        ({"name": ["x" * (MAX_NAME + 1)]}, f"name {'x' * 20}... has more than {MAX_NAME} bytes"),
        ({"name": ["é" * (MAX_NAME // 2 + 1)]}, f"more than {MAX_NAME} bytes"),
        ({"name": [], "port": 4711}, "exactly one node, but name has 0"),
        ({"name": ["a", "b"], "port": 4711}, "exactly one node, but name has 2"),
        ({"name": ["a"], "port": 0}, "port 0 is not a TCP port"),
        ({"name": ["a"], "port": 65537}, "port 65537 is not a TCP port"),
        ({"name": ["a"], "port": 65536}, "port 65536 is not a TCP port"),
        ({"name": [], "epmd_port": -1}, "epmd_port -1 is not a TCP port"),
        ({"name": [], "timeout": -1}, "timeout -1 is not a time to wait"),
        ({"name": [], "timeout": 0}, "timeout 0 is not a time to wait"),
        ({"name": [], "timeout": float("nan")}, "timeout nan is not a time to wait"),
        ({"name": [], "timeout": MAX_TIMEOUT + 1}, "is not a time to wait"),
    ],
)
def test_what_can_not_be_meant_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(EpmdError) as refused:
        _options.check(Options(**options))
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "options",
    [
        {"name": []},
        {"name": ["vic", "vic@host"], "timeout": 0.5},
        {"name": ["x" * MAX_NAME], "port": 65535, "epmd_port": 1, "timeout": MAX_TIMEOUT},
        {"name": [], "tls_certfile": "/certificate"},
        {"name": [], "tls_certfile": "/certificate", "tls_keyfile": "/key"},
    ],
)
def test_what_can_be_meant_is_not(options: dict[str, Any]) -> None:
    _options.check(Options(**options))


@pytest.mark.parametrize(
    ("wanted", "name", "meant"),
    [
        ([], "vic@host", True),
        (["vic"], "vic@host", True),
        (["vic@host"], "vic@host", True),
        (["other", "vic"], "vic@host", True),
        (["vic@else"], "vic@host", False),
        (["vi"], "vic@host", False),
        (["é"], "Ã©@host", True),  # as a node in a locale without UTF-8 has it
    ],
)
def test_a_node_is_asked_for_by_either_name(wanted: list[str], name: str, meant: bool) -> None:
    assert Options(wanted).wants(name) is meant


def test_what_is_not_given_is_as_documented() -> None:
    documented = yaml.safe_load(epmd_register.DOCUMENTATION)["options"]
    for name, value in Options([])._asdict().items():
        assert value == documented[name].get("default", [] if name == "name" else None), name


def test_options_are_shown_without_the_cookie() -> None:
    assert "SECRET" not in repr(Options(["vic"], cookie="SECRET"))
