# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much memory a piece of work takes, as the kernel counts it: with libraries, and with what is freed again."""

from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

HOSTILE_MEBIBYTES = 64
"""The most that a hostile peer may cost."""


@contextmanager
def grows_by_less_than(mebibytes: int) -> Iterator[None]:
    """Fail if this process gets larger than by this much, at any moment on the way (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _kibibytes("VmRSS")
    yield
    grown = (_kibibytes("VmHWM") - before) >> 10
    assert grown < mebibytes, f"it took {grown} MiB"


def _kibibytes(field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"), re.MULTILINE)
    assert found
    return int(found.group(1))
