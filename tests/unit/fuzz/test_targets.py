# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every target of the fuzzer with the inputs of its corpus, and with bytes made of its own words. Needs no fuzzer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.beamops.epmd.tests.fakes import HOSTILE_MEBIBYTES, grows_by_less_than
from ansible_collections.beamops.epmd.tests.unit.fuzz import corpus
from ansible_collections.beamops.epmd.tests.unit.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_of_the_corpus_does_harm(name: str) -> None:
    with TARGETS[name].around(), grows_by_less_than(HOSTILE_MEBIBYTES):
        for data in corpus.load(name):
            for end in {len(data), *range(0, len(data), 1 + len(data) // 20)}:  # whole, and cut off
                TARGETS[name].run(data[:end])


def test_the_corpus_is_of_these_targets_and_small() -> None:
    assert {path.stem for path in corpus.DIRECTORY.iterdir()} == set(TARGETS)
    assert sum(path.stat().st_size for path in corpus.DIRECTORY.iterdir()) < 300 << 10


@pytest.mark.parametrize("name", TARGETS)
def test_no_bytes_do_harm(name: str) -> None:
    piece = st.one_of(st.sampled_from(TARGETS[name].words), st.binary(max_size=6))

    @given(st.one_of(st.binary(max_size=200), st.lists(piece, max_size=20).map(b"".join)))
    @settings(max_examples=100)
    def no_bytes(data: bytes) -> None:
        TARGETS[name].run(data)

    with TARGETS[name].around():
        no_bytes()
