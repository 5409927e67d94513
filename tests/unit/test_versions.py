# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The versions of ansible-core and Python that are tested stand in several files, which have to agree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
CORE = re.compile(r"\b2\.(?:1[7-9]|[2-9][0-9])\.[0-9]+\b")
PYTHON = re.compile(r"(?<![0-9.])3\.[0-9]{1,2}(?![0-9.])")


def lines(path: str, words: str) -> str:
    """The lines of a file that contain these words."""
    found = [line for line in (CHECKOUT / path).read_text(encoding="utf-8").splitlines() if words in line]
    assert found, f"{path} has no line with {words}"
    return "\n".join(found)


CORES = set(CORE.findall(lines("Makefile", "/sanity ")))
PYTHONS = set(PYTHON.findall(lines("Makefile", "/unit ")))


@pytest.mark.parametrize(
    ("path", "words"),
    [(".github/workflows/ci.yml", "core: ["), (".github/workflows/ci.yml", ""), ("noxfile.py", "CORES")],
)
def test_every_ansible_core_is_tested_everywhere(path: str, words: str) -> None:
    assert set(CORE.findall(lines(path, words))) == CORES


@pytest.mark.parametrize("path", ["tests/toolchain/requirements.txt", "tests/toolchain/integration"])
def test_no_other_ansible_core_is_used(path: str) -> None:
    assert set(CORE.findall(lines(path, "ansible" if path.endswith(".txt") else ""))) <= CORES


def test_the_oldest_ansible_core_is_the_promised_one() -> None:
    (promised,) = re.findall(r">=([0-9.]+)", lines("meta/runtime.yml", "requires_ansible"))
    assert promised.rpartition(".")[0] == min(CORES, key=lambda core: int(core.split(".")[1])).rpartition(".")[0]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("Makefile", "BEAMOPS_PYTHONS"),
        (".github/workflows/ci.yml", "python: ["),
        ("tests/toolchain/ansible_test", "toolchain/pythons"),
    ],
)
def test_every_python_of_a_target_is_tested_everywhere(path: str, words: str) -> None:
    assert set(PYTHON.findall(lines(path, words))) == PYTHONS
