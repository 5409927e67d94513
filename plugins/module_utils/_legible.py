# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text from outside, made safe to show: one line, without control characters. Pure, and private to the collection.

Standard: ECMA-48, whose control characters move cursors and set titles; of Unicode the line separators, the twelve
bidirectional controls (UAX #9), which turn a line around, and what is not seen at all, so that another name looks like
the real one (Default_Ignorable_Code_Point in DerivedCoreProperties.txt). Any user of a host can put them into the name
of a node or into a command line.
"""

from __future__ import annotations

import re
from typing import Any

from ._limits import MAX_SENTENCE

_CONTROLS = "\x00-\x1f\x7f-\x9f\u2028-\u202e\ud800-\udfff"
_UNSEEN = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)


def legible(text: str, limit: int = MAX_SENTENCE) -> str:
    """The text in one line, with `?` for each unsafe character, and no longer than the limit."""
    line = text[: limit + 1]  # pragma: no mutate: the last line cuts it to the limit
    if not (line.isascii() and line.isprintable()):
        line = re.sub(f"[{_CONTROLS}{_UNSEEN}]", "?", line)
    return line if len(line) <= limit else line[: limit - 3] + "..."


def all_legible(value: Any) -> Any:
    """The same value with every text in it made legible, keys too: Ansible shows a result as it is."""
    if isinstance(value, str):
        return legible(value)
    if isinstance(value, list):
        return [all_legible(item) for item in value]
    if isinstance(value, dict):
        return {all_legible(key): all_legible(item) for key, item in value.items()}
    return value
