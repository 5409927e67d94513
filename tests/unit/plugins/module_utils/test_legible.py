# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a terminal is given of names and command lines, and what it is not."""

from __future__ import annotations

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils import _legible, _limits


@pytest.mark.parametrize(
    ("first", "last"),
    [("\x00", "\x1f"), ("\x7f", "\x9f"), ("\u2028", "\u202e"), ("\u2066", "\u2069"), ("\ud800", "\udfff")],
)
def test_no_control_character_gets_through_and_their_neighbours_do(first: str, last: str) -> None:
    assert _legible.legible(f"{first}{last}") == "??"
    for neighbour in (chr(ord(first) - 1) if ord(first) else "a", chr(ord(last) + 1)):
        assert _legible.legible(neighbour) == neighbour


def test_a_text_is_no_longer_than_the_limit() -> None:
    assert _legible.legible("x" * 10, 10) == "x" * 10
    assert _legible.legible("x" * 11, 10) == "x" * 7 + "..."
    assert _legible.legible("x" * 12, 11) == "x" * 8 + "..."
    assert _legible.legible("x" * 5000) == "x" * (_limits.MAX_SENTENCE - 3) + "..."


def test_every_text_of_a_result_is_legible_and_all_else_is_as_it_was() -> None:
    value = [{"vic\x1b": ["a\nb", 4369, None, True]}, "\x07", 1.5]
    assert _legible.all_legible(value) == [{"vic?": ["a?b", 4369, None, True]}, "?", 1.5]
