# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet at a glance: from what each host gave to one sentence, a row a node, and what to type. Pure.

The playbooks end with it, and the filter `beamops.epmd.fleet` hands it out. The table, the page, the JSON and the
metrics only lay it out. docs/report.schema.json describes what `glance` returns. Private to the collection.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..module_utils._legible import all_legible, legible
from ..module_utils._words import number_of

VERSION = 1
"""Of what `glance` returns. A new key does not change it; a key that goes, or means something else, does."""

Record = dict[str, Any]

GOOD, WARN, BAD, PLAIN = "good", "warn", "bad", "plain"
"""How a row is meant: what a person has to do something about is bad."""

LONGEST = 300
"""Characters of what a host says about itself. A shell that does not find a program may say more."""

TROUBLE = {
    "unreachable": ("could not be reached", "could not be reached"),
    "no python": ("has no Python", "have no Python"),
    "failed": ("failed", "failed"),
    "unknown": ("could not be looked into", "could not be looked into"),
    "not begun": ("was not begun", "were not begun"),
}
"""States of a host of whose nodes nothing is known: what one such host does, and what several do."""

_TONES = {
    "registered": GOOD,
    "borrowed": WARN,
    "unidentified": WARN,
    "not_applicable": PLAIN,
    "at risk": WARN,
    "no node": PLAIN,
    "unknown": WARN,
    "replaced": GOOD,
    "would be replaced": WARN,
    "left alone": GOOD,
    "not begun": PLAIN,
    "would work": GOOD,
    "not rehearsed": PLAIN,
}
"""By verdict. All others are bad."""


class Kind(NamedTuple):
    """What a playbook makes of its hosts."""

    column: str
    """What the last column of its table holds."""
    sentence: Callable[[Sequence[Record], bool], str]
    """The first part of its sentence, from all hosts, and whether this is check mode."""
    judges: bool = False
    """Whether a lost node is a failure, although the module did not fail."""
    risks: bool = False
    """Whether an epmd that ends with somebody else has a row."""
    tells: bool = False
    """Whether a host that is well has its line, too, since the hosts come one after the other."""
    rows: Callable[[Mapping[str, Any], bool], Iterable[Mapping[str, Any]]] = lambda result, _check: _mappings(
        result.get("rows")
    )
    """Rows beside those of the nodes: name, verdict and msg. From a result, and whether this is check mode."""
    absent: str = "failed"
    """The verdict of a host that gave no result."""


def glance(
    results: Mapping[str, Any], playbook: str, made: str = "", check: bool = False, inventory: Sequence[str] = ()
) -> Record:
    """What a playbook found or did on all of its hosts.

    results: by host, what its module returned, or what `beamops.epmd.look` made of that. A host may have `rows`, too,
    each with name, verdict and msg: what a playbook found that is no node.
    playbook: one of KINDS. made: when this was, in ISO 8601. check: whether in check mode. inventory: where the hosts
    are from, for the command that repairs them.
    Errors: KeyError for an unknown playbook. Results are never an error: a host whose facts are those of another
    version of the collection has a row that says so.
    """
    kind = KINDS[playbook]
    hosts = [_host(name, result, kind, check) for name, result in results.items()]
    looked_at = [host for host in hosts if host["state"] not in TROUBLE]
    needing = [host["host"] for host in hosts if host["needs_somebody"]]
    # Only hosts that were looked at: another playbook can do nothing for the others.
    limit = ",".join(host["host"] for host in looked_at if any(map(is_lost, host["nodes"])))
    return {
        "version": VERSION,
        "playbook": playbook,
        "made": made,
        "since": min([host["seen"] for host in hosts if host["seen"]] or [made]),
        "until": max([host["seen"] for host in hosts if host["seen"]] or [made]),
        "check": check,
        "failed": bool(needing),
        "sentence": "; ".join(filter(None, (kind.sentence(hosts, check), _unidentified(hosts), _troubles(hosts)))),
        "counts": _counts(hosts),
        "needs_somebody": needing,
        "limit": limit,
        "repair": _command(limit, inventory) if limit else "",
        "columns": ["host", "node", "verdict", kind.column],
        "hosts": hosts,
    }


def line(host: Record) -> str:
    """One line about one of the hosts that `glance` returns; empty unless it needs somebody."""
    if not host["needs_somebody"]:
        return ""
    if host["state"] in TROUBLE:
        (row,) = host["rows"]
        return legible(f"{host['host']}: {TROUBLE[host['state']][0]}: {row['msg']}")
    worst = [row for row in host["rows"] if row["tone"] == host["tone"]]
    rows = [f"{row['name']}: {row['verdict']}: {row['msg']}" for row in worst]
    return legible(f"{host['host']}: {'; '.join(rows)}")


def table(fleet: Record) -> list[str]:
    """The lines of a table: a row for each node, and one for each host that has none or could not be looked at."""
    rows = [[host["host"], row["name"], row["verdict"], row["msg"]] for host in fleet["hosts"] for row in host["rows"]]
    return _lines([fleet["columns"], *rows])


def swept(result: Mapping[str, Any]) -> list[str]:
    """The lines of a table about what `epmd_sweep` returned: a row for each epmd that has not all that is expected."""
    rows = []
    for epmd in _mappings(result.get("hosts")):
        missing = f"missing: {', '.join(epmd['missing'])}" if epmd["missing"] else ""
        if missing or epmd["state"] != "up":
            words = "; ".join(filter(None, (epmd["msg"], missing)))
            rows.append([epmd["name"], str(epmd["port"]), epmd["state"], words])
    return _lines([["host", "port", "state", "what was heard"], *rows]) if rows else []


def _lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of four columns, of which the last one is as long as it is."""
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return ["  ".join([*map(str.ljust, row, widths), row[3]]).rstrip() for row in rows]


def is_lost(node: Mapping[str, Any]) -> bool:
    """Whether epmd does not have the name of this node with its port, although the node uses epmd."""
    return not node["registered"] and node["verdict"] not in ("not_applicable", "unidentified")


def _host(name: str, given: Any, kind: Kind, check: bool) -> Record:
    """One shape for a host, whatever happened there. given: what `beamops.epmd.look` returned, or a module."""
    result: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    looked: Mapping[str, Any] = result["looked"] if isinstance(result.get("looked"), Mapping) else {}
    result = {**result, **looked}
    facts = result if "nodes" in result else _facts(result)
    nodes, epmds, rows = [], [], []
    added = list(kind.rows(result, check))
    trouble = _trouble(result, facts, kind, bool(added))
    own = [trouble] if trouble else []
    if trouble:
        rows.append(trouble)
    else:
        nodes = [_node(node) for node in _mappings(facts.get("nodes"))]
        epmds = [_epmd(epmd) for epmd in _mappings(facts.get("daemons"))]
        rows += [_node_row(node) for node in nodes]
        if kind.risks:
            rows += [_row(f"epmd on port {epmd['port']}", "at risk", epmd["msg"]) for epmd in epmds if epmd["at_risk"]]
        own = [_row(row.get("name"), row.get("verdict"), row.get("msg")) for row in added]
        rows += own
        # A failure that no other row shows: of a name that does not run, for one.
        unwell = [row for row in rows if _is_bad(row) or row["verdict"] == "unidentified"]
        if result.get("failed") and (result.get("missing") or not unwell):
            rows.append(_row("-", "failed", result.get("msg")))
        if not rows:
            rows.append(_row("-", "no node", result.get("msg") or "no Erlang node runs here"))
    failed = bool(result.get("failed")) or any(map(_is_bad, own))
    lost = any(map(is_lost, nodes))
    state = trouble["verdict"] if trouble else "lost" if lost else "unwell" if failed else "well"
    host: Record = all_legible(
        {
            "host": name,
            "state": state,
            "verdict": _verdict(state, nodes, rows),
            "tone": min(rows, key=_severity)["tone"],
            "needs_somebody": failed or (kind.judges and lost and not looked.get("tolerated")),
            "changed": bool(result.get("changed")),
            "seen": _text(looked.get("at")),
            "nodes": nodes,
            "epmds": epmds,
            "rows": rows,
        }
    )
    return host


def _verdict(state: str, nodes: Sequence[Record], rows: Sequence[Record]) -> str:
    """A host in a few words: what is worst there."""
    if state in TROUBLE:
        return TROUBLE[state][0]
    if state == "lost" and len(nodes) > 1:  # pragma: no mutate: without a node it is not lost
        return f"{sum(map(is_lost, nodes))} of {len(nodes)} nodes lost"
    worst: str = min(rows, key=_severity)["words"]
    return worst


def _is_bad(row: Mapping[str, Any]) -> bool:
    return bool(row["tone"] == BAD)  # pragma: no mutate: it is the first one of the alphabet


def _severity(row: Mapping[str, Any]) -> int:
    return [BAD, WARN, GOOD, PLAIN].index(row["tone"])


def _trouble(result: Mapping[str, Any], facts: Mapping[str, Any], kind: Kind, has_rows: bool) -> Record | None:
    """The only row of a host of whose nodes nothing is known; None for all others."""
    msg = _text(result.get("msg"))
    if result.get("unreachable"):
        return _row("-", "unreachable", msg)
    if not result:
        see = "it gave no result: see above"
        return _row("-", kind.absent, see if kind.absent == "failed" else "")  # pragma: no mutate: or "not begun"
    # 127: the shell did not find the program that it was to run. Only its own words say which one that was. With a
    # terminal they are in the output.
    for complaint in (_text(result.get("module_stderr")), _text(result.get("module_stdout"))):
        if result.get("rc") == 127 and "python" in complaint.lower():
            return _row("-", "no python", complaint)
    has_rows = has_rows or bool(facts.get("nodes"))
    if result.get("failed") and not has_rows:
        return _row("-", "failed", _incomplete(result) or msg)
    if result.get("reason") == "psutil_missing":
        return _row("-", "unknown", msg)
    if not has_rows and "nodes" not in facts:
        return _row("-", "unknown", msg or "it gave no facts of epmd", BAD)
    if _is_strange(facts):
        return _row(
            "-", "unknown", "its facts are those of another version of beamops.epmd: run the playbook again", BAD
        )
    return None


_MISSING = re.compile(r"^(?:ModuleNotFoundError|ImportError): (.+)$", re.MULTILINE)


def _incomplete(result: Mapping[str, Any]) -> str:
    """That the host has half a Python, such as Debian's python3-minimal; "" if that is not what failed.

    No module can say so itself: what ansible-core puts around it ends first, and Ansible only points at that output.
    """
    for complaint in (_text(result.get("module_stderr")), _text(result.get("module_stdout"))):
        found = _MISSING.search(complaint)
        if found:
            return f"its Python is incomplete ({found[1].strip()}): install all of it, in Debian the package python3"
    return ""


def _is_strange(facts: Mapping[str, Any]) -> bool:
    """Whether a node or an epmd lacks what this version needs to know of it."""
    wanted = {"nodes": ("name", "verdict", "registered"), "daemons": ("port", "addresses", "state")}
    for key, names in wanted.items():
        records = facts.get(key, [])
        if not isinstance(records, Sequence) or isinstance(records, str):
            return True
        if not all(isinstance(record, Mapping) and all(name in record for name in names) for record in records):
            return True
    return False


def _row(name: Any, verdict: Any, msg: Any, tone: str = "") -> Record:
    """A row. words: its verdict, where there is more room than in the column of a table."""
    words = " ".join(_text(msg).split())
    verdict = _text(verdict) or "unknown"
    return {
        "name": _text(name) or "-",
        "verdict": verdict,
        "words": verdict,
        "msg": words if len(words) <= LONGEST else words[: LONGEST - 3] + "...",
        "tone": tone or _TONES.get(verdict, BAD),
    }


def _node_row(node: Record) -> Record:
    row = _row(node["name"] or f"pid {node['pid']}", node["verdict"], node["msg"])
    if node["changed"]:
        # Check mode, unless it is registered now.
        done, tone = ("now registered", GOOD) if node["registered"] else ("would be registered", WARN)
        return {**row, "words": f"{node['verdict']}, {done}", "tone": tone}
    return row


def _node(node: Mapping[str, Any]) -> Record:
    """What the report has of a node, of the types that its schema promises."""
    return {
        **{key: _text(node[key]) if node.get(key) is not None else None for key in ("name", "user", "address")},
        **{key: _number(node.get(key)) for key in ("pid", "port", "epmd_port", "namespace")},
        **{key: bool(node.get(key)) for key in ("tls", "hidden", "registered", "changed")},
        "verdict": _text(node["verdict"]),
        "msg": _text(node.get("msg")),
    }


def _epmd(epmd: Mapping[str, Any]) -> Record:
    """The same of an epmd. public: those of its addresses from which anybody may reach it."""
    addresses = [_text(address) for address in epmd["addresses"] or ()]
    return {
        **{key: _text(epmd[key]) if epmd.get(key) is not None else None for key in ("user", "unit")},
        **{key: _number(epmd.get(key)) for key in ("port", "pid", "namespace")},
        "addresses": addresses,
        "public": [address for address in addresses if _is_public(address)],
        "at_risk": bool(epmd.get("in_application_unit")),
        "state": _text(epmd["state"]),
        "msg": _text(epmd.get("msg")),
    }


def _is_public(address: str) -> bool:
    """Whether it is every address of the host, or one of the Internet (RFC 6890)."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return parsed.is_unspecified or parsed.is_global


def _unidentified(hosts: Sequence[Record]) -> str:
    number = sum(node["verdict"] == "unidentified" for host in hosts for node in host["nodes"])
    return f"{number_of(number, 'node')} could not be identified" if number else ""


def _troubles(hosts: Sequence[Record]) -> str:
    """The last part of the sentence: the hosts that are in trouble."""
    parts: list[str] = []
    for state, (one, several) in TROUBLE.items():
        number = _in_state(hosts, state)
        if number:
            subject = number_of(number, "host") if not parts else str(number)
            does = one if number == 1 else several  # pragma: no mutate: none is not told
            parts.append(f"{subject} {does}")
    return ", ".join(parts)


def _in_state(hosts: Sequence[Record], state: str) -> int:
    # A host may have failed although its nodes are known.
    return sum(any(row["verdict"] == state for row in host["rows"]) for host in hosts)


def _counts(hosts: Sequence[Record]) -> dict[str, int]:
    nodes = [node for host in hosts for node in host["nodes"]]
    epmds = [epmd for host in hosts for epmd in host["epmds"]]
    return {
        "hosts": len(hosts),
        "nodes": len(nodes),
        "registered": sum(node["registered"] for node in nodes),
        "lost": sum(map(is_lost, nodes)),
        "unidentified": sum(node["verdict"] == "unidentified" for node in nodes),
        "changed": sum(node["changed"] for node in nodes),
        **{state.replace(" ", "_"): _in_state(hosts, state) for state in TROUBLE},
        "epmds": len(epmds),
        "epmds_at_risk": sum(epmd["at_risk"] for epmd in epmds),
        "epmds_public": sum(bool(epmd["public"]) for epmd in epmds),
    }


def _command(limit: str, inventory: Sequence[str]) -> str:
    """What to type to bring the lost nodes of these hosts back."""
    sources = [word for source in inventory for word in ("-i", source)]
    return shlex.join(["ansible-playbook", *sources, "beamops.epmd.recover", "--limit", limit])


def _are(number: int) -> str:
    return "is" if number == 1 else "are"  # pragma: no mutate: none is not told


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    """What is a list of dicts in a result; what is not is nothing."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return []
    return [item for item in value if isinstance(item, Mapping)]


def _facts(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """What epmd_facts has in ansible_facts."""
    facts = result.get("ansible_facts")
    epmd = facts.get("epmd") if isinstance(facts, Mapping) else None
    return epmd if isinstance(epmd, Mapping) else {}


def _where(hosts: Sequence[Record], test: Callable[[Record], bool]) -> tuple[int, str]:
    """How many nodes are such, and on how many hosts, in words."""
    found = [sum(map(test, host["nodes"])) for host in hosts]
    return sum(found), f"on {sum(map(bool, found))} of {number_of(len(hosts), 'host')}"


def _all_is_well(hosts: Sequence[Record], tense: str) -> str:
    nodes, _where_they_are = _where(hosts, lambda _node: True)
    looked_at = sum(host["state"] not in TROUBLE for host in hosts)
    if not looked_at:
        return ""
    if not nodes:
        return f"no Erlang node was found on {number_of(looked_at, 'host')}"
    return f"no node {tense} lost: {number_of(nodes, 'node')} on {number_of(looked_at, 'host')}"


def _audit(hosts: Sequence[Record], _check: bool) -> str:
    lost, where = _where(hosts, is_lost)
    nodes, _anywhere = _where(hosts, lambda _node: True)
    return f"{lost} of {number_of(nodes, 'node')} {_are(lost)} lost, {where}" if lost else _all_is_well(hosts, "is")


def _recover(hosts: Sequence[Record], check: bool) -> str:
    changed, where = _where(hosts, lambda node: bool(node["changed"]))
    lost, where_lost = _where(hosts, lambda node: is_lost(node) and not node["changed"])
    were = "would be" if check else "was" if changed == 1 else "were"  # pragma: no mutate: none is not told
    parts = [f"{number_of(changed, 'node')} {were} registered again, {where}"] if changed else []
    if lost:
        parts.append(f"{number_of(lost, 'node')} {_are(lost)} still lost, {where_lost}")
    return "; ".join(parts) or _all_is_well(hosts, "was")


def _restart(hosts: Sequence[Record], check: bool) -> str:
    replaced = sum(row["verdict"].endswith("replaced") for host in hosts for row in host["rows"])
    alone = sum(row["verdict"] == "left alone" for host in hosts for row in host["rows"])
    were = "would be" if check else "was"
    parts = [f"epmd {were} replaced on {replaced} of {number_of(len(hosts), 'host')}"]
    if alone:
        parts.append(f"{'is' if check else 'was'} as it should be on {alone}")
    return " and ".join(parts)


def _restarted(result: Mapping[str, Any], check: bool) -> Iterable[Mapping[str, Any]]:
    """What epmd_restart did, as a row."""
    if not result:
        return []
    replaced = "would be replaced" if check else "replaced"
    verdict = "failed" if result.get("failed") else replaced if result.get("changed") else "left alone"
    return [{"name": result.get("unit") or "epmd", "verdict": verdict, "msg": result.get("msg")}]


def _rehearse(hosts: Sequence[Record], check: bool) -> str:
    if check:
        return "nothing was rehearsed: check mode starts no scratch nodes"
    would, would_not, not_tried = (
        sum(any(row["verdict"] in verdicts for row in host["rows"]) for host in hosts)
        for verdicts in (["would work"], ["would not work"], ["not rehearsed", "no node"])
    )
    parts = [f"would work on {would} of {number_of(len(hosts), 'host')}"]
    parts += [f"would not on {would_not}"] if would_not else []
    parts += [f"was not tried on {not_tried}"] if not_tried else []
    return f"the recovery {', and '.join(filter(None, [', '.join(parts[:-1]), parts[-1]]))}"


KINDS = {
    "audit": Kind("what was found", _audit, judges=True, risks=True),
    "recover": Kind("what was done", _recover),
    "restart_epmd": Kind("what was done", _restart, tells=True, rows=_restarted, absent="not begun"),
    "rehearse": Kind("why", _rehearse),
}
"""By the name of the playbook."""
