# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading bytes up to their end, and never past it."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._errors import ProtocolError
from ansible_collections.beamops.epmd.plugins.module_utils._wire.cursor import U8, U16, U32, Cursor

PAIR = struct.Struct(">BH")


def test_reads_follow_one_another() -> None:
    cursor = Cursor(b"\x01\x00\x02\x00\x00\x00\x03\x04\x00\x05abc\x00\x02dethe rest", "it")
    assert cursor.byte() == 1
    assert cursor.number(U16) == 2
    assert cursor.number(U32) == 3
    assert cursor.fields(PAIR) == (4, 5)
    assert cursor.take(3) == b"abc"
    assert cursor.counted(U16) == b"de"
    assert (cursor.position, cursor.left) == (17, 8)
    assert cursor.rest() == b"the rest"
    assert cursor.rest() == b""
    assert cursor.take(0) == b""
    cursor.done()


READS: list[tuple[Callable[[Cursor], object], int]] = [
    (Cursor.byte, 1),
    (lambda cursor: cursor.number(U8), 1),
    (lambda cursor: cursor.number(U32), 4),
    (lambda cursor: cursor.fields(PAIR), 3),
    (lambda cursor: cursor.take(5), 5),
    (lambda cursor: cursor.piece(6, "its piece"), 6),
]


@pytest.mark.parametrize(("read", "size"), READS, ids=lambda value: str(value)[:20])
def test_each_read_needs_all_of_its_bytes(read: Callable[[Cursor], object], size: int) -> None:
    for there in range(size):
        cursor = Cursor(b"xx" + bytes(there), "it", 2)
        with pytest.raises(ProtocolError, match=f"^it is cut off: {size} bytes expected at offset 2, {there} left$"):
            read(cursor)
        assert cursor.left == there
    cursor = Cursor(b"xx" + bytes(size), "it", 2)
    read(cursor)
    assert cursor.left == 0


@pytest.mark.parametrize(("read", "size"), READS, ids=lambda value: str(value)[:20])
def test_a_piece_ends_before_the_bytes_do(read: Callable[[Cursor], object], size: int) -> None:
    piece = Cursor(bytes(100), "it").piece(size - 1, "its piece")
    with pytest.raises(
        ProtocolError, match=f"^its piece is cut off: {size} bytes expected at offset 0, {size - 1} left$"
    ):
        read(piece)


def test_a_piece_is_read_apart_from_what_follows_it() -> None:
    cursor = Cursor(b"\x02ab\x03cde", "it")
    piece = cursor.piece(cursor.byte(), "its piece")
    assert cursor.position == 3
    assert (piece.position, piece.left) == (1, 2)
    assert piece.rest() == b"ab"
    piece.done()
    assert cursor.counted(U8) == b"cde"


def test_a_piece_of_a_piece_stays_within_it() -> None:
    piece = Cursor(bytes(10), "it").piece(4, "its piece")
    inner = piece.piece(3, "a piece of its piece")
    assert inner.rest() == bytes(3)
    with pytest.raises(ProtocolError, match=r"^its piece is cut off: 2 bytes expected at offset 3, 1 left$"):
        piece.piece(2, "another")


def test_a_piece_is_of_the_same_kind_as_its_cursor() -> None:
    class Special(Cursor):
        pass

    assert Special(bytes(3), "it").piece(2, "its piece").__class__ is Special


def test_bytes_that_were_not_read_are_an_error_and_shown_in_part() -> None:
    cursor = Cursor(b"abcdefghijklm", "it")
    piece = cursor.piece(3, "its piece")
    assert piece.byte() == ord("a")
    with pytest.raises(ProtocolError, match=r"^unexpected bytes after its piece: b'bc'$"):
        piece.done()
    assert cursor.byte() == ord("d")
    with pytest.raises(ProtocolError, match=r"^unexpected bytes after it: b'efghijkl'$"):
        cursor.done()
    assert cursor.byte() == ord("e")


@pytest.mark.parametrize("size", [1 << 16, 1 << 32, 1 << 64])
def test_a_huge_size_is_refused_without_memory_for_it(size: int) -> None:
    with pytest.raises(ProtocolError, match=f"^it is cut off: {size} bytes expected at offset 0, 3 left$"):
        Cursor(b"abc", "it").take(size)
