# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers and times in words."""

from __future__ import annotations

from ansible_collections.beamops.epmd.plugins.module_utils._words import in_iso, number_of


def test_one_has_no_plural() -> None:
    assert [number_of(number, "host") for number in (0, 1, 2)] == ["0 hosts", "1 host", "2 hosts"]


def test_a_time_is_utc_in_whole_seconds() -> None:
    assert in_iso(0) == "1970-01-01T00:00:00Z"
    assert in_iso(1795750267.9) == "2026-11-27T03:31:07Z"
