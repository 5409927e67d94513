# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No room has the name of one of ansible-core's: in a checkout, ansible.cfg would have ours taken for theirs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._wire import epmd

ROOMS = sorted(path.stem for path in Path(epmd.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_ansible_has_nothing_of_this_name(room: str) -> None:
    assert importlib.util.find_spec(f"ansible.module_utils.{room}") is None
