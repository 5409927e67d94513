# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Erlang terms as they stand in configuration files, and malformed ones with the line where they are."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.beamops.epmd.plugins.module_utils._errors import EpmdError
from ansible_collections.beamops.epmd.plugins.module_utils._host import erlang_terms
from ansible_collections.beamops.epmd.plugins.module_utils._host.erlang_terms import Word
from ansible_collections.beamops.epmd.plugins.module_utils._limits import MAX_DIGITS


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", []),
        ("% nothing\n", []),
        ("a.", ["a"]),
        ("a. b.\nc. % end", ["a", "b", "c"]),
        ("'tlsv1.2'.", ["tlsv1.2"]),
        ("'it''s'.", None),
        (r"'it\'s'.", ["it's"]),
        ('"text".', ["text"]),
        ('"a" "b"\n"c".', ["abc"]),
        (r'"\x{e9}\x41\101\n\s\"\\".', ['\u00e9AA\n "\\']),
        (r'"\x{10ffff}\x{110000}".', ["\U0010ffff\U0010ffff"]),
        (r"[$\x,$\^,$\1,$ ,$\s].", [[120, 94, 1, 32, 32]]),
        (r'"\^A\^z\^[".', ["\x01\x1a\x1b"]),
        ("[].", [[]]),
        ("{}.", [()]),
        ("#{}.", [{}]),
        ("[1,-2,+3,16#ff,2#101,1_000,$a,$\\n].", [[1, -2, 3, 255, 5, 1000, 97, 10]]),
        ("[1.5,-2.0e3].", [[1.5, -2000.0]]),
        ("[a|b].", [["a", "b"]]),
        ("[a|[b]].", [["a", "b"]]),
        ('#{certfile => "x", 1 => {a}}.', [{"certfile": "x", 1: ("a",)}]),
        ('<<"x">>.', [b"x"]),
        ('<<"\u00e9"/utf8,1,255>>.', [b"\xc3\xa9\x01\xff"]),
        ("<<>>.", [b""]),
        ("[{server, [{a, true}]},\n {client, []}].", [[("server", [("a", "true")]), ("client", [])]]),
    ],
)
def test_terms(text: str, terms: list[Any] | None) -> None:
    if terms is None:
        with pytest.raises(EpmdError):
            erlang_terms.consult(text)
    else:
        assert erlang_terms.consult(text) == terms


def test_a_number_has_so_many_digits() -> None:
    assert erlang_terms.consult("1" * MAX_DIGITS + ".") == [int("1" * MAX_DIGITS)]
    with pytest.raises(EpmdError, match="is not a valid number"):
        erlang_terms.consult("1" * (MAX_DIGITS + 1) + ".")


def test_only_what_has_a_point_is_a_float() -> None:
    assert [type(number) for number in erlang_terms.consult("1. 1.0. 1_0. 16#f. $a.")] == [int, float, int, int, int]


def test_an_atom_is_not_a_string() -> None:
    atom, text = erlang_terms.consult('a. "a".')
    assert isinstance(atom, Word)
    assert not isinstance(text, Word)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a", ["line 1", "expected '.' before the end"]),
        ("a b.", ["line 1", "expected '.' before 'b'"]),
        ("[a,\n\n b", ["line 3", "expected ']' before the end"]),
        ("{a.", ["expected '}' before '.'"]),
        ("[a", ["line 1", "expected ']'"]),
        ("[a,", ["expected a term before the end"]),
        ("[a,].", ["unexpected ']'"]),
        ("#{a => }.", ["unexpected '}'"]),
        ("#{a}.", ["expected '=>' before '}'"]),
        ("#{[] => 1}.", ["a key that is a list"]),
        ("\n\n&.", ["line 3", "unexpected '&'"]),
        ("99#1.", ["99#1 is not a valid number"]),
        ("fun() -> ok end.", ["expected '.' before '('"]),
        ("Variable.", ["unexpected 'V'"]),
        ('"open', ["unexpected '\"'"]),
        ("<<a>>.", ["expected a string or an integer of a binary before 'a'"]),
        ("<<1", ["expected a string or an integer of a binary before the end"]),
        ("[" * 100, ["more than 64 deep"]),
        ('"a" bcd.', ["expected '.' before 'bcd'"]),
        ('<<"\u00e9"/utf16>>.', ["'utf16' is not understood"]),
        ('<<"\u00e9"/utf9>>.', ["'utf9' is not understood"]),
    ],
)
def test_a_malformed_term_says_its_line(text: str, words: list[str]) -> None:
    with pytest.raises(EpmdError) as caught:
        erlang_terms.consult(text)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(("start", "end"), [("[", "]"), ("{", "}"), ("[a, ", "]"), ("[a | ", "]"), ("#{a => ", "}")])
def test_terms_are_nested_up_to_the_limit(start: str, end: str) -> None:
    erlang_terms.consult(start * 64 + "a" + end * 64 + ".")
    with pytest.raises(EpmdError, match="nested more than 64 deep"):
        erlang_terms.consult(start * 65 + "a" + end * 65 + ".")


def test_a_key_is_one_level_deeper_than_its_map() -> None:
    erlang_terms.consult("#{" + "{" * 64 + "}" * 64 + " => a}.")
    with pytest.raises(EpmdError, match="nested more than 64 deep"):
        erlang_terms.consult("#{" + "{" * 65 + "}" * 65 + " => a}.")


@pytest.mark.parametrize(
    "number", ["1" * 5000, "-" + "1_0" * 2000, "16#" + "f" * 5000, "36#" + "z" * 5000, "1." + "0" * 5000]
)
@pytest.mark.parametrize("place", ["[{}].", "<<{}>>."])
def test_a_number_that_python_would_refuse_is_shown_shortly(number: str, place: str) -> None:
    with pytest.raises(EpmdError) as caught:
        erlang_terms.consult(place.replace("{}", number))
    assert len(str(caught.value)) < 80


@pytest.mark.parametrize(
    "text", ['a "S3cret".', "a 'S3cret'.", '[{password, "S3cret" a', '<<"S3cret">> "S3cret"', '{"S3cret" => 1}.']
)
def test_a_string_is_never_shown_since_it_may_be_a_password(text: str) -> None:
    with pytest.raises(EpmdError) as caught:
        erlang_terms.consult(text)
    assert "S3cret" not in str(caught.value)
    assert "line 1" in str(caught.value)


def test_a_long_word_is_shown_shortly() -> None:
    with pytest.raises(EpmdError, match=f"before '{'b' * 40}'$"):
        erlang_terms.consult("a " + "b" * 10_000)


@given(st.text(alphabet=st.sampled_from("[]{}<>#|,.=>\"'\\$ax1 \n%/e"), max_size=60))
def test_any_text_is_terms_or_one_error(text: str) -> None:
    with contextlib.suppress(EpmdError):
        erlang_terms.consult(text)
