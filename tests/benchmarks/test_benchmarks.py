# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each benchmark at its smallest size: it runs, and gives tables and a plot. The times are not checked."""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from ansible_collections.beamops.epmd.benchmarks import plots, report, run

PAGES = Path(__file__).parents[2] / "docs" / "docsite" / "rst"


@pytest.mark.parametrize("name", list(run.BENCHMARKS))
def test_it_runs_and_is_written_into_the_documentation(name: str, tmp_path: Path) -> None:
    result = run.BENCHMARKS[name].measure(smoke=True)
    file = tmp_path / "results.json"
    run.keep(file, result)
    page = Path(shutil.copy(PAGES / "scale.rst", tmp_path))
    report.main(file, tmp_path)
    filled = page.read_text()
    if result.constants:
        start = report.seconds(result.constants["start"])
        assert f'"a start of ``ansible``, with nothing to do on a host","{start}"' in filled
    report.main(file, tmp_path)
    assert page.read_text() == filled
    plots.main(file, tmp_path / "images")

    text = (tmp_path / "benchmarks.rst").read_text()
    assert f"\n{result.title}\n---" in text
    for table in result.tables:
        assert table.rows
        for row in table.rows:
            assert len(row.base) == len(row.ours) == len(row.compared) == 1
            cells = '","'.join(row.case.values())
            assert f'\n   "{cells}","' in text
    assert f".. image:: images/{name}.svg" in text
    assert ET.parse(tmp_path / "images" / f"{name}.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"
