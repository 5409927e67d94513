# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is tested stands in tests/versions.mk alone, and what is promised and pinned elsewhere is among it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
CORE = re.compile(r"\b2\.(?:1[7-9]|[2-9][0-9])\.[0-9]+\b")
LIST = re.compile(r"^(\w+) = (.+)$", re.MULTILINE)


def text(path: str) -> str:
    return (CHECKOUT / path).read_text(encoding="utf-8")


VERSIONS = {name: words.split() for name, words in LIST.findall(text("tests/versions.mk"))}


def minor(core: str) -> str:
    return core.rpartition(".")[0]


@pytest.mark.parametrize("name", ["cores", "pythons", "otps"])
def test_what_make_test_takes_is_among_all_of_them_with_the_oldest(name: str) -> None:
    few, every = VERSIONS[f"few_{name}"], VERSIONS[name]
    assert set(few) < set(every)
    assert few[0] == every[0]


def test_the_scripts_read_the_same_versions() -> None:
    script = CHECKOUT / "tests" / "toolchain" / "versions"
    plain = subprocess.run([script, "cores"], check=True, stdout=subprocess.PIPE).stdout.decode()
    assert plain.split() == VERSIONS["cores"]
    listed = subprocess.run([script, "--json", "otps"], check=True, stdout=subprocess.PIPE).stdout.decode()
    assert listed == '["' + '", "'.join(VERSIONS["otps"]) + '"]\n'
    assert subprocess.run([script, "nonsense"], check=False, stderr=subprocess.DEVNULL).returncode != 0


def test_no_other_place_lists_ansible_cores() -> None:
    for path in ("Makefile", ".github/workflows/ci.yml", "tests/toolchain/integration", "tests/toolchain/ansible_test"):
        assert len(set(CORE.findall(text(path)))) <= 1, path


def test_the_pinned_ansible_core_is_one_of_them() -> None:
    pinned = re.findall(r"^ansible-core==([0-9.]+)", text("tests/requirements/integration.txt"), re.MULTILINE)
    assert pinned and set(pinned) <= set(VERSIONS["cores"])


def test_the_promised_ansible_core_and_python_are_the_oldest() -> None:
    (promised,) = re.findall(r"requires_ansible: '>=([0-9.]+)'", text("meta/runtime.yml"))
    assert minor(promised) == minor(VERSIONS["cores"][0])
    readme = text("README.md")
    assert f"ansible-core {minor(promised)} or newer" in readme
    assert f"CPython {VERSIONS['pythons'][0]} or newer" in readme


def test_the_releases_of_otp_that_the_documentation_names_are_those_that_are_tested() -> None:
    *first, last = VERSIONS["otps"]
    assert f"OTP {', '.join(first)} and {last}" in text("CONTRIBUTING.md")
