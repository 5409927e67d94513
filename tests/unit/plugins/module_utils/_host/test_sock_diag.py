# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's answer about its sockets, and what is not one. Real ones are read in `test_reader.py`."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.beamops.epmd.plugins.module_utils._host import sock_diag
from ansible_collections.beamops.epmd.plugins.module_utils._host.interface import Socket

DONE = struct.pack("=IHHII", 20, 3, 2, 1, 0) + bytes(4)


def message(
    family: int, state: int, ports: tuple[int, int], addresses: tuple[str, str], rest: tuple[int, int]
) -> bytes:
    """A part of an answer as linux/inet_diag.h has it: rest is `idiag_wqueue` and `idiag_inode`; the user is 7."""
    local, remote = (socket.inet_pton(family, address) for address in addresses)
    ends = struct.pack("!HH16s16s12x", *ports, local, remote)
    body = struct.pack("=BBBB", family, state, 0, 0) + ends + struct.pack("=IIIII", 0, 0, rest[0], 7, rest[1])
    return struct.pack("=IHHII", 16 + len(body), 20, 2, 1, 0) + body


LISTENER = message(socket.AF_INET6, sock_diag.LISTEN, (4369, 0), ("::", "::"), (128, 4711))
CLIENT = message(socket.AF_INET, sock_diag.ESTABLISHED, (40000, 4369), ("127.0.0.1", "127.0.0.2"), (99, 4712))
SOCKETS = [
    Socket("::", 4369, "", 0, 7, 128, 4711),
    # 99 bytes wait to be sent: of a connection that is not a backlog.
    Socket("127.0.0.1", 40000, "127.0.0.2", 4369, 7, None, 4712),
]


def test_sockets_are_decoded_until_the_last() -> None:
    assert sock_diag.decode(LISTENER + CLIENT) == (SOCKETS, False)
    assert sock_diag.decode(LISTENER + CLIENT + DONE + b"what follows the end") == (SOCKETS, True)
    assert sock_diag.decode(DONE) == ([], True)
    assert sock_diag.decode(b"") == ([], False)


def test_the_reason_of_the_kernel_is_that_of_the_error() -> None:
    refusal = struct.pack("=IHHIIi", 36, 2, 0, 1, 0, -errno.ENOENT) + bytes(16)
    with pytest.raises(FileNotFoundError) as caught:
        sock_diag.decode(refusal)
    assert (caught.value.errno, caught.value.strerror) == (errno.ENOENT, "No such file or directory")


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        LISTENER[:15],
        LISTENER[:-1],
        struct.pack("=IHHII", 0, 20, 0, 0, 0),
        struct.pack("=IHHII", 16, 2, 0, 0, 0),
        LISTENER[:16] + b"\xff" + LISTENER[17:],
        struct.pack("=IHHIIi", 36, 2, 0, 1, 0, -(1 << 31)) + bytes(16),
    ],
    ids=["a byte", "half a header", "half a socket", "no length", "no reason", "another family", "no such reason"],
)
def test_a_malformed_answer_is_an_error(data: bytes) -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011 # any
        sock_diag.decode(data)
    assert caught.value.strerror


@given(st.binary(max_size=200))
def test_any_answer_ends_in_sockets_or_one_error(data: bytes) -> None:
    with contextlib.suppress(OSError):
        sock_diag.decode(LISTENER + data)


def test_the_check_is_a_real_question() -> None:
    sock_diag.check()
