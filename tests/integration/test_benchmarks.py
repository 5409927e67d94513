# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each benchmark at its smallest: it runs, and gives a table. How long anything takes is not looked at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.beamops.epmd.benchmarks import report, run


@pytest.mark.parametrize("name", list(run.BENCHMARKS))
def test_it_runs_and_gives_a_table(name: str, tmp_path: Path) -> None:
    result = run.BENCHMARKS[name].measure(smoke=True)
    file = tmp_path / "results.json"
    run.keep(file, result)
    text = report.benchmarks(json.loads(file.read_text()))
    assert f"## {result.title}" in text
    for table in result.tables:
        assert table.rows
        for row in table.rows:
            assert len(row.base) == len(row.ours) == len(row.compared) == 1
            assert f"| {' | '.join(row.case.values())} | " in text
