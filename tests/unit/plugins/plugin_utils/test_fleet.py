# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the playbooks make of the results of their hosts."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.beamops.epmd.plugins.plugin_utils._fleet import KINDS, glance, line, swept, table


def node(verdict: str = "registered", name: str | None = "vic@web1", **other: Any) -> dict[str, Any]:
    registered = verdict in ("registered", "borrowed")
    return {"name": name, "pid": 7, "verdict": verdict, "registered": registered, "msg": f"it is {verdict}", **other}


def epmd(*addresses: str, at_risk: bool = False, **other: Any) -> dict[str, Any]:
    given = {
        "port": 4369,
        "addresses": list(addresses),
        "state": "up",
        "unit": "app.service",
        "msg": "it ends with app",
    }
    return {**given, "in_application_unit": at_risk, **other}


def result(*nodes: dict[str, Any], daemons: Any = (), **other: Any) -> dict[str, Any]:
    return {"nodes": list(nodes), "daemons": list(daemons), "msg": "", **other}


def look(returned: dict[str, Any], **other: Any) -> dict[str, Any]:
    """What `beamops.epmd.look` makes of a result."""
    ends = {key: returned.get(key, False) for key in ("failed", "unreachable")}
    return {**returned, "failed": False, "unreachable": False, "looked": {**ends, "at": "", **other}}


WELL = result(node())
LOST = result(node("missing"), node())
FAR = {"unreachable": True, "msg": "ssh: connect to host far\r\nport 22: Connection refused"}
BARE = {"failed": True, "rc": 127, "module_stderr": "/bin/sh: 1: /usr/bin/python3: not found", "msg": "see stdout"}
HALF = {
    "failed": True,
    "rc": 1,
    "module_stderr": 'Traceback (most recent call last):\r\n  File "<stdin>", line 107, in <module>\r\n'
    "    import shutil\r\nModuleNotFoundError: No module named 'shutil'\r\n",
    "msg": "MODULE FAILURE\nSee stdout/stderr for the exact error",
}
BROKEN = {"failed": True, "msg": "timeout 3601 is more than 3600", "reason": "invalid_option"}
BLIND = {
    "failed": True,
    "reason": "psutil_missing",
    "msg": "psutil is missing",
    "nodes": [],
    "daemons": [],
    "missing": [],
}
PREDICTED = result(node("missing", changed=True), changed=True)
DONE = result(node("missing", changed=True, registered=True), changed=True)


@pytest.mark.parametrize(
    ("playbook", "results", "sentence", "failed"),
    [
        ("audit", [WELL], "no node is lost: 1 node on 1 host", False),
        ("audit", [WELL, LOST, LOST], "2 of 5 nodes are lost, on 2 of 3 hosts", True),
        ("audit", [result(node("conflict"))], "1 of 1 node is lost, on 1 of 1 host", True),
        ("audit", [result()], "no Erlang node was found on 1 host", False),
        ("audit", [FAR, FAR], "2 hosts could not be reached", True),
        (
            "audit",
            [LOST, FAR, BARE, BROKEN, BARE],
            "1 of 2 nodes is lost, on 1 of 5 hosts; 1 host could not be reached, 2 have no Python, 1 failed",
            True,
        ),
        (
            "audit",
            [result(node("unidentified"), node("not_applicable"))],
            "no node is lost: 2 nodes on 1 host; 1 node could not be identified",
            False,
        ),
        ("audit", [None], "1 host failed", True),
        ("audit", [BLIND], "1 host failed", True),
        ("recover", [WELL, DONE, DONE], "2 nodes were registered again, on 2 of 3 hosts", False),
        ("recover", [WELL], "no node was lost: 1 node on 1 host", False),
        (
            "recover",
            [DONE, {**LOST, "failed": True}],
            "1 node was registered again, on 1 of 2 hosts; 1 node is still lost, on 1 of 2 hosts",
            True,
        ),
        (
            "recover",
            [result(node(), failed=True, missing=["ghost"])],
            "no node was lost: 1 node on 1 host; 1 host failed",
            True,
        ),
        ("recover", [{**BLIND, "failed": False}], "1 host could not be looked into", False),
        (
            "restart_epmd",
            [{"changed": True, "msg": "done"}, {"changed": False, "msg": "fine"}, {"failed": True, "msg": "no"}, None],
            "epmd was replaced on 1 of 4 hosts and was as it should be on 1; 1 host failed, 1 was not begun",
            True,
        ),
        (
            "rehearse",
            [{"rows": [{"verdict": "would work"}]}, {"rows": [{"verdict": "would not work", "msg": "no cookie"}]}, FAR],
            "the recovery would work on 1 of 3 hosts, and would not on 1; 1 host could not be reached",
            True,
        ),
    ],
)
def test_the_sentence(playbook: str, results: list[Any], sentence: str, failed: bool) -> None:
    by_host = {f"web{place}": each for place, each in enumerate(results)}
    found = glance(by_host, playbook)
    assert (found["sentence"], found["failed"]) == (sentence, failed)
    # The same, with what `beamops.epmd.look` puts around it.
    looked = {host: each and look(each) for host, each in by_host.items()}
    assert (glance(looked, playbook)["sentence"], glance(looked, playbook)["failed"]) == (sentence, failed)


def test_the_whole_of_a_fleet() -> None:
    full = {**node("missing"), "user": "u", "address": "::", "port": 25672, "tls": True, "epmd_port": 4369}
    daemon = epmd("0.0.0.0", "10.0.0.1", at_risk=True, pid=3, user="x", namespace=5)
    hosts: dict[str, Any] = {"web1": look(result(full, node(), daemons=[daemon])), "web2": look(WELL), "far": FAR}
    hosts["web1"]["looked"]["at"], hosts["web2"]["looked"]["at"] = "2026-01-02", "2026-01-01"
    found = glance(hosts, "audit", made="2026-01-03")
    lost, well = found["hosts"][0]["nodes"]
    assert lost == {
        "name": "vic@web1",
        "user": "u",
        "address": "::",
        "pid": 7,
        "port": 25672,
        "epmd_port": 4369,
        "namespace": None,
        "tls": True,
        "hidden": False,
        "registered": False,
        "changed": False,
        "verdict": "missing",
        "msg": "it is missing",
    }
    assert (well["user"], well["port"], well["tls"], well["registered"]) == (None, None, False, True)
    assert found["hosts"][0]["epmds"] == [
        {
            "user": "x",
            "unit": "app.service",
            "port": 4369,
            "pid": 3,
            "namespace": 5,
            "addresses": ["0.0.0.0", "10.0.0.1"],
            "public": ["0.0.0.0"],
            "at_risk": True,
            "state": "up",
            "msg": "it ends with app",
        }
    ]
    assert found["hosts"][0]["rows"] == [
        {"name": "vic@web1", "verdict": "missing", "words": "missing", "msg": "it is missing", "tone": "bad"},
        {"name": "vic@web1", "verdict": "registered", "words": "registered", "msg": "it is registered", "tone": "good"},
        {
            "name": "epmd on port 4369",
            "verdict": "at risk",
            "words": "at risk",
            "msg": "it ends with app",
            "tone": "warn",
        },
    ]
    assert found["counts"] == {
        "hosts": 3,
        "nodes": 3,
        "registered": 2,
        "lost": 1,
        "unidentified": 0,
        "changed": 0,
        "unreachable": 1,
        "no_python": 0,
        "failed": 0,
        "unknown": 0,
        "not_begun": 0,
        "epmds": 1,
        "epmds_at_risk": 1,
        "epmds_public": 1,
    }
    assert (found["version"], found["playbook"], found["check"]) == (1, "audit", False)
    assert (found["made"], found["since"], found["until"]) == ("2026-01-03", "2026-01-01", "2026-01-02")
    assert [host["seen"] for host in found["hosts"]] == ["2026-01-02", "2026-01-01", ""]
    assert found["columns"] == ["host", "node", "verdict", "what was found"]
    never = glance({"web1": WELL}, "audit", made="2026-01-03")
    assert (never["since"], never["until"]) == ("2026-01-03", "2026-01-03")
    assert glance({"web1": DONE}, "recover", check=True)["check"] is True


UNKNOWN = result(node("unidentified"))
EXEMPT = result(node("not_applicable"))


@pytest.mark.parametrize(
    ("playbook", "given", "state", "verdict", "tone", "needs_somebody"),
    [
        ("audit", WELL, "well", "registered", "good", False),
        ("audit", LOST, "lost", "1 of 2 nodes lost", "bad", True),
        ("audit", result(node("epmd_down")), "lost", "epmd_down", "bad", True),
        ("audit", UNKNOWN, "well", "unidentified", "warn", False),
        ("audit", EXEMPT, "well", "not_applicable", "plain", False),
        ("audit", result(), "well", "no node", "plain", False),
        ("audit", result(node("borrowed"), node("not_applicable")), "well", "borrowed", "warn", False),
        ("audit", result(node(), daemons=[epmd(at_risk=True)]), "well", "at risk", "warn", False),
        ("audit", FAR, "unreachable", "could not be reached", "bad", True),
        ("audit", BARE, "no python", "has no Python", "bad", True),
        (
            "audit",
            {**BARE, "module_stderr": "", "module_stdout": "PYTHON3: not found"},
            "no python",
            "has no Python",
            "bad",
            True,
        ),
        ("audit", {**BARE, "rc": 126}, "failed", "failed", "bad", True),
        ("audit", {**BARE, "rc": 128}, "failed", "failed", "bad", True),
        ("audit", {**BARE, "module_stderr": "sudo: not found"}, "failed", "failed", "bad", True),
        ("audit", {"rc": 127, **result(node())}, "well", "registered", "good", False),
        ("audit", BLIND, "failed", "failed", "bad", True),
        ("audit", {**BLIND, "failed": False}, "unknown", "could not be looked into", "warn", False),
        ("audit", {"msg": "odd"}, "unknown", "could not be looked into", "bad", True),
        ("audit", {}, "failed", "failed", "bad", True),
        ("audit", None, "failed", "failed", "bad", True),
        ("audit", {"nodes": [], "failed": True, "msg": "no"}, "failed", "failed", "bad", True),
        ("audit", {**LOST, "failed": True}, "lost", "1 of 2 nodes lost", "bad", True),
        ("recover", LOST, "lost", "1 of 2 nodes lost", "bad", False),
        ("recover", DONE, "well", "missing, now registered", "good", False),
        ("recover", PREDICTED, "lost", "missing, would be registered", "warn", False),
        ("recover", {**WELL, "failed": True, "msg": "no"}, "unwell", "failed", "bad", True),
        ("recover", {**UNKNOWN, "failed": True}, "unwell", "unidentified", "warn", True),
        ("recover", {**UNKNOWN, "failed": True, "missing": ["x"], "msg": "x"}, "unwell", "failed", "bad", True),
        ("recover", {**LOST, "failed": True, "missing": ["x"], "msg": "x"}, "lost", "1 of 2 nodes lost", "bad", True),
        ("recover", result(node(), daemons=[epmd(at_risk=True)]), "well", "registered", "good", False),
        ("restart_epmd", {"changed": True, "msg": "done"}, "well", "replaced", "good", False),
        ("restart_epmd", {"changed": False, "msg": "fine"}, "well", "left alone", "good", False),
        ("restart_epmd", {"failed": True, "msg": "no"}, "unwell", "failed", "bad", True),
        ("restart_epmd", None, "not begun", "was not begun", "plain", False),
        ("rehearse", {"rows": [{"verdict": "would work"}]}, "well", "would work", "good", False),
        ("rehearse", {"rows": [{"verdict": "would not work"}]}, "unwell", "would not work", "bad", True),
        (
            "rehearse",
            {"rows": [{"verdict": "would work"}], "failed": True, "msg": "no"},
            "unwell",
            "failed",
            "bad",
            True,
        ),
        ("rehearse", {"rows": [{"verdict": "not rehearsed"}]}, "well", "not rehearsed", "plain", False),
    ],
)
def test_a_host_in_a_few_words(
    playbook: str, given: Any, state: str, verdict: str, tone: str, needs_somebody: bool
) -> None:
    (host,) = glance({"web1": given}, playbook)["hosts"]
    assert (host["state"], host["verdict"], host["tone"], host["needs_somebody"]) == (
        state,
        verdict,
        tone,
        needs_somebody,
    )
    assert host["changed"] is bool(given and given.get("changed"))


@pytest.mark.parametrize(("verdict", "number"), [("unidentified", 1), ("missing", 0), ("unseen", 0)])
def test_a_node_that_could_not_be_identified_is_counted(verdict: str, number: int) -> None:
    found = glance({"web1": result(node(verdict))}, "audit")
    assert found["counts"]["unidentified"] == number
    assert ("1 node could not be identified" in found["sentence"]) == bool(number)


def test_why_nothing_is_known_of_a_host() -> None:
    def why(given: Any, playbook: str = "audit") -> str:
        (row,) = glance({"web1": given}, playbook)["hosts"][0]["rows"]
        return str(row["msg"])

    assert why(None) == "it gave no result: see above"
    assert why(None, "restart_epmd") == ""
    assert why({"changed": False}) == "it gave no facts of epmd"
    assert why({"changed": False, "msg": "odd"}) == "odd"
    assert why(result()) == "no Erlang node runs here"


@pytest.mark.parametrize(("length", "shown"), [(299, "x" * 299), (300, "x" * 300), (301, "x" * 297 + "...")])
def test_what_a_host_says_about_itself_has_a_length(length: int, shown: str) -> None:
    assert glance({"far": {"unreachable": True, "msg": "x" * length}}, "audit")["hosts"][0]["rows"][0]["msg"] == shown


def test_what_is_no_number_or_text_in_a_result_is_none_in_the_report() -> None:
    odd = node(pid=True, port="25672", epmd_port=4369, user=0)
    (found,) = glance({"web1": result({**odd, "name": 5})}, "audit")["hosts"][0]["nodes"]
    assert (found["name"], found["pid"], found["port"], found["epmd_port"]) == ("5", None, None, 4369)
    assert found["user"] == "0"


@pytest.mark.parametrize("playbook", sorted(KINDS))
def test_which_playbooks_judge_and_tell(playbook: str) -> None:
    kind = KINDS[playbook]
    assert (kind.judges, kind.risks, kind.tells) == (
        playbook == "audit",
        playbook == "audit",
        playbook == "restart_epmd",
    )


def test_the_sentences_of_check_mode() -> None:
    results: dict[str, Any] = {"a": {"changed": True}, "b": {"changed": False}}
    assert glance(results, "restart_epmd", check=True)["sentence"] == (
        "epmd would be replaced on 1 of 2 hosts and is as it should be on 1"
    )
    assert [host["verdict"] for host in glance(results, "restart_epmd", check=True)["hosts"]] == [
        "would be replaced",
        "left alone",
    ]
    assert glance(results, "restart_epmd", check=True)["hosts"][0]["tone"] == "warn"
    (row,) = glance({"a": {"changed": True, "unit": "x.service", "msg": "m"}}, "restart_epmd")["hosts"][0]["rows"]
    assert (row["name"], row["msg"]) == ("x.service", "m")
    assert glance({"a": {"changed": True}}, "restart_epmd")["hosts"][0]["rows"][0]["name"] == "epmd"


def test_the_sentence_of_a_rehearsal() -> None:
    def said(*verdicts: str) -> str:
        hosts = {f"web{place}": {"rows": [{"verdict": verdict}]} for place, verdict in enumerate(verdicts)}
        return str(glance(hosts, "rehearse")["sentence"])

    assert said("would work") == "the recovery would work on 1 of 1 host"
    assert said("would work", "not rehearsed") == "the recovery would work on 1 of 2 hosts, and was not tried on 1"
    assert said("would not work", "not rehearsed", "no node", "would work", "would work") == (
        "the recovery would work on 2 of 5 hosts, would not on 1, and was not tried on 2"
    )


def test_check_mode_has_its_own_words() -> None:
    found = glance({"web1": PREDICTED}, "recover", check=True)
    assert (found["sentence"], found["failed"]) == ("1 node would be registered again, on 1 of 1 host", False)
    assert found["hosts"][0]["verdict"] == "missing, would be registered"
    assert glance({"web1": DONE}, "recover")["hosts"][0]["verdict"] == "missing, now registered"
    replaced = glance({"web1": {"changed": True}}, "restart_epmd", check=True)
    assert replaced["sentence"] == "epmd would be replaced on 1 of 1 host"


def test_what_to_type_names_exactly_the_hosts_with_a_lost_node() -> None:
    results = {"web1": WELL, "web 2": LOST, "far": FAR, "web3": LOST}
    found = glance(results, "audit", inventory=["/etc/my hosts", "other"])
    assert found["limit"] == "web 2,web3"
    assert found["needs_somebody"] == ["web 2", "far", "web3"]
    assert found["repair"] == "ansible-playbook -i '/etc/my hosts' -i other beamops.epmd.recover --limit 'web 2,web3'"
    assert glance({"web1": WELL}, "audit")["repair"] == ""


def test_a_lost_node_can_be_tolerated_and_still_has_its_row() -> None:
    found = glance({"web1": look(LOST, tolerated=True), "far": look(FAR, tolerated=True)}, "audit")
    assert found["needs_somebody"] == ["far"]
    assert found["sentence"] == "1 of 2 nodes is lost, on 1 of 2 hosts; 1 host could not be reached"
    assert found["hosts"][0]["tone"] == "bad"


def test_one_line_for_a_host_that_needs_somebody() -> None:
    results = {"well": WELL, "web1": LOST, "far": FAR, "bare": BARE, "half": HALF, "broken": BROKEN}
    assert [line(host) for host in glance(results, "audit")["hosts"]] == [
        "",
        "web1: vic@web1: missing: it is missing",
        "far: could not be reached: ssh: connect to host far port 22: Connection refused",
        "bare: has no Python: /bin/sh: 1: /usr/bin/python3: not found",
        "half: failed: its Python is incomplete (No module named 'shutil'): install all of it, in Debian the package "
        "python3",
        "broken: failed: timeout 3601 is more than 3600",
    ]
    both = glance({"web1": result(node("missing"), node("unidentified"), node("conflict"))}, "audit")["hosts"][0]
    assert line(both) == "web1: vic@web1: missing: it is missing; vic@web1: conflict: it is conflict"
    unidentified = glance({"web1": result(node(), node("unidentified"), failed=True)}, "recover")["hosts"][0]
    assert line(unidentified) == "web1: vic@web1: unidentified: it is unidentified"


def test_the_table() -> None:
    at_risk = result(node(name=None), daemons=[epmd("::1", at_risk=True)])
    results = {"web1": LOST, "b": at_risk, "none": result(msg="no Erlang node runs here"), "far": FAR}
    assert table(glance(results, "audit")) == [
        "host  node               verdict      what was found",
        "web1  vic@web1           missing      it is missing",
        "web1  vic@web1           registered   it is registered",
        "b     pid 7              registered   it is registered",
        "b     epmd on port 4369  at risk      it ends with app",
        "none  -                  no node      no Erlang node runs here",
        "far   -                  unreachable  ssh: connect to host far port 22: Connection refused",
    ]
    # What else would end an epmd is nothing that a recovery did.
    assert len(table(glance({"b": at_risk}, "recover"))) == 2
    ghost = result(node(), failed=True, missing=["ghost"], msg="ghost: no such node runs here")
    assert table(glance({"web1": ghost}, "recover"))[2] == "web1  -         failed      ghost: no such node runs here"


@pytest.mark.parametrize(
    ("address", "is_public"),
    [
        ("0.0.0.0", True),
        ("::", True),
        ("127.0.0.1", False),
        ("::1", False),
        ("10.0.0.5", False),
        ("192.0.2.1", False),
        ("fe80::1%eth0", False),
        ("8.8.8.8", True),
        ("2a00:1450::1", True),
        ("a name", False),
    ],
)
def test_from_where_an_epmd_can_be_reached(address: str, is_public: bool) -> None:
    found = glance({"web1": result(node(), daemons=[epmd(address)])}, "audit")
    assert found["hosts"][0]["epmds"][0]["public"] == ([address] if is_public else [])
    assert found["counts"]["epmds_public"] == int(is_public)


@pytest.mark.parametrize(
    "facts",
    [
        {"ansible_facts": {"epmd": {"nodes": [{"name": "vic@web1", "state": "missing"}], "daemons": []}}},
        {"ansible_facts": {"epmd": {"nodes": {"vic@web1": {"registered": True}}}}},
        {"ansible_facts": {"epmd": {"nodes": [], "daemons": [{"port": 4369}]}}},
        {"ansible_facts": {"epmd": {"nodes": ["vic@web1"]}}},
        {"ansible_facts": {"epmd": {"nodes": "none"}}},
    ],
)
def test_facts_of_another_version_have_a_row_that_says_so(facts: dict[str, Any]) -> None:
    found = glance({"old": facts, "web1": WELL}, "audit")
    assert found["sentence"] == "no node is lost: 1 node on 1 host; 1 host could not be looked into"
    assert found["needs_somebody"] == ["old"]
    (row,) = found["hosts"][0]["rows"]
    assert row["msg"].startswith("its facts are those of another version of beamops.epmd")


def test_facts_alone_are_as_good() -> None:
    facts = {"ansible_facts": {"epmd": {"nodes": [node("missing")], "daemons": []}}}
    assert glance({"web1": facts}, "audit")["sentence"] == "1 of 1 node is lost, on 1 of 1 host"
    assert glance({"web1": {"ansible_facts": {"other": 1}}}, "audit")["hosts"][0]["state"] == "unknown"


HOSTILE = "<b>\x1b[2J\u202e\nname\u2066"


def test_everything_is_legible() -> None:
    """Names of hosts, nodes, users and units, and what ssh says, with a `?` for what would turn or hide a line."""
    known = result(node("missing", name=HOSTILE, user=HOSTILE), daemons=[epmd("::", unit=HOSTILE)], msg=HOSTILE)
    found = glance({HOSTILE: known, "far": {"unreachable": True, "msg": HOSTILE}}, "audit")
    assert not any(character in repr(found) for character in ("\\x1b", "\\u202e", "\\u2066"))
    assert found["hosts"][0]["host"] == "<b>?[2J??name?"
    # A line break is a space in a sentence.
    assert found["hosts"][1]["rows"][0]["msg"] == "<b>?[2J? name?"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
)
KEYS = sorted({*result(), *node(), *epmd(), "failed", "unreachable", "looked", "ansible_facts", "rows", "rc", "reason"})
RESULT = st.dictionaries(
    st.sampled_from(KEYS), JSON | st.lists(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=9))
)


@given(st.dictionaries(st.text(), RESULT | JSON, max_size=3), st.sampled_from(sorted(KINDS)))
def test_no_result_is_an_error(results: dict[str, Any], playbook: str) -> None:
    before = copy.deepcopy(results)
    found = glance(results, playbook)
    assert len(table(found)) > len(results)
    assert all(isinstance(line(host), str) for host in found["hosts"])
    assert results == before


def test_of_a_sweep_only_what_is_wrong_is_shown() -> None:
    def asked(name: str, state: str = "up", missing: Any = (), msg: str = "") -> dict[str, Any]:
        return {"name": name, "port": 4369, "state": state, "missing": missing, "msg": msg}

    unknown = asked("other", missing=None)
    assert swept({"hosts": [asked("web1"), unknown]}) == []
    lost = asked("web2", missing=["vic", "wim"])
    down = asked("far", "timeout", ["vic"], "no answer within 10 s")
    assert swept({"hosts": [asked("web1"), lost, down, unknown]}) == [
        "host  port  state    what was heard",
        "web2  4369  up       missing: vic, wim",
        "far   4369  timeout  no answer within 10 s; missing: vic",
    ]
    for state in ("refused", "zzz"):
        assert len(swept({"hosts": [asked("web1", state)]})) == 2
