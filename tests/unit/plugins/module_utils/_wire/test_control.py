# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls to `rex` and messages of a node, to the byte."""

from __future__ import annotations

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._errors import ProtocolError
from ansible_collections.beamops.epmd.plugins.module_utils._wire import control, etf
from ansible_collections.beamops.epmd.plugins.module_utils._wire.control import Message
from ansible_collections.beamops.epmd.plugins.module_utils._wire.etf import (
    Atom,
    ImproperList,
    Pid,
    Raw,
    Reference,
    Term,
)
from ansible_collections.beamops.epmd.tests.fakes import terms
from ansible_collections.beamops.epmd.tests.fakes.rex import message

CALLER = Pid(Atom("a@b"), 1, 0, 7)
REFERENCE = Reference(Atom("a@b"), 7, (1, 0, 0))
CALLER_BYTES = bytes.fromhex("58 7703614062 00000001 00000000 00000007")
REFERENCE_BYTES = bytes.fromhex("5a 0003 7703614062 00000007 00000001 00000000 00000000")
SOMEBODY = Pid(Atom("c@d"), 9, 0, 8)

CALL = (
    b"\x70\x83\x68\x04\x61\x06" + CALLER_BYTES + b"\x77\x00" + b"\x77\x03rex"
    b"\x83\x68\x03\x77\x09$gen_call\x68\x02" + CALLER_BYTES + REFERENCE_BYTES + b"\x68\x05\x77\x04call"
    b"\x77\x08erl_epmd\x77\x0dregister_node\x6c\x00\x00\x00\x02\x6b\x00\x03vic\x62\x00\x00\x64\x48\x6a" + CALLER_BYTES
)


def answer_with(result: Term) -> bytes:
    return message((2, Atom(""), CALLER), (REFERENCE, result))


def test_a_call_is_a_reg_send_to_rex() -> None:
    arguments = [[118, 105, 99], 25672]
    assert control.call(CALLER, REFERENCE, "erl_epmd", "register_node", arguments) == CALL


def test_a_call_without_arguments_has_an_empty_list() -> None:
    sent = control.call(CALLER, REFERENCE, "net_kernel", "epmd_module", [])
    decoded = control.decode_message(sent)
    assert decoded.payload is not None
    assert etf.decode(decoded.payload)[2] == (
        Atom("call"),
        Atom("net_kernel"),
        Atom("epmd_module"),
        [],
        CALLER,
    )


def test_a_term_that_came_goes_back_in_a_call_as_it_came() -> None:
    port = Raw(bytes.fromhex("5977036140620000000565f00d42"))
    assert bytes(port) in control.call(CALLER, REFERENCE, "gen_tcp", "shutdown", [port, Atom("read")])


def test_a_message_is_taken_apart() -> None:
    assert control.decode_message(CALL) == Message(
        (6, CALLER, Atom(""), Atom("rex")), Raw(CALL[CALL.index(b"\x83\x68\x03") + 1 :])
    )
    assert control.decode_message(message((1, CALLER, SOMEBODY))) == Message((1, CALLER, SOMEBODY), None)
    assert control.decode_message(message((2,), b"x")) == Message((2,), Raw(b"\x6d\0\0\0\x01x"))


def test_a_message_that_is_cut_off_is_a_protocol_error_except_between_its_terms() -> None:
    between = CALL.index(b"\x83\x68\x03")
    for end in range(len(CALL)):
        if end == between:
            assert control.decode_message(CALL[:end]).payload is None
        else:
            with pytest.raises(ProtocolError):
                control.decode_message(CALL[:end])
            with pytest.raises(ProtocolError):
                control.answer(CALL[:end], CALLER, REFERENCE)


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x70", id="no term"),
        pytest.param(b"\x83\x44\x00\x68\x01\x61\x01", id="distribution header"),
        pytest.param(b"\x71\x83\x68\x01\x61\x01", id="no pass through"),
        pytest.param(b"\x6f\x83\x68\x01\x61\x01", id="no pass through, below"),
        pytest.param(b"\x70\x68\x01\x61\x01", id="no version"),
        pytest.param(message((2,), 1) + b"\x83\x6a", id="three terms"),
        pytest.param(message(()), id="empty tuple"),
        pytest.param(message([2]), id="no tuple"),
        pytest.param(message(Atom("ok")), id="atom"),
        pytest.param(message((Atom("send"),)), id="operation that is an atom"),
        pytest.param(message((2.0,)), id="operation that is a float"),
        pytest.param(message(ImproperList([2], 1)), id="improper list"),
        pytest.param(message(CALLER), id="pid"),
        pytest.param(message((2,)) + b"\x83\x52\x00", id="atom cache"),
    ],
)
def test_a_malformed_message_is_a_protocol_error(packet: bytes) -> None:
    with pytest.raises(ProtocolError):
        control.decode_message(packet)
    with pytest.raises(ProtocolError):
        control.answer(packet, CALLER, REFERENCE)


def test_the_error_shows_how_a_message_of_another_protocol_starts() -> None:
    with pytest.raises(ProtocolError, match=r"^a message that starts with b'SSH-'$"):
        control.decode_message(b"SSH-2.0")


@pytest.mark.parametrize("result", [Atom("ok"), (Atom("ok"), 4), [], b"", (Atom("badrpc"), Atom("nodedown")), CALLER])
def test_an_answer_is_found_and_kept_as_it_came(result: Term) -> None:
    for operation in [(2, Atom(""), CALLER), (22, SOMEBODY, CALLER)]:
        found = control.answer(message(operation, (REFERENCE, result)), CALLER, REFERENCE)
        assert found == terms.encode(result)
        assert isinstance(found, Raw)


def test_an_answer_may_be_what_this_collection_could_not_encode() -> None:
    port = Raw(bytes.fromhex("5977036140620000000565f00d42"))
    assert control.answer(answer_with(port), CALLER, REFERENCE) == port


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(message((2, Atom(""), SOMEBODY), (REFERENCE, 1)), id="to somebody else"),
        pytest.param(message((2, Atom(""), CALLER._replace(creation=8)), (REFERENCE, 1)), id="to an earlier life"),
        pytest.param(message((2, Atom(""), CALLER._replace(creation=6)), (REFERENCE, 1)), id="to one before that"),
        pytest.param(message((2, Atom(""), CALLER, Atom("t")), (REFERENCE, 1)), id="too long"),
        pytest.param(message((2, Atom(""))), id="too short"),
        pytest.param(message((2, Atom(""), CALLER)), id="without a payload"),
        pytest.param(message((2, Atom(""), CALLER), (REFERENCE._replace(words=(2, 0, 0)), 1)), id="other call"),
        pytest.param(message((2, Atom(""), CALLER), (REFERENCE._replace(words=(0, 0, 0)), 1)), id="earlier call"),
        pytest.param(message((2, Atom(""), CALLER), (REFERENCE,)), id="no pair"),
        pytest.param(message((2, Atom(""), CALLER), (REFERENCE, 1, 2)), id="triple"),
        pytest.param(message((2, Atom(""), CALLER), [REFERENCE, 1]), id="list"),
        pytest.param(message((2, Atom(""), CALLER), Atom("ok")), id="atom"),
        pytest.param(message((6, SOMEBODY, Atom(""), Atom("features_request")), (REFERENCE, 1)), id="to a name"),
        pytest.param(message((1, SOMEBODY, CALLER)), id="link"),
        pytest.param(message((255,), (REFERENCE, 1)), id="unknown operation"),
        pytest.param(message((-1,), (REFERENCE, 1)), id="negative operation"),
    ],
)
def test_any_other_message_is_no_answer(packet: bytes) -> None:
    assert control.answer(packet, CALLER, REFERENCE) is None
