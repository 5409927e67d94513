# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The artifact for Galaxy, installed into an empty folder and used without a checkout."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.beamops.epmd.tests.integration.support import CHECKOUT, COOKIE, NEWEST, life, lose
from ansible_collections.beamops.epmd.tests.lab import Epmd, Node, Otp, holders

# A collection has to work with these alone:
# https://docs.ansible.com/ansible/latest/community/collection_contributors/collection_requirements.html#other-directories
USED = {"meta", "playbooks", "plugins", "roles"}
READ = {"CHANGELOG.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "COPYING", "LICENSES", "README.md", "REUSE.toml"}
OF_ANSIBLE = {"FILES.json", "MANIFEST.json", "changelogs", "docs", "extensions"}

PLAYBOOK = """\
- name: Look, and recover
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Look
      beamops.epmd.epmd_facts:

    - name: Check that it is lost
      ansible.builtin.assert:
        that: ansible_facts.epmd.nodes | map(attribute='verdict') | list == [verdict]
        fail_msg: "{{ ansible_facts.epmd.nodes | to_json }}"

    - name: Recover
      ansible.builtin.include_role:
        name: beamops.epmd.ensure_registered

    - name: Register what is lost
      beamops.epmd.epmd_register:
        name: vic
      register: again

    - name: Check that nothing is lost any more
      ansible.builtin.assert:
        that:
          - ensure_registered_result is changed
          - again is not changed
          - again.nodes[0].registered

- name: Give both modules a default that they refuse
  hosts: localhost
  gather_facts: false
  module_defaults:
    group/beamops.epmd.epmd:
      timeout: 3601
  tasks:
    - name: Look
      beamops.epmd.epmd_facts:
      register: looked
      failed_when: looked is not failed

    - name: Register
      beamops.epmd.epmd_register:
      register: registered
      failed_when: registered is not failed

    - name: Check that both got it
      ansible.builtin.assert:
        that:
          - "'timeout 3601' in looked.msg"
          - "'timeout 3601' in registered.msg"
"""


def run(directory: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in this folder, with no collections but those in it."""
    settings = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(directory / "collections"),
        "ANSIBLE_LOCAL_TEMP": str(directory / "local"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_REMOTE_TEMP": str(directory / "remote"),
        "PYTHONPATH": "",
    }
    return subprocess.run(
        command, check=False, cwd=directory, env=settings, capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def installed(artifact: Path, tmp_path: Path) -> Path:
    """The path of the collection, installed alone in a folder of collections."""
    done = run(tmp_path, "ansible-galaxy", "collection", "install", "--offline", "-p", "collections", str(artifact))
    assert done.returncode == 0, done.stdout + done.stderr
    return tmp_path / "collections/ansible_collections/beamops/epmd"


def test_what_is_installed_can_be_verified(installed: Path, tmp_path: Path) -> None:
    verify = ("ansible-galaxy", "collection", "verify", "--offline", "-p", "collections", "beamops.epmd")
    done = run(tmp_path, *verify)
    assert done.returncode == 0, done.stdout + done.stderr
    with (installed / "plugins/modules/epmd_facts.py").open("a") as module:
        module.write("# another line\n")
    assert "modified content" in run(tmp_path, *verify).stdout


def test_it_needs_nothing_of_anybody_else(installed: Path) -> None:
    """Only ansible-core with what that needs itself; psutil is imported by one file, where there is no other way."""
    found = set()
    for path in [*installed.glob("plugins/**/*.py"), *installed.glob("extensions/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add((node.module or "").partition(".")[0])
    assert found - sys.stdlib_module_names == {"ansible", "jinja2", "markupsafe", "psutil"}
    assert json.loads((installed / "MANIFEST.json").read_text())["collection_info"]["dependencies"] == {}


def test_it_contains_what_a_user_runs_or_reads(installed: Path) -> None:
    assert {path.name for path in installed.iterdir()} == USED | READ | OF_ANSIBLE
    assert (installed / "LICENSES/GPL-3.0-or-later.txt").read_text() == (CHECKOUT / "COPYING").read_text()


@NEWEST
def test_role_modules_and_playbooks_need_nothing_else(
    otp: Otp, epmd: Epmd, node: Node, installed: Path, tmp_path: Path
) -> None:
    before = life(node)
    lose(epmd, node)
    for path in installed.iterdir():
        if path.name not in USED:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (tmp_path / "site.yml").write_text(PLAYBOOK)
    (tmp_path / "hosts.ini").write_text(
        'localhost ansible_connection=local ansible_python_interpreter="{{ ansible_playbook_python }}"\n'
    )
    verdict = "missing" if otp.release == 23 else "epmd_down"
    play = ["ansible-playbook", "-i", "hosts.ini", "site.yml", "-e", f"verdict={verdict}"]

    hidden = installed.rename(tmp_path / "hidden")
    assert run(tmp_path, *play).returncode != 0, "a collection from elsewhere was used"
    hidden.rename(installed)

    done = run(tmp_path, *play)
    assert done.returncode == 0, done.stdout + done.stderr
    assert COOKIE not in done.stdout + done.stderr
    assert holders(epmd.port) == {node.pid}
    audit = run(tmp_path, "ansible-playbook", "-i", "hosts.ini", "beamops.epmd.audit")
    assert audit.returncode == 0, audit.stdout + audit.stderr
    assert life(node) == before
