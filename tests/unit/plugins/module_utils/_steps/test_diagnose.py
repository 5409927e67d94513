# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict on every kind of observation.

Tests `_steps/unregistered.py`, too.
"""

from __future__ import annotations

import itertools

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils import _options
from ansible_collections.beamops.epmd.plugins.module_utils._errors import EpmdError, NotPermitted, TimedOut
from ansible_collections.beamops.epmd.plugins.module_utils._host import command_line, vms
from ansible_collections.beamops.epmd.plugins.module_utils._host.owners import Listener
from ansible_collections.beamops.epmd.plugins.module_utils._steps import diagnose, unregistered
from ansible_collections.beamops.epmd.plugins.module_utils._steps.records import Observation
from ansible_collections.beamops.epmd.plugins.module_utils._wire.epmd_client import DOWN, Daemon, State, Table

SILENT = Table(State.MUTE, {}, "no answer within 5 s")
EMPTY = Table(State.UP, {})
OURS = Table(State.UP, {"vic": 25672, "other": 1})
THEIRS = Table(State.UP, {"vic": 25673})
BELOW = Table(State.UP, {"vic": 25671})
CASED = Table(State.UP, {"VIC": 25672, "vic@web1": 25672})
AT = Listener(3, "0.0.0.0", 25672, 128)
EXEMPT = ["-epmd_module", "x"]
OPTIONAL = ["-erl_epmd_port", "4711"]
FIXED = [*OPTIONAL, "-start_epmd", "false"]


def started(observation: Observation, name: str | None, flags: list[str] | None = None) -> Observation:
    """The same node, started with this name and these flags."""
    named = [] if name is None else ["-name", name]
    line = command_line.parse(["beam.smp", "--", *named, *(flags or [])], {})
    return observation._replace(vm=observation.vm._replace(command_line=line))


SEEN = started(
    Observation(
        vms.UNKNOWN,
        Daemon("127.0.0.1", 4369),
        tls=False,
        listener=AT,
        name="vic@web1",
        is_node=True,
        table=OURS,
        holds=True,
    ),
    "vic",
)
"""A healthy node."""

UNHEARD = SEEN._replace(name=None, trouble=TimedOut("no answer within 3 s"), is_node=None)
NAMELESS = started(UNHEARD, None)


@pytest.mark.parametrize(
    ("seen", "verdict", "says"),
    [
        pytest.param(SEEN, "registered", ["vic", "25672"], id="healthy"),
        pytest.param(SEEN._replace(holds=None), "registered", ["vic"], id="nobody can see who holds it"),
        pytest.param(started(SEEN, None), "registered", ["vic"], id="name from the challenge"),
        pytest.param(UNHEARD, "registered", ["vic"], id="name from the command line"),
        pytest.param(started(UNHEARD, "vic@web1"), "registered", ["vic"], id="full name on it"),
        pytest.param(started(SEEN, "vic@web1"), "registered", ["vic"], id="both full"),
        pytest.param(SEEN._replace(holds=False), "borrowed", ["vic", "holder"], id="held by another"),
        pytest.param(SEEN._replace(table=EMPTY), "missing", ["no name vic"], id="empty table"),
        pytest.param(SEEN._replace(table=CASED), "missing", ["no name vic"], id="only names that are alike"),
        pytest.param(SEEN._replace(table=EMPTY, holds=False), "missing", ["vic"], id="not even connected"),
        pytest.param(UNHEARD._replace(table=EMPTY), "missing", ["vic"], id="missing and unheard"),
        pytest.param(SEEN._replace(table=THEIRS), "conflict", ["25673", "25672"], id="other port"),
        pytest.param(SEEN._replace(table=BELOW), "conflict", ["25671", "25672"], id="other port, below"),
        pytest.param(
            SEEN._replace(listener=AT._replace(port=int("25672"))), "registered", ["vic"], id="the same number"
        ),
        pytest.param(SEEN._replace(table=THEIRS, holds=False), "conflict", ["25673"], id="other port and holder"),
        pytest.param(SEEN._replace(table=DOWN), "epmd_down", ["epmd is down"], id="nothing listens"),
        pytest.param(
            SEEN._replace(table=DOWN._replace(trouble="it reset")),
            "epmd_down",
            ["is down: it reset"],
            id="how it is down",
        ),
        pytest.param(SEEN._replace(table=SILENT), "epmd_unresponsive", ["no answer within 5 s"], id="silent"),
        pytest.param(
            started(SEEN._replace(table=SILENT), "vic", OPTIONAL), "epmd_unresponsive", [], id="silent and optional"
        ),
        pytest.param(
            started(SEEN._replace(table=DOWN), "vic", OPTIONAL), "not_applicable", ["needs none"], id="optional, down"
        ),
        pytest.param(started(SEEN._replace(table=EMPTY), "vic", OPTIONAL), "missing", ["vic"], id="optional, up"),
        pytest.param(started(SEEN, "vic", EXEMPT), "registered", ["vic"], id="registered, whatever its flags say"),
        pytest.param(started(SEEN._replace(table=EMPTY), "vic", EXEMPT), "missing", ["vic"], id="doubtful, missing"),
        pytest.param(
            started(UNHEARD._replace(table=EMPTY), "vic", EXEMPT),
            "unidentified",
            ["no node answers"],
            id="doubtful, unheard",
        ),
        pytest.param(
            started(SEEN._replace(table=EMPTY), "vic", FIXED),
            "not_applicable",
            ["no connection to an epmd"],
            id="beside others",
        ),
        pytest.param(
            started(SEEN._replace(table=EMPTY, connected=True), "vic", FIXED), "missing", ["vic"], id="was registered"
        ),
        pytest.param(started(SEEN, "vic", FIXED), "registered", ["vic"], id="needs none, registered"),
        pytest.param(
            SEEN._replace(obstacle=NotPermitted("run with become")), "unidentified", ["run with become"], id="hidden"
        ),
        pytest.param(SEEN._replace(listener=None), "unidentified", ["listens nowhere", "crash dump"], id="no listener"),
        pytest.param(
            started(SEEN._replace(listener=None), "vic", ["-dist_listen", "false"]),
            "not_applicable",
            ["-dist_listen false", "listens nowhere"],
            id="no listener, as it was told",
        ),
        pytest.param(
            started(UNHEARD._replace(is_node=False), "vic", ["-dist_listen", "false"])._replace(table=EMPTY),
            "not_applicable",
            ["-dist_listen false"],
            id="no node at its ports, as it was told",
        ),
        pytest.param(
            NAMELESS._replace(listener=None, trouble=None),
            "not_applicable",
            ["listens nowhere"],
            id="neither name nor port",
        ),
        pytest.param(
            NAMELESS._replace(listener=None, trouble=None, unasked=(5222,)),
            "unidentified",
            ["port 5222", "not asked"],
            id="no listener that was asked",
        ),
        pytest.param(
            NAMELESS._replace(is_node=False, unasked=(5222,)),
            "unidentified",
            ["not asked", "port 5222"],
            id="not all were asked",
        ),
        pytest.param(NAMELESS._replace(is_node=False), "not_applicable", ["without a name"], id="no node at all"),
        pytest.param(NAMELESS._replace(is_node=True), "unidentified", ["no node answers"], id="a node that refuses"),
        pytest.param(
            UNHEARD._replace(is_node=False, table=EMPTY),
            "unidentified",
            ["started as vic"],
            id="named, yet something else",
        ),
        pytest.param(NAMELESS, "unidentified", ["no answer within 3 s"], id="nameless"),
        pytest.param(NAMELESS._replace(table=DOWN), "unidentified", ["no answer within 3 s"], id="nameless, no epmd"),
        pytest.param(started(SEEN, "eve"), "registered", ["vic"], id="renamed after its start"),
        pytest.param(started(SEEN, "vic@web2"), "registered", ["vic"], id="another host than it was told"),
    ],
)
def test_the_verdict_and_what_it_says(seen: Observation, verdict: str, says: list[str]) -> None:
    diagnosis = diagnose.verdict_on(seen)
    assert diagnosis.verdict == verdict
    assert diagnosis.msg
    for part in says:
        assert part in diagnosis.msg


def every_observation() -> list[Observation]:
    parts = itertools.product(
        (None, "vic", "vic@web1", "eve"),
        (None, "vic@web1"),
        (None, True, False),
        (None, AT),
        ([], EXEMPT),
        ([], OPTIONAL),
        (DOWN, SILENT, EMPTY, OURS, THEIRS),
        (None, True, False),
        (None, OSError(2, "No such file or directory")),
    )
    return [
        started(
            SEEN._replace(
                name=name,
                trouble=EpmdError("trouble"),
                is_node=is_node,
                listener=listener,
                table=table,
                holds=holds,
                obstacle=obstacle,
            ),
            said,
            exempt + optional,
        )
        for said, name, is_node, listener, exempt, optional, table, holds, obstacle in parts
    ]


def test_every_observation_has_one_known_verdict_and_every_verdict_an_observation() -> None:
    verdicts = {diagnose.verdict_on(seen).verdict for seen in every_observation()}
    assert verdicts == {
        "registered",
        "missing",
        "borrowed",
        "conflict",
        "epmd_down",
        "epmd_unresponsive",
        "not_applicable",
        "unidentified",
    }


def test_only_what_epmd_does_not_have_is_ever_repaired() -> None:
    assert set(unregistered.REPAIRABLE) == {"missing", "epmd_down"}
    for seen in every_observation():
        diagnosis = diagnose.verdict_on(seen)
        assert (diagnosis.lost is not None) == (diagnosis.verdict in unregistered.REPAIRABLE)
        assert diagnosis.doubtful is None or seen.vm.command_line.without_epmd
        if diagnosis.lost:
            lost = diagnosis.lost
            assert lost.alive == "vic" or seen.vm.command_line.name == "eve"
            assert (lost.observation, lost.listener, lost.why) == (seen, AT, diagnosis.msg)
            assert lost.doubt == seen.vm.command_line.without_epmd
            assert not lost.doubt or diagnosis.doubtful == lost
            assert seen.obstacle is None
            assert seen.table.state is not State.MUTE
            assert lost.alive not in seen.table.names


@pytest.mark.parametrize(
    ("said", "agrees"),
    [
        ("vic", True),
        ("vic@web1", True),
        ("vi", False),
        ("vicx", False),
        ("VIC", False),
        ("vic@", False),
        ("vic@web", False),
        ("vic@web11", False),
        ("web1", False),
        ("", False),
    ],
)
def test_a_name_on_a_command_line_agrees_with_the_full_name(said: str, agrees: bool) -> None:
    assert _options.agrees(said, "vic@web1") is agrees


def test_a_name_of_a_node_in_another_locale_can_be_typed_as_it_looks() -> None:
    assert _options.agrees("n\u00e9", "n\u00e9@web1")
    assert _options.agrees("n\u00e9", "n\u00c3\u00a9@web1")
    assert not _options.agrees("n\u00c3\u00a9", "n\u00e9@web1")


@pytest.mark.parametrize(
    ("said", "name", "alive"),
    [
        ("vic", None, "vic"),
        ("vic@web1", None, "vic"),
        (None, "vic@web1", "vic"),
        ("eve", "vic@web1", "vic"),
        (None, None, None),
    ],
)
def test_epmd_knows_a_node_by_its_name_without_the_host(said: str | None, name: str | None, alive: str | None) -> None:
    assert started(SEEN, said)._replace(name=name).alive == alive


@pytest.mark.parametrize(
    ("seen", "registered"),
    [
        (SEEN, True),
        (SEEN._replace(holds=False), True),
        (SEEN._replace(listener=AT._replace(port=int("25672"))), True),
        (SEEN._replace(table=THEIRS), False),
        (SEEN._replace(table=BELOW), False),
        (SEEN._replace(table=EMPTY), False),
        (SEEN._replace(table=DOWN), False),
        (SEEN._replace(listener=None), False),
        (SEEN._replace(listener=None, table=EMPTY), False),
    ],
)
def test_a_node_is_registered_where_epmd_has_its_name_with_its_port(seen: Observation, registered: bool) -> None:
    assert seen.is_registered is registered
