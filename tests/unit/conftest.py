# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For all unit tests: the same examples in every run of a property test. `make fuzz` looks for new ones.

Another one has run before all tests: what is forked has its objects hidden from the garbage collector before, where the
oldest Hypothesis would look for its random numbers the first time, and warn that they are gone.
"""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

# What runs on a controller alone needs the oldest Python of an ansible-core that the collection supports.
collect_ignore = [] if sys.version_info >= (3, 10) else ["plugins/plugin_utils"]

settings.register_profile("same", derandomize=True, database=None, deadline=None)
settings.load_profile("same")


@pytest.fixture(scope="session", autouse=True)
def _first_examples() -> None:
    """Have Hypothesis run once before all tests."""

    @given(st.none())
    def first(_nothing: None) -> None:
        pass

    first()
