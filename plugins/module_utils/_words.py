# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers and times in words. Pure, and private to the collection.

Standard: ISO 8601 for times.
"""

from __future__ import annotations

import time


def number_of(number: int, noun: str) -> str:
    """`1 host`, `2 hosts`; for a noun whose plural has an s."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def in_iso(seconds: float) -> str:
    """A time, in seconds since 1970, in UTC: `2026-11-27T03:31:07Z`."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
