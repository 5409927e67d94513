# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a process says of itself is read only where it is as short as that of an honest one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psutil
import pytest

from ansible_collections.beamops.epmd.plugins.module_utils import _limits, _processes

SAID = ["--", "-home", "/home/of/vic", "-sname", "vic"]


@contextmanager
def running(arguments: list[str], environment: Mapping[str, str]) -> Iterator[psutil.Process]:
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()", *arguments],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout
            process.stdout.readline()
            yield psutil.Process(process.pid)
        finally:
            process.kill()


@pytest.mark.parametrize(("count", "name"), [(0, "vic"), (_limits.MAX_COMMAND_LINE // 2, None)])
def test_a_command_line_that_no_honest_node_has_says_nothing(count: int, name: str | None) -> None:
    with running([*SAID, *["-"] * count], {"HOME": "/home"}) as process:
        said = _processes._read(process).said
        assert (said.name, said.home) == (name, "/home/of/vic" if name else "/home")
        shown = _processes.describe(process.pid)
        assert len(shown) < _limits.MAX_SHOWN_COMMAND + 100
        assert ("vic" in shown) == bool(name)


@pytest.mark.parametrize(("count", "port"), [(1, 4711), (12, None)])
def test_an_environment_that_no_honest_node_has_says_nothing(count: int, port: int | None) -> None:
    environment = {"ERL_EPMD_PORT": "4711", **{f"X{number}": "x" * 100_000 for number in range(count)}}
    with running(SAID, environment) as process:
        said = _processes._read(process).said
        assert (said.name, said.epmd_port) == ("vic", port)
