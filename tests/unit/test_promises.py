# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must always hold (tests/promises.yml): each promise has tests that exist, and its place in the documentation.

How many cases of them passed is written there by `make test-all`: see tests/toolchain/promises.py.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from ansible_collections.beamops.epmd.tests.toolchain.record import recorded

CHECKOUT = Path(__file__).parents[2]
PROMISES = yaml.safe_load((CHECKOUT / "tests" / "promises.yml").read_text(encoding="utf-8"))
PAGES = CHECKOUT / "docs" / "docsite" / "rst"

# What a user reads first of that which replaces an epmd.
FIRST = {
    "playbooks/restart_epmd.yml": r"^# (.*)",
    "plugins/modules/epmd_restart.py": r"^short_description: (.*)",
    "roles/epmd_service/meta/argument_specs.yml": r"short_description: (.*)",
    "roles/epmd_service/README.md": r"^# .*\n\n(.*)",
}


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: str(promise["title"]))
def test_a_promise_has_tests_that_exist_and_a_place_in_the_documentation(promise: dict) -> None:  # type: ignore[type-arg]
    page = (PAGES / "promises.rst").read_text(encoding="utf-8")
    assert f"\n{promise['title']}\n---" in page
    for file, tests in promise["tests"].items():
        source = (CHECKOUT / "tests" / file).read_text(encoding="utf-8")
        for name in tests:
            assert f"def {name}(" in source
            assert f"`{name} <" in page
    runs = (PAGES / "runs.rst").read_text(encoding="utf-8")
    for run, column in promise.get("runs", {}).items():
        _date, rows = recorded(run, runs)
        assert rows
        assert column in rows[0]
        assert f"\n{run}:" in (CHECKOUT / "Makefile").read_text(encoding="utf-8")


@pytest.mark.parametrize("file", FIRST)
def test_what_replaces_an_epmd_says_so_first(file: str) -> None:
    found = re.search(FIRST[file], (CHECKOUT / file).read_text(encoding="utf-8"), re.MULTILINE)
    assert found
    assert found.group(1).startswith(("Replaces the epmd", "Replace the epmd"))
