# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever an honest peer sends is decoded as it was meant: terms, tables, answers, files, sockets. By hypothesis."""

from __future__ import annotations

import re
import socket
import struct
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from ansible_collections.beamops.epmd.plugins.module_utils import _legible, _limits
from ansible_collections.beamops.epmd.plugins.module_utils._errors import ProtocolError
from ansible_collections.beamops.epmd.plugins.module_utils._host import (
    certificates,
    command_line,
    erlang_terms,
    sock_diag,
)
from ansible_collections.beamops.epmd.plugins.module_utils._host.erlang_terms import Word
from ansible_collections.beamops.epmd.plugins.module_utils._host.interface import Socket
from ansible_collections.beamops.epmd.plugins.module_utils._wire import control, epmd, etf
from ansible_collections.beamops.epmd.plugins.module_utils._wire.etf import (
    Atom,
    BitString,
    Export,
    Fun,
    ImproperList,
    Map,
    Pid,
    Port,
    Reference,
    Term,
)
from ansible_collections.beamops.epmd.tests.fakes import epmd_server, terms
from ansible_collections.beamops.epmd.tests.fakes.rex import message
from ansible_collections.beamops.epmd.tests.unit.fuzz import targets

U8 = st.integers(0, 0xFF)
U16 = st.integers(0, 0xFFFF)
U32 = st.integers(0, 0xFFFFFFFF)
ATOMS = st.text(max_size=_limits.MAX_NAME).map(Atom)
PIDS = st.builds(Pid, ATOMS, U32, U32, U32)
REFERENCES = st.builds(Reference, ATOMS, U32, st.lists(U32, min_size=1, max_size=5).map(tuple))
LEAVES = st.one_of(
    ATOMS,
    PIDS,
    REFERENCES,
    st.integers(),
    st.builds(
        lambda data, sign: sign * int.from_bytes(data, "big"),
        st.binary(max_size=_limits.MAX_INTEGER_BYTES),
        st.sampled_from([1, -1]),
    ),
    st.floats(allow_nan=False, allow_infinity=False),
    st.binary(max_size=300),
    st.builds(BitString, st.binary(min_size=1, max_size=9), st.integers(1, 7)),
    st.builds(Port, ATOMS, U32, U32),
    st.builds(Export, ATOMS, ATOMS, st.integers(0, 255)),
)


def compounds(parts: st.SearchStrategy[Term]) -> st.SearchStrategy[Term]:
    return st.one_of(
        st.lists(parts, max_size=5),
        st.lists(parts, max_size=5).map(tuple),
        st.builds(ImproperList, st.lists(parts, min_size=1, max_size=3), LEAVES),
        st.builds(Map, st.lists(st.tuples(parts, parts), max_size=3)),
        st.builds(
            Fun, ATOMS, U8, U32, st.binary(min_size=16, max_size=16), U32, U32, PIDS, st.lists(parts, max_size=3)
        ),
    )


TERMS = st.recursive(LEAVES, compounds, max_leaves=12)


OF_CALLS = st.recursive(
    st.one_of(ATOMS, PIDS, REFERENCES, st.integers(-(2**31), 2**31 - 1)),
    lambda parts: st.one_of(st.lists(parts, max_size=5), st.lists(parts, max_size=5).map(tuple)),
    max_leaves=12,
)


@given(TERMS)
def test_a_term_is_decoded_as_a_node_encodes_it(term: Term) -> None:
    value = etf.decode(terms.encode(term))
    assert value == term
    assert type(value) is type(term)


@given(OF_CALLS)
def test_a_term_of_a_call_is_encoded_so_that_a_node_decodes_it(term: Term) -> None:
    data = etf.encode(term)
    assert terms.decode(data) == (term, b"")
    assert etf.decode(data) == term


@given(st.lists(TERMS, max_size=4))
def test_a_tuple_is_taken_apart_into_what_it_was_made_of(items: list[Term]) -> None:
    encoded = [terms.encode(item) for item in items]
    assert etf.elements(terms.encode(tuple(items))) == encoded
    assert etf.split(b"".join(b"\x83" + data for data in encoded)) == encoded


@given(st.integers(_limits.MAX_INTEGER_BYTES + 1, 4 * _limits.MAX_INTEGER_BYTES), st.booleans())
def test_an_integer_that_python_would_not_print_is_refused(size: int, negative: bool) -> None:
    value = 2 ** (8 * size) - 1
    with pytest.raises(ProtocolError, match=f"an integer of {size} bytes"):
        etf.decode(terms.encode(-value if negative else value))


@given(TERMS, st.booleans())
def test_any_result_of_a_call_comes_back_as_it_was_sent(result: Term, with_sender: bool) -> None:
    operation = (22, targets.CALLER, targets.CALLER) if with_sender else (2, Atom(""), targets.CALLER)
    packet = message(operation, (targets.REFERENCE, result))
    assert control.answer(packet, targets.CALLER, targets.REFERENCE) == terms.encode(result)


OTHERS = st.one_of(
    TERMS, st.builds(targets.CALLER._replace, id=U32), st.builds(targets.REFERENCE._replace, creation=U32)
)


@given(st.just(targets.CALLER) | OTHERS, st.just(targets.REFERENCE) | OTHERS, TERMS)
def test_a_reply_to_a_call_that_was_never_made_is_no_answer(to: Term, reference: Term, result: Term) -> None:
    assume((to, reference) != (targets.CALLER, targets.REFERENCE))
    packet = message((2, Atom(""), to), (reference, result))
    assert control.answer(packet, targets.CALLER, targets.REFERENCE) is None


@given(TERMS, st.lists(TERMS, max_size=3))
def test_a_message_that_is_no_reply_is_no_answer(payload: Term, fields: list[Term]) -> None:
    packet = message((2, *fields), payload)
    assert control.answer(packet, targets.CALLER, targets.REFERENCE) is None


NAMES = st.text(st.characters(max_codepoint=0xFF), min_size=1, max_size=_limits.MAX_NAME)
PLAIN_NAMES = NAMES.filter(lambda name: not re.search(r" at port \d{1,5}\n", name + "\n"))


@given(NAMES)
@example("x" * _limits.MAX_NAME)
def test_a_request_about_a_name_has_its_length_and_its_bytes(name: str) -> None:
    request = epmd.encode_port_request(name)
    assert request == struct.pack(">HB", len(request) - 2, 122) + name.encode("latin-1")


@given(U32, st.dictionaries(PLAIN_NAMES, U16, max_size=9))
def test_a_table_is_decoded_as_epmd_sends_it(port: int, names: dict[str, int]) -> None:
    assert epmd.decode_names_reply(epmd_server.names_reply(names, port)) == names


@given(st.dictionaries(PLAIN_NAMES, U16, min_size=1, max_size=9), U16, st.data())
def test_a_name_that_forges_the_line_of_another_hides_none(names: dict[str, int], port: int, data: Any) -> None:
    victim = data.draw(st.sampled_from(sorted(names)))
    forger = f"x at port 1\nname {victim}"
    assume(len(forger) <= _limits.MAX_NAME)
    assume("x" not in set(names) - {victim})  # it would be in the table twice
    for table in ({forger: port, **names}, {**names, forger: port}):
        found = epmd.decode_names_reply(epmd_server.names_reply(table))
        assert found == {"x": 1, **names, victim: found[victim]}
        assert found[victim] in (port, names[victim])


@given(NAMES, U16, st.binary(max_size=9), U8)
@example("x" * _limits.MAX_NAME, 4711, b"", 77)
def test_an_answer_about_a_name_is_decoded_as_epmd_sends_it(name: str, port: int, extra: bytes, node_type: int) -> None:
    assert epmd.decode_port_reply(epmd_server.port_reply(name, port, extra, node_type)) == port


WORDS = st.text(max_size=20)
TEXT_LEAVES = st.one_of(
    WORDS.map(Word),
    WORDS,
    st.binary(max_size=20),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
)
TEXT_TERMS = st.recursive(
    TEXT_LEAVES,
    lambda parts: st.one_of(
        st.lists(parts, max_size=4),
        st.lists(parts, max_size=4).map(tuple),
        st.dictionaries(TEXT_LEAVES, parts, max_size=4),
    ),
    max_leaves=12,
)


def written(term: Any) -> str:
    """A term as `io:format("~tp")` might write it."""
    if isinstance(term, Word):
        return f"'{escaped(term)}'"
    if isinstance(term, str):
        return f'"{escaped(term)}"'
    if isinstance(term, bytes):
        return f"<<{','.join(map(str, term))}>>"
    if isinstance(term, float):
        mantissa, _e, exponent = f"{term:.17e}".partition("e")
        return f"{mantissa}e{int(exponent)}"
    if isinstance(term, list):
        return f"[{', '.join(map(written, term))}]"
    if isinstance(term, tuple):
        return f"{{{','.join(map(written, term))}}}"
    if isinstance(term, dict):
        return f"#{{{','.join(f'{written(key)} => {written(value)}' for key, value in term.items())}}}"
    return str(term)


def escaped(text: str) -> str:
    return re.sub(r"[\\'\"]", r"\\\g<0>", text)


@given(st.lists(TEXT_TERMS, max_size=3))
def test_terms_in_a_file_are_read_as_they_were_written(found: list[Any]) -> None:
    assert erlang_terms.consult("".join(f"{written(term)}.\n% {term!r}\n" for term in found)) == found


@given(st.text(min_size=1), st.sampled_from(["client", "server"]))
def test_the_certificate_of_any_optfile_is_found(path: str, side: str) -> None:
    text = f"[{{other, 1}}, {{{side}, [{{verify, verify_none}}, {{certfile, {written(path)}}}]}}]."
    assert certificates.choose(certificates.sections(text, "x"), "x").certfile == path


@st.composite
def sockets(draw: st.DrawFn) -> Socket:
    """A socket that listens or is connected, as this collection has it."""
    of_a_family = draw(st.sampled_from([st.ip_addresses(v=4), st.ip_addresses(v=6)]))
    addresses = of_a_family.map(lambda address: in_the_words_of_the_kernel(str(address)))
    remote_port = draw(st.one_of(st.just(0), U16))
    return Socket(
        draw(addresses),
        draw(U16),
        draw(addresses) if remote_port else "",
        remote_port,
        draw(U32),
        draw(U32) if not remote_port else None,
        draw(U32),
    )


def in_the_words_of_the_kernel(address: str) -> str:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.inet_ntop(family, socket.inet_pton(family, address))


def from_kernel(found: Socket) -> bytes:
    """`struct inet_diag_msg` in its netlink message, with an attribute behind it; state 10 listens, 1 is connected."""
    family = socket.AF_INET6 if ":" in found.address else socket.AF_INET
    remote = socket.inet_pton(family, found.remote_address) if found.remote_address else b""
    body = bytes([family, 1 if found.remote_port else 10, 0, 0])
    body += struct.pack("!HH", found.port, found.remote_port)
    body += struct.pack("16s16s12x", socket.inet_pton(family, found.address), remote)
    body += struct.pack("=4xIIII", 0, found.backlog or 0, found.uid, found.inode) + b"\5\0\x11\0x"
    return struct.pack("=IHHII", 16 + len(body), 20, 2, 1, 0) + body + bytes(-len(body) % 4)


@given(st.lists(sockets(), max_size=5), st.booleans())
def test_the_sockets_of_the_kernel_are_decoded_as_it_packs_them(packed: list[Socket], last: bool) -> None:
    end = struct.pack("=IHHII", 20, 3, 2, 1, 0) + bytes(4) if last else b""
    assert sock_diag.decode(b"".join(map(from_kernel, packed)) + end) == (packed, last)


@given(st.text(), st.integers(10, 200))
def test_any_text_is_legible_in_one_line(text: str, limit: int) -> None:
    line = _legible.legible(text, limit)
    assert len(line) <= limit
    assert len(line.splitlines()) <= 1
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202e\ud800-\udfff]", line)
    assert _legible.legible(line, limit) == line
    if text.isprintable() and len(text) <= limit:
        assert line == text


ARGUMENTS = st.lists(st.one_of(st.sampled_from(["-setcookie", "--cookie", "-sname", "--", "a b"]), WORDS), max_size=6)


@given(ARGUMENTS, st.none() | st.just("other@web1"), ARGUMENTS)
def test_no_cookie_is_shown_wherever_it_stands(before: list[str], peer: str | None, after: list[str]) -> None:
    given_to = [peer] if peer else []
    line = [*before, "-setcookie", *given_to, targets.SECRET, *after]
    for arguments in (line, ["sh", "-c", " ".join(line)]):
        assert targets.SECRET not in command_line.shown(arguments, limit=1 << 20)
    assert targets.SECRET not in repr(command_line.parse(["beam.smp", *line], {}))
