# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inputs that are kept: a text file for each target, one literal of Python a line, so that a change can be read."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Iterable

DIRECTORY = Path(__file__).parent / "corpus"
HEAD = """# Inputs for the target {name} of targets.py, made by tests/toolchain/fuzz keep or added by hand.
# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""


def load(name: str, directory: Path = DIRECTORY) -> list[bytes]:
    """The inputs of a target."""
    lines = (directory / f"{name}.txt").read_text(encoding="ascii").splitlines()
    return [ast.literal_eval(line) for line in lines if not line.startswith("#")]


def save(name: str, inputs: Iterable[bytes], directory: Path = DIRECTORY) -> None:
    """Write the inputs of a target, shortest first."""
    lines = [ascii(data) for data in sorted(set(inputs), key=lambda data: (len(data), data))]
    text = "".join(f"{line}\n" for line in lines)
    (directory / f"{name}.txt").write_text(HEAD.format(name=name) + text, encoding="ascii")
