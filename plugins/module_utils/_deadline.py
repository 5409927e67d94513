# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One absolute end for all the work on one node, from which every wait takes what is left.

Standard: `time.monotonic`, which no change of the clock moves. Private to the collection.
"""

from __future__ import annotations

import time

from ._errors import TimedOut


class Deadline:
    """An absolute end, `seconds` from now."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left, above 0. Errors: TimedOut."""
        left = self.unused()
        if not left:
            raise TimedOut(f"no answer within {self.seconds:.3g} s")
        return left

    def unused(self) -> float:
        """Seconds left, 0 at least: what the next step may use."""
        return max(0.0, self._end - time.monotonic())

    def share(self, parts: int) -> Deadline:
        """An earlier end, so that `parts` tries fit into what is left. Errors: TimedOut."""
        return Deadline(self.left() / parts)
