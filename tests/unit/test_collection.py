# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Ansible asks of a collection and no tool of ours checks: its folders, and what its action group holds.

And what we ask of its tests: each file of plugins/ has one, under the same name.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).parents[2]
UNIT = CHECKOUT / "tests" / "unit"
FILES = sorted(path.relative_to(CHECKOUT) for path in (CHECKOUT / "plugins").rglob("*.py") if path.stem != "__init__")


def test_plugins_has_only_folders_that_ansible_knows_and_python_in_them() -> None:
    files = [path.relative_to(CHECKOUT / "plugins") for path in (CHECKOUT / "plugins").rglob("*") if path.is_file()]
    assert {path.parts[0] for path in files} == {
        "action",
        "callback",
        "doc_fragments",
        "filter",
        "module_utils",
        "modules",
        "plugin_utils",
    }
    assert {path.suffix for path in files if "__pycache__" not in path.parts} == {".py"}


def test_the_action_group_has_every_module() -> None:
    runtime = yaml.safe_load((CHECKOUT / "meta" / "runtime.yml").read_text(encoding="utf-8"))
    modules = {path.stem for path in (CHECKOUT / "plugins" / "modules").glob("*.py")}
    # An action plugin has its documentation there, and none of the options that the group is for.
    actions = {path.stem for path in (CHECKOUT / "plugins" / "action").glob("*.py")}
    assert runtime["action_groups"] == {"epmd": sorted(modules - actions)}


@pytest.mark.parametrize("page", [CHECKOUT / "README.md", *sorted((CHECKOUT / "roles").glob("*/README.md"))], ids=str)
def test_the_links_of_a_page_that_galaxy_shows_are_whole_and_lead_to_files(page: Path) -> None:
    """Galaxy shows these pages without the files around them."""
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)\s]+)", text) + re.findall(r"^\[[^]]+\]: (\S+)", text, re.MULTILINE)
    assert links or page.parent != CHECKOUT  # the page of a role may have none
    for link in links:
        assert link.startswith("https://"), link
        _host, found, path = link.partition("/beamops/beamops.epmd/")
        if found and path.startswith(("blob/main/", "main/")):
            assert (CHECKOUT / path.partition("main/")[2]).exists(), link


@pytest.mark.parametrize("file", FILES, ids=str)
def test_every_file_has_a_test_of_its_name_or_another_says_that_it_tests_it(file: Path) -> None:
    if not (UNIT / file.parent / f"test_{file.stem.lstrip('_')}.py").exists():
        name = f"{file.parent.name}/{file.name}"
        # Not parsed: the oldest Python of a target does not know all that tests of a controller may use.
        tests = [
            path for folder in ("unit", "browser", "integration") for path in (UNIT.parent / folder).rglob("test_*.py")
        ]
        tops = [path.read_text(encoding="utf-8").partition('"""')[2].partition('"""')[0] for path in tests]
        assert [top for top in tops if name in top]
