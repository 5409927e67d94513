# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The targets of the fuzzer: what is done with hostile bytes, and what holds whatever they are. Pure.

A target takes any bytes and returns. What it raises is a finding: an assertion of its own, or an error of the
collection that its documentation does not name.

All of fuzzing is in this folder. `fuzz.py` is `make fuzz`: it throws bytes at the targets for long. `corpus/` has the
inputs that are kept, which `corpus.py` reads and writes. The unit tests need no fuzzer: `test_targets.py` replays the
corpus and throws a few bytes at each target, `test_round_trips.py` has the property tests of the decoders, and
`test_limits.py` the worst input that each limit allows.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import struct
import sys
import tempfile
from typing import Any, Callable, ContextManager, Iterator, NamedTuple, Sequence, cast

from ansible_collections.beamops.epmd.plugins.module_utils import _legible, _limits
from ansible_collections.beamops.epmd.plugins.module_utils._deadline import Deadline
from ansible_collections.beamops.epmd.plugins.module_utils._errors import EpmdError, InvalidOption, ProtocolError
from ansible_collections.beamops.epmd.plugins.module_utils._host import (
    certificates,
    command_line,
    cookies,
    epmd_units,
    erlang_terms,
    likeness,
    linux,
    sock_diag,
    systemd,
)
from ansible_collections.beamops.epmd.plugins.module_utils._sweep import ask, healing, hosts, known, state_file
from ansible_collections.beamops.epmd.plugins.module_utils._sweep.resolve import Address, Resolver
from ansible_collections.beamops.epmd.plugins.module_utils._wire import (
    control,
    digest,
    epmd,
    epmd_client,
    erl_epmd,
    etf,
    node,
)
from ansible_collections.beamops.epmd.plugins.module_utils._wire.etf import Atom, Pid, Reference
from ansible_collections.beamops.epmd.plugins.module_utils._wire.handshake import Handshake, State
from ansible_collections.beamops.epmd.tests.fakes import epmd_server, terms
from ansible_collections.beamops.epmd.tests.unit.fuzz import peers
from ansible_collections.beamops.epmd.tests.unit.fuzz.peers import CHALLENGE, NETWORK, result_of

if sys.version_info >= (3, 10):  # as the controllers have it
    from ansible_collections.beamops.epmd.plugins.plugin_utils import _fleet, _metrics

COOKIE = b"MonsterCookie"
SECRET = "Cookie-that-no-input-has"
PROOF = digest.digest(COOKIE, CHALLENGE)
"""The answer to our challenge, which takes the cookie."""

HOST = node.HOST
LENT = f"1F2E3D4C5B6A@{HOST}"
CALLER = Pid(Atom(LENT), 1, 0, 7)
REFERENCE = Reference(Atom(LENT), 7, (1, 0, 0))

SENTENCE = 400
"""No error of a decoder is longer: what it quotes of the bytes is cut."""


class Target(NamedTuple):
    """run: what is done with the bytes. weight: its share of a long run. words: what the fuzzer tries to put in.

    around: what has to be there while it runs, once for many inputs.
    """

    run: Callable[[bytes], None]
    weight: int
    words: Sequence[bytes]
    longest: int = 4096
    around: Callable[[], ContextManager[Any]] = contextlib.nullcontext


@contextlib.contextmanager
def refused(*kinds: type[Exception]) -> Any:
    """The code may refuse the bytes with one of these errors, in one short sentence."""
    sentence = ""
    try:
        yield
    except kinds as error:
        sentence = str(error)
    assert len(sentence) <= SENTENCE
    assert "\n" not in sentence


def one_term(data: bytes) -> None:
    """One term: decoded, encoded again, taken apart, and shown to a person. Decoded as seldom as can be."""
    value = None
    with refused(ProtocolError):
        value = etf.decode(data)
        assert etf.split(b"\x83" + data) == [data]
        repr(value)
        text = etf.text(value)
        assert text is None or isinstance(text, str)
        with contextlib.suppress(TypeError, OverflowError, struct.error):  # no call has such a term
            assert _is_form_of(value, etf.encode(value), data)
        with contextlib.suppress(struct.error):  # a form with a longer port or without an arity, which only goes back
            assert _is_form_of(value, terms.encode(value), data)
    if data[:1] in (b"h", b"i"):
        tuples: list[list[etf.Raw]] = []
        with refused(ProtocolError):
            tuples.append(etf.elements(data))
        assert [tuple(map(etf.decode, parts)) for parts in tuples] == ([] if value is None else [value])
        assert all(data.endswith(b"".join(parts)) for parts in tuples)


def _is_form_of(value: etf.Term, encoded: bytes, data: bytes) -> bool:
    """Whether these bytes are this value, as data are."""
    return encoded == data or etf.decode(encoded) == value


def many_terms(data: bytes) -> None:
    """Terms that follow one another."""
    with refused(ProtocolError):
        raw_terms = etf.split(data)
        assert b"".join(b"\x83" + term for term in raw_terms) == data
        for term in raw_terms:
            etf.decode(term)


def epmd_replies(data: bytes) -> None:
    """Every reply of an epmd: what is understood is what an epmd would have sent for it."""
    with refused(ProtocolError):
        port = epmd.decode_port_reply(data)
        assert data[:2] == b"w\0" if port is not None else data[1] != 0
        assert port is None or data[2:4] == struct.pack(">H", port)
    with refused(ProtocolError):
        descriptors = epmd.decode_dump_reply(data)
        assert len(descriptors) <= min(_limits.MAX_EPMD_NAMES, data.count(b"active name "))
        assert all(1 <= len(name) <= _limits.MAX_EPMD_NAME_BYTES for name in descriptors)
    with refused(ProtocolError):
        names = epmd.decode_names_reply(data)
        assert epmd.decode_names_reply(epmd_server.names_reply(names)) == names
        assert len(names) <= _limits.MAX_EPMD_NAMES
        assert all(0 <= port < 65536 for port in names.values())
        assert all(len(_legible.legible(name).splitlines()) == 1 for name in names)


_MAKERS: list[Callable[[], Handshake]] = [
    lambda: Handshake(HOST, CHALLENGE),
    lambda: Handshake(f"vic@{HOST}", CHALLENGE, dynamic=False),
    lambda: Handshake(f"vic@{HOST}", CHALLENGE, dynamic=False, old=True),
]
_NEXT = {
    State.NAME_SENT: {State.ACCEPTED, State.REFUSED},
    State.ACCEPTED: {State.CHALLENGED},
    State.CHALLENGED: set(),
    State.REPLIED: {State.CONNECTED, State.REFUSED},
    State.CONNECTED: set(),
    State.REFUSED: set(),
}


def handshake_packets(data: bytes) -> None:
    """A sequence of packets, each after its length, and of our own steps (a length of 0xffff)."""
    machine = _MAKERS[data[0] % len(_MAKERS) if data else 0]()
    machine.start()
    position = 1
    while position + 2 <= len(data):
        size = int.from_bytes(data[position : position + 2], "big")
        position += 2
        before = machine.state
        if size == 0xFFFF:
            try:
                sent = machine.reply(COOKIE)
            except RuntimeError:  # our own step, at the wrong time
                assert before is machine.state is not State.CHALLENGED
            else:
                assert (before, machine.state) == (State.CHALLENGED, State.REPLIED)
                assert all(COOKIE not in packet for packet in sent)
            continue
        packet = data[position : position + size]
        position += size
        answers = []
        with refused(ProtocolError):
            answers.append(machine.receive(packet))
        if not answers:
            assert machine.state is before
            continue
        assert machine.state in _NEXT[before]
        assert answers[0] == (b"sfalse" if packet == b"salive" else b"")
        assert (machine.state is State.CONNECTED) == (packet == b"a" + PROOF and before is State.REPLIED)
        assert (machine.state is State.REFUSED) == bool(machine.refusal)
        assert (machine.peer is None) == (machine.state in (State.NAME_SENT, State.ACCEPTED, State.REFUSED)) or (
            before is State.REPLIED
        )
        if machine.peer:
            name = machine.peer.name
            assert name.count("@") == 1
            assert 3 <= len(name) <= _limits.MAX_NAME
            assert not any(ord(character) < 32 for character in name)


def control_message(data: bytes) -> None:
    """A message of a connected node, which may be the answer to our call."""
    with refused(ProtocolError):
        message = control.decode_message(data)
        assert isinstance(message.control[0], int)
    with refused(ProtocolError):
        answer = control.answer(data, CALLER, REFERENCE)
        assert answer is None or data.endswith(answer)


def kernel_answer(data: bytes) -> None:
    """An answer of the kernel about its sockets."""
    with contextlib.suppress(OSError):
        found, _is_last = sock_diag.decode(data)
        assert len(found) <= len(data) // 72
        assert all(0 <= socket_.port < 65536 and (socket_.inode or 0) >= 0 for socket_ in found)


def terms_in_a_file(data: bytes) -> None:
    """A file of terms in text."""
    with refused(EpmdError):
        repr(erlang_terms.consult(data.decode("utf-8", "replace")))


def certificate_options(data: bytes) -> None:
    """The file of -ssl_dist_optfile, and the pairs of -ssl_dist_opt."""
    text = data.decode("utf-8", "replace")
    words = [os.fsdecode(word) for word in data.split(b"\0")]
    with refused(EpmdError):
        _check_files(certificates.choose(certificates.sections(text, "the file"), "the file"))
    _check_files(certificates.choose(certificates.from_arguments(dict(zip(words[::2], words[1::2]))), ""))


def _check_files(files: certificates.Files) -> None:
    assert all(value is None or isinstance(value, str) for value in files)
    assert files.certfile or files == files._replace(certfile=None, keyfile=None, password="")


def command_line_and_environment(data: bytes) -> None:
    """A command line and an environment: the first word says how many words are of the command line."""
    words = [os.fsdecode(word) for word in data.split(b"\0")]
    count = len(words[0])
    arguments, settings = words[1 : 1 + count], words[1 + count :]
    line = command_line.parse(arguments, dict(zip(settings[::2], settings[1::2])))
    assert line.epmd_port is None or 0 < line.epmd_port < 65536
    assert line.listen_range is None or all(0 < port < 65536 for port in line.listen_range)
    place = count // 2
    shown = command_line.shown([*arguments[:place], "-setcookie", SECRET, *arguments[place:]], limit=1 << 20)
    assert SECRET not in shown
    assert shown == _legible.legible(shown, limit=1 << 20)
    assert len(command_line.shown(arguments)) <= _limits.MAX_SHOWN_COMMAND
    shown.encode("utf-8")


def files_of_a_process(data: bytes) -> None:
    """The files cmdline and environ of /proc/PID, which any process may fill as it likes."""
    text = os.fsdecode(data)
    arguments, environment = linux._arguments(text), linux._environment(text)
    assert len(" ".join(arguments)) <= len(text)
    assert all(key and "=" not in key and "\0" not in key + value for key, value in environment.items())
    command_line.parse(arguments, environment)
    assert len(command_line.shown(arguments)) <= _limits.MAX_SHOWN_COMMAND


def units(data: bytes) -> None:
    """The output of systemctl in a container, and the text of a cgroup file."""
    text = data.decode("utf-8", "replace")
    found = epmd_units.parse(text)
    chosen = epmd_units.choose(found, 4369, "127.0.0.1", "127.0.0.1")
    assert chosen is None or (chosen.loaded and chosen.port == 4369)
    assert set(epmd_units.show(text)[4:-2]).isdisjoint({"", "."})
    unit = systemd.unit_in(text)
    assert unit is None or systemd.is_application(unit) in (True, False)


def conversation_with_a_node(data: bytes) -> None:
    """A whole conversation with a node: its challenge, the proof of the cookie, what is asked of it, and the end."""
    wires = NETWORK.hear(data)
    with refused(EpmdError):
        connection = node.NodeConnection.open("127.0.0.1", 1, Deadline(60), Deadline(60))
        try:
            connection.authenticate(COOKIE)
            assert b"a" + PROOF in data
            _QUESTIONS[data[2] % len(_QUESTIONS)](connection, data)
        finally:
            connection.close()
    assert len(wires) <= 2
    for wire in wires:
        assert len(wire.sent) <= 8192 + 64 * len(data)
        assert COOKIE not in wire.sent


def _register(connection: node.NodeConnection, data: bytes) -> None:
    reply = erl_epmd.register(connection, "vic", 4711, inet6=False)
    if reply == erl_epmd.ALREADY_REGISTERED:
        held = erl_epmd.held(connection)
        assert held is None or data.find(held.socket) >= 0
        reply = erl_epmd.register_without(connection, held.socket if held else None, "vic", 4711, inet6=False)
    assert len(f"{reply!r:.80}") <= 80


def _inquire(connection: node.NodeConnection, _data: bytes) -> None:
    assert erl_epmd.registers(connection) in (True, False, None)
    assert erl_epmd.has_fixed_port(connection) in (True, False)
    port = erl_epmd.epmd_port(connection)
    assert port is None or 0 <= port < 100_000
    assert erl_epmd.may_choose_its_name(connection) in (True, False)


_QUESTIONS = [_register, _inquire]


def conversation_with_an_epmd(data: bytes) -> None:
    """A whole conversation with an epmd, of its table and of one name."""
    wires = NETWORK.hear(data)
    found = epmd_client.ask_about(epmd_client.Daemon("127.0.0.1", 4369), "vic", Deadline(60))
    assert len(wires) <= 2
    NETWORK.hear(data)
    epmd_client.ask_descriptors(epmd_client.Daemon("127.0.0.1", 4369), Deadline(60))
    assert len(found.names) <= _limits.MAX_EPMD_NAMES
    assert found.state is not epmd_client.State.DOWN
    assert bool(found.trouble) == (found.state is epmd_client.State.MUTE)
    assert found.state is epmd_client.State.UP or not found.names
    assert len(found.trouble) <= SENTENCE


class _Found:
    """A resolver that knows every host."""

    async def addresses(self, _host: str, port: int) -> list[Address]:
        return [Address(socket.AF_INET, ("192.0.2.1", port)), Address(socket.AF_INET6, ("2001:db8::1", port, 0, 0))]

    def forget(self, _host: str) -> None:
        pass


GRACE = 10.0
_WATCHED = hosts.Target("web1", "web1", 4369, ("vic",))
_STEPS = (0.0, 1.0, GRACE, 2.0 * _limits.FORGOTTEN_SECONDS)
"""Seconds from one answer to the next."""


def watched_epmd(data: bytes) -> None:
    """An epmd that is asked again and again over the network: its answers, and the events that follow from them."""
    wires = NETWORK.hear(data)
    rounds, restarts = data[2:3] or b"\0", data[3:4] > b"\x7f"
    watched, now = known.Known(), 1.8e9
    for number in range(4):
        if number and len(wires) >= len(NETWORK.scripts):  # it has no more to say
            break
        answer = result_of(ask.ask(_WATCHED, cast(Resolver, _Found()), 60))
        assert answer.state in ask.STATES
        assert bool(answer.msg) == (answer.state != ask.UP)
        assert len(answer.msg) <= SENTENCE
        assert answer.state == ask.UP or not answer.names
        for event in watched.see(_WATCHED, answer, now, GRACE):
            assert event["seconds"] >= 0
            assert event["type"] != known.LOST or event["name"] not in answer.names
            assert event["type"] not in (known.BACK, known.MOVED) or event["port"] == answer.names[event["name"]]
        wait = watched.wait(now, GRACE)
        assert wait is None or 0 <= wait <= GRACE
        kept = json.dumps(watched.kept())
        again = known.Known.of(json.loads(kept))
        assert json.dumps(again.kept()) == kept
        watched = again if restarts else watched
        now += _STEPS[rounds[0] >> 2 * number & 3]
    assert all(wire.sent == epmd.NAMES_REQ for wire in wires)


class _File:
    """A file in memory for as many inputs as are used inside: to make a new one takes longer than to read it."""

    def __init__(self) -> None:
        self.path = ""

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Make it."""
        with tempfile.NamedTemporaryFile(dir="/dev/shm" if os.path.isdir("/dev/shm") else None, buffering=0) as file:
            self.path, self._descriptor = file.name, file.fileno()
            yield

    def write(self, data: bytes) -> str:
        """Give it this content, and return its path."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, data, 0)
        return self.path


_FILE = _File()


def kept_state(data: bytes) -> None:
    """The state file of a watch, which somebody may have edited, and an answer after it."""
    with refused(EpmdError):
        kept = state_file.read(_FILE.write(data))
        assert kept is not None
        grants = healing.Healing(1, 1, 60)
        watched = [known.Known.of(each) for each in kept["epmds"].values()] if isinstance(kept["epmds"], dict) else []
        grants.restore(kept["healing"])
        for each in watched:
            events = each.see(_WATCHED, ask.Answer(ask.UP, {}), 1.8e9, GRACE)
            for event in events:
                event["node"] = "unknown"
            grants.judge("web1", events, True, 1.8e9)
            json.dumps(each.kept())
        json.dumps(grants.kept())


def cookie_file(data: bytes) -> None:
    """A cookie file. Whatever it holds, no error shows it."""
    path = _FILE.write(data)
    cookie, complaint = b"", ""
    try:
        cookie = cookies._read(path, owner=None)
    except EpmdError as error:
        complaint = str(error)
    if complaint:
        assert complaint.startswith(f"the cookie file {path} holds no cookie")
        assert len(complaint) <= len(path) + SENTENCE
    else:
        assert 0 < len(cookie) <= _limits.MAX_COOKIE_FILE
        assert data.startswith(cookie)
        assert set(data[len(cookie) :]) <= set(b"\r\n ")


def scratch_node(data: bytes) -> None:
    """What a scratch node takes over from a command line and an environment: nothing that makes it another node."""
    first, _end, second = data.partition(b"\0\0")
    arguments = [os.fsdecode(word) for word in first.split(b"\0")]
    theirs = linux._environment(os.fsdecode(second))
    wanted = likeness.Wanted("rehearse@web1", 4370, "mark", 60, bool(len(data) & 1), inet6=bool(len(data) & 2))
    words, own = (likeness.flags(each, wanted, "start_clean") for each in (arguments, []))
    end = own.index("-nocookie" if wanted.loads_cookie else "-eval")
    assert (words[:end], words[end - len(own) :]) == (own[:end], own[end:])
    assert {flag for flag, _values in command_line.flags_of(words[end : end - len(own)])} <= _TAKEN_OVER
    line = command_line.parse(["beam.smp", *words], {})
    assert line.cookie is None
    made = likeness.environment(theirs, wanted)
    assert {key: value for key, value in made.items() if key.startswith("ERL_EPMD_")} == likeness.epmd_environment(
        wanted
    )
    assert not any(re.match("RELEASE_|ERL_[AZ]?FLAGS$|NOTIFY_SOCKET$", key) for key in made)
    for directory in likeness.boot_directories(arguments, likeness.root_of(arguments, "/usr/lib/erlang/erts-1/bin")):
        assert isinstance(directory, str)


_TAKEN_OVER = {"boot_var", "ssl_dist_optfile", "ssl_dist_opt", "proto_dist"}


def results_of_a_fleet(data: bytes) -> None:
    """What the modules returned on hosts that somebody else may have changed, as a table, JSON and metrics."""
    try:
        results = json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return
    with contextlib.suppress(InvalidOption):
        hosts.audited(results)
    if sys.version_info < (3, 10):
        return
    results = results if isinstance(results, dict) else {"web1": results}
    for playbook in _fleet.KINDS:
        fleet = _fleet.glance(results, playbook)
        lines = [*_fleet.table(fleet), *map(_fleet.line, fleet["hosts"]), fleet["sentence"]]
        assert all(len(line.splitlines()) <= 1 for line in lines)
        for text in (*lines, _metrics.metrics(fleet), json.dumps(fleet, ensure_ascii=False)):
            text.encode()
        assert len(fleet["hosts"]) == len(results)


_LETTERS = [b"@", b"@web1", b"vic", b"\x83", b"\0", b"\n"]
_TAGS = [bytes([tag]) for tag in etf._DECODERS]
_STATUS = [b"sok", b"sok_simultaneous", b"snok", b"snot_allowed", b"salive", b"snamed:"]
_CONVERSATION = [*_STATUS, f"@{HOST}".encode(), LENT.encode(), b"N", b"n", b"a" + PROOF, *_LETTERS]
_ANSWER = [b"p\x83", etf.encode(CALLER), etf.encode(REFERENCE), b"\x83h\x02", b"\x83h\x03a\x02w\0", b"\x83h\x03a\x16"]
_TABLE = [b"name ", b" at port ", b"4369\n", b"active name  <", b"> at port 1, fd = 7\n"]
_TEXT = b"[ ] { } #{ => << >> | , . \" ' $ \\ \\x{ %".split()
_FLAGS = b"""-sname -name -setcookie --cookie -epmd_port -kernel inet_dist_listen_min inet_dist_listen_max -proto_dist
    inet6_tls -ssl_dist_optfile -ssl_dist_opt -extra -- -hidden -dist_listen false 4369 ERL_EPMD_PORT RELEASE_COOKIE
    RELEASE_NODE HOME""".split()
_UNITS = b"""Id=epmd.service Id=epmd.socket LoadState=loaded LoadState=masked Listen= :4369 (Stream) ExecStart= -port
    Environment=ERL_EPMD_PORT= 4369 0::/ 1:name=systemd:/ .service""".split()

_JSON = b"""{ } [ ] , : \" null true false 1 -1 1e999 NaN \\ud800 \\n""".split()
_STATE = b"""version epmds healing names gone told seen down down_told ill granted open called vic""".split()
_RESULT = b"""nodes daemons name verdict registered port addresses state names namespace msg failed changed unreachable
    rows looked tolerated at ansible_facts epmd missing rc module_stderr module_stdout reason psutil_missing hosts host
    unit pid user in_application_unit up lost epmd_port version""".split()

TARGETS = {
    "etf": Target(one_term, 4, [*_TAGS, *_LETTERS]),
    "etf_split": Target(many_terms, 2, [*_TAGS, *_LETTERS]),
    "epmd": Target(epmd_replies, 2, [*_TABLE, b"w\0", b"v\0", b"y\0", b"\0\1n", b"z", b"x", *_LETTERS]),
    "handshake": Target(handshake_packets, 3, [b"\xff\xff", b"\0\3", b"\0\x11", *_CONVERSATION]),
    "control": Target(control_message, 3, [*_ANSWER, *_TAGS]),
    "sock_diag": Target(kernel_answer, 1, [struct.pack("=IHHII", 72, 20, 2, 1, 0), b"\2\x0a", b"\x0a\x0a"]),
    "erlang_terms": Target(terms_in_a_file, 2, [*_TEXT, b"16#ff", b"1.5e3", b"/utf8"]),
    "certificates": Target(
        certificate_options,
        1,
        [*_TEXT, b"client", b"server", b"certfile", b"keyfile", b"certs_keys", b"client_certfile\0"],
    ),
    "command_line": Target(command_line_and_environment, 1, [*_FLAGS, b"\0"]),
    "proc": Target(files_of_a_process, 1, [*_FLAGS, b"\0", b"\0\0", b" ", b"="]),
    "units": Target(units, 1, [*_UNITS, b"\n", b"\n\n", b" "]),
    "scratch_node": Target(scratch_node, 1, [*_FLAGS, b"-boot_var", b"-boot", b"-root", b"ERL_FLAGS=", b"\0", b"\0\0"]),
    "node": Target(
        conversation_with_a_node,
        3,
        [*_CONVERSATION, *_ANSWER, b"\0\0\0\0", peers.NEXT, b"\0\0\0\x50", b"\0\x11"],
        around=peers.in_place,
    ),
    "table": Target(conversation_with_an_epmd, 1, [*_TABLE, peers.NEXT, b"w\0"], around=peers.in_place),
    "watch": Target(watched_epmd, 1, [*_TABLE, peers.NEXT, b"name vic at port 1\n"], around=peers.in_place),
    "state_file": Target(kept_state, 1, [*_JSON, *_STATE], around=_FILE.in_place),
    "cookie_file": Target(cookie_file, 1, [b"\r", b"\n", b" ", b"\0"], longest=8192, around=_FILE.in_place),
    "fleet": Target(results_of_a_fleet, 2, [*_JSON, *_RESULT]),
}
