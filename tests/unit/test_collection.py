# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Ansible asks of a collection and no tool of ours checks: its folders, and what its action group holds."""

from __future__ import annotations

from pathlib import Path

import yaml

CHECKOUT = Path(__file__).parents[2]


def test_plugins_has_only_folders_that_ansible_knows_and_python_in_them() -> None:
    files = [path.relative_to(CHECKOUT / "plugins") for path in (CHECKOUT / "plugins").rglob("*") if path.is_file()]
    assert {path.parts[0] for path in files} == {"doc_fragments", "module_utils", "modules"}
    assert {path.suffix for path in files if "__pycache__" not in path.parts} == {".py"}


def test_the_action_group_has_every_module() -> None:
    runtime = yaml.safe_load((CHECKOUT / "meta" / "runtime.yml").read_text(encoding="utf-8"))
    modules = sorted(path.stem for path in (CHECKOUT / "plugins" / "modules").glob("*.py"))
    assert runtime["action_groups"] == {"epmd": modules}
