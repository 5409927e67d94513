# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict on every kind of observation."""

from __future__ import annotations

import itertools

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils import _options
from ansible_collections.beamops.epmd.plugins.module_utils._steps import diagnose
from ansible_collections.beamops.epmd.plugins.module_utils._steps.diagnose import Observation
from ansible_collections.beamops.epmd.plugins.module_utils._wire.epmd_client import Table

DOWN = Table(None)
SILENT = Table({}, "no answer within 5 s")
EMPTY = Table({})
OURS = Table({"vic": 25672, "other": 1})
THEIRS = Table({"vic": 25673})
BELOW = Table({"vic": 25671})
CASED = Table({"VIC": 25672, "vic@web1": 25672})

SEEN = Observation(
    said_name="vic",
    name="vic@web1",
    trouble="",
    is_node=True,
    port=25672,
    exempt="",
    epmd_optional="",
    table=OURS,
    holds=True,
)
"""A healthy node."""

UNHEARD = SEEN._replace(name=None, trouble="no answer within 3 s", is_node=None)
NAMELESS = UNHEARD._replace(said_name=None)


@pytest.mark.parametrize(
    ("seen", "verdict", "says"),
    [
        pytest.param(SEEN, "registered", ["vic", "25672"], id="healthy"),
        pytest.param(SEEN._replace(holds=None), "registered", ["vic"], id="nobody can see who holds it"),
        pytest.param(SEEN._replace(said_name=None), "registered", ["vic"], id="name from the challenge"),
        pytest.param(UNHEARD, "registered", ["vic"], id="name from the command line"),
        pytest.param(UNHEARD._replace(said_name="vic@web1"), "registered", ["vic"], id="full name on it"),
        pytest.param(SEEN._replace(said_name="vic@web1"), "registered", ["vic"], id="both full"),
        pytest.param(SEEN._replace(holds=False), "borrowed", ["vic", "holder"], id="held by another"),
        pytest.param(SEEN._replace(table=EMPTY), "missing", ["no name vic"], id="empty table"),
        pytest.param(SEEN._replace(table=CASED), "missing", ["no name vic"], id="only names that are alike"),
        pytest.param(SEEN._replace(table=EMPTY, holds=False), "missing", ["vic"], id="not even connected"),
        pytest.param(UNHEARD._replace(table=EMPTY), "missing", ["vic"], id="missing and unheard"),
        pytest.param(SEEN._replace(table=THEIRS), "conflict", ["25673", "25672"], id="other port"),
        pytest.param(SEEN._replace(table=BELOW), "conflict", ["25671", "25672"], id="other port, below"),
        pytest.param(SEEN._replace(port=int("25672")), "registered", ["vic"], id="the same number"),
        pytest.param(SEEN._replace(table=THEIRS, holds=False), "conflict", ["25673"], id="other port and holder"),
        pytest.param(SEEN._replace(table=DOWN), "epmd_down", ["down"], id="nothing listens"),
        pytest.param(SEEN._replace(table=SILENT), "epmd_unresponsive", ["no answer within 5 s"], id="silent"),
        pytest.param(
            SEEN._replace(table=SILENT, epmd_optional="needs none"), "epmd_unresponsive", [], id="silent and optional"
        ),
        pytest.param(
            SEEN._replace(table=DOWN, epmd_optional="needs none"), "not_applicable", ["needs none"], id="optional, down"
        ),
        pytest.param(SEEN._replace(table=EMPTY, epmd_optional="needs none"), "missing", ["vic"], id="optional, up"),
        pytest.param(SEEN._replace(exempt="-epmd_module x"), "not_applicable", ["-epmd_module x"], id="exempt"),
        pytest.param(SEEN._replace(port=None), "not_applicable", ["listens nowhere"], id="no listener"),
        pytest.param(
            NAMELESS._replace(port=None, trouble=""), "not_applicable", ["listens nowhere"], id="neither name nor port"
        ),
        pytest.param(
            NAMELESS._replace(port=None, trouble="it listens only for other services"),
            "not_applicable",
            ["only for other services"],
            id="no listener that can be it",
        ),
        pytest.param(NAMELESS._replace(is_node=False), "not_applicable", ["without a name"], id="no node at all"),
        pytest.param(NAMELESS._replace(is_node=True), "unidentified", ["no node answers"], id="a node that refuses"),
        pytest.param(UNHEARD._replace(is_node=False, table=EMPTY), "missing", ["vic"], id="named, yet something else"),
        pytest.param(NAMELESS, "unidentified", ["no answer within 3 s"], id="nameless"),
        pytest.param(NAMELESS._replace(table=DOWN), "unidentified", ["no answer within 3 s"], id="nameless, no epmd"),
        pytest.param(SEEN._replace(said_name="eve"), "registered", ["vic"], id="renamed after its start"),
        pytest.param(SEEN._replace(said_name="vic@web2"), "registered", ["vic"], id="another host than it was told"),
    ],
)
def test_the_verdict_and_what_it_says(seen: Observation, verdict: str, says: list[str]) -> None:
    diagnosis = diagnose.diagnose(seen)
    assert diagnosis.verdict == verdict
    assert diagnosis.msg
    for part in says:
        assert part in diagnosis.msg


def every_observation() -> list[Observation]:
    parts = itertools.product(
        (None, "vic", "vic@web1", "eve"),
        (None, "vic@web1"),
        (None, True, False),
        (None, 25672),
        ("", "exempt"),
        ("", "optional"),
        (DOWN, SILENT, EMPTY, OURS, THEIRS),
        (None, True, False),
    )
    return [Observation(said, name, "trouble", *rest) for said, name, *rest in parts]  # type: ignore[arg-type]


def test_every_observation_has_one_known_verdict_and_every_verdict_an_observation() -> None:
    verdicts = {diagnose.diagnose(seen).verdict for seen in every_observation()}
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
    assert set(diagnose.REPAIRABLE) == {"missing", "epmd_down"}
    for seen in every_observation():
        if diagnose.diagnose(seen).verdict in diagnose.REPAIRABLE:
            assert seen.alive == "vic" or seen.said_name == "eve"
            assert seen.port is not None
            assert not seen.exempt
            assert not seen.table.trouble
            assert seen.alive not in (seen.table.names or {})


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
    assert SEEN._replace(said_name=said, name=name).alive == alive


@pytest.mark.parametrize(
    ("seen", "registered"),
    [
        (SEEN, True),
        (SEEN._replace(holds=False), True),
        (SEEN._replace(port=int("25672")), True),
        (SEEN._replace(table=THEIRS), False),
        (SEEN._replace(table=BELOW), False),
        (SEEN._replace(table=EMPTY), False),
        (SEEN._replace(table=DOWN), False),
        (SEEN._replace(port=None), False),
        (SEEN._replace(port=None, table=EMPTY), False),
    ],
)
def test_a_node_is_registered_where_epmd_has_its_name_with_its_port(seen: Observation, registered: bool) -> None:
    assert seen.is_registered is registered
