# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a terminal is given of names and command lines, and what it is not."""

from __future__ import annotations

import unicodedata

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils import _legible, _limits

TURNS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
"""The bidirectional classes of the explicit controls (UAX #9); the three marks are letters by class."""


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("\x00", "\x1f"),
        ("\x7f", "\x9f"),
        ("\u061c", "\u061c"),
        ("\u200b", "\u200f"),
        ("\u2028", "\u202e"),
        ("\u2060", "\u206f"),
        ("\ufeff", "\ufeff"),
        ("\U000e0000", "\U000e0fff"),
        ("\ud800", "\udfff"),
    ],
)
def test_no_control_character_gets_through_and_their_neighbours_do(first: str, last: str) -> None:
    assert _legible.legible(f"{first}{last}") == "??"
    for neighbour in (chr(ord(first) - 1) if ord(first) else "a", chr(ord(last) + 1)):
        assert _legible.legible(neighbour) == neighbour


def test_no_character_of_unicode_that_turns_the_line_or_has_no_width_gets_through() -> None:
    turns = [chr(code) for code in range(0x110000) if unicodedata.bidirectional(chr(code)) in TURNS]
    marks = ["\u061c", "\u200e", "\u200f"]
    assert len({*turns, *marks}) == 12
    hidden = ["\u00ad", "\u034f", "\u115f", "\u180b", "\u200b", "\u200c", "\u200d", "\u2060", "\u3164", "\ufe0f"]
    for character in (*turns, *marks, *hidden, "\ufeff", "\uffa0", "\U000e0061"):
        assert _legible.legible(f"vic{character}") == "vic?", ascii(character)


@pytest.mark.parametrize(
    "name", ["vic@web1", "ejabberd-\u00e9\u00f1", "\u6771\u4eac", "\u05d0\u05d1", "a b", "a\u00a0b"]
)
def test_letters_of_every_language_get_through(name: str) -> None:
    assert _legible.legible(name) == name


def test_a_text_is_no_longer_than_the_limit() -> None:
    assert _legible.legible("x" * 10, 10) == "x" * 10
    assert _legible.legible("x" * 11, 10) == "x" * 7 + "..."
    assert _legible.legible("x" * 12, 11) == "x" * 8 + "..."
    assert _legible.legible("x" * 5000) == "x" * (_limits.MAX_SENTENCE - 3) + "..."


def test_every_text_of_a_result_is_legible_and_all_else_is_as_it_was() -> None:
    value = [{"vic\x1b": ["a\nb", 4369, None, True]}, "\x07", 1.5]
    assert _legible.all_legible(value) == [{"vic?": ["a?b", 4369, None, True]}, "?", 1.5]
