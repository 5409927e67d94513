# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way from the options to the result: observe all nodes, diagnose all, repair those that are lost, prove.

Standard: "The way of the data" in the documentation. Each step is done for all nodes before the next begins, and inside
a step nodes are worked on at once: one that fails never stops the others, and one that hangs does not delay them.
Private to the collection.

The rule for imports inside functions, here and below: a target compiles every file anew on each run, and on most hosts
every node is registered. What is needed only for other hosts is imported where it is needed.
"""

from __future__ import annotations

import enum

from ._errors import in_words
from ._options import Options, check
from ._steps import daemons, diagnose, observe, report
from ._steps.records import Diagnosis, Finding, Lost, Repair
from ._steps.report import Outcome
from ._wire import epmd


class Mode(enum.Enum):
    """How far to go: up to the verdicts, up to what would be done, or all the way."""

    DIAGNOSE = "diagnose"
    PREDICT = "predict"
    REPAIR = "repair"


def ensure(options: Options, mode: Mode) -> Outcome:
    """See how the nodes of this host are, and in Mode.REPAIR have those that are lost registered.

    Errors: EpmdError alone, whatever goes wrong, with a sentence that is legible.
    """
    try:
        return _ensure(options, mode)
    except Exception as error:
        raise in_words(error) from None


def _ensure(options: Options, mode: Mode) -> Outcome:
    check(options)
    found = observe.find(options)
    wanted = [vm for vm in found if observe.may_be_wanted(vm, options)]
    observations = observe.observe(wanted, options)
    findings = diagnose.diagnose([seen for seen in observations if observe.is_wanted(seen, options)])
    findings = _settle_doubts(findings, options, mode)
    findings = _name_who_is_in_the_way(findings, options)
    if mode is not Mode.DIAGNOSE:
        findings = _repair(findings, options, mode)

    others = [vm for vm in found if vm not in wanted]
    ports = sorted({epmd.DEFAULT_PORT, options.epmd_port or epmd.DEFAULT_PORT}) if mode is Mode.DIAGNOSE else []
    epmds = daemons.describe(findings, ports, others, options.timeout)
    absent = report.missing(findings, options)
    why_absent = []
    if absent:
        from ._steps import holders

        names = [vm.command_line.name for vm in others] + [seen.known_name for seen in observations]
        why_absent = holders.explain_missing(absent, [name for name in names if name], epmds, options)
    return report.outcome(findings, epmds, absent, why_absent, options, is_prediction=mode is not Mode.REPAIR)


def _settle_doubts(findings: list[Finding], options: Options, mode: Mode) -> list[Finding]:
    """Have nodes that may need no epmd say so themselves; one that is to be repaired is asked while that is done."""

    def doubt(finding: Finding) -> Lost | None:
        is_later = mode is Mode.REPAIR and finding.diagnosis.lost is not None
        return None if is_later else finding.diagnosis.doubtful

    doubtful = [node for node in map(doubt, findings) if node]
    if not doubtful:
        return findings
    from ._steps import repair

    answers = iter(repair.ask(doubtful, options))
    return [_told(finding, next(answers)) if doubt(finding) else finding for finding in findings]


def _name_who_is_in_the_way(findings: list[Finding], options: Options) -> list[Finding]:
    if not any(finding.diagnosis.verdict in diagnose.BLOCKED for finding in findings):
        return findings
    from ._steps import holders

    return holders.name_them(findings, options.timeout)


def _repair(findings: list[Finding], options: Options, mode: Mode) -> list[Finding]:
    lost = [finding.diagnosis.lost for finding in findings if finding.diagnosis.lost]
    if not lost:
        return findings
    from ._steps import repair

    act = repair.repair if mode is Mode.REPAIR else repair.predict
    repairs = iter(act(lost, options))
    return [_repaired(finding, next(repairs)) if finding.diagnosis.lost else finding for finding in findings]


def _repaired(finding: Finding, repair: Repair) -> Finding:
    """The finding after its repair, or with another verdict after what the node has said itself."""
    if repair.reason in _VERDICTS_OF_THE_NODE:
        return finding._replace(diagnosis=Diagnosis(repair.reason, repair.msg))
    return finding._replace(repair=repair)


_VERDICTS_OF_THE_NODE = (diagnose.NOT_APPLICABLE, diagnose.UNIDENTIFIED)
"""What a node that was asked, or could not be, ends in; errors for one of these have it as their reason."""


def _told(finding: Finding, answer: Exception | None) -> Finding:
    reason = getattr(answer, "reason", "")
    return finding._replace(diagnosis=Diagnosis(reason, str(answer))) if reason in _VERDICTS_OF_THE_NODE else finding
