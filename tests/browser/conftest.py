# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages in a real browser: Debian's headless Chromium, driven by Playwright. See tests/toolchain/browser."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from ansible_collections.beamops.epmd.plugins.plugin_utils._fleet import Record
from ansible_collections.beamops.epmd.plugins.plugin_utils._page import page as render

Open = Callable[..., Page]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for all tests."""
    with sync_playwright() as playwright:
        # Root may not use its sandbox; the pages are ours.
        browser = playwright.chromium.launch(executable_path=os.environ["BEAMOPS_CHROMIUM"], args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def show(chromium: Browser, tmp_path: Path) -> Iterator[Open]:
    """Opens the page of a fleet from a file, as a person does, and fails if it complains or asks for anything else."""
    complaints: list[str] = []
    contexts = []

    def show(fleet: Record, **options: Any) -> Page:
        file = tmp_path / "audit.html"
        file.write_text(render(fleet), encoding="utf-8")
        contexts.append(chromium.new_context(**options))
        opened = contexts[-1].new_page()
        opened.on("console", lambda message: complaints.append(message.text))
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.on("dialog", lambda dialog: complaints.append(dialog.message))
        opened.on("request", lambda request: complaints.extend({request.url} - {file.as_uri()}))
        opened.goto(file.as_uri())
        return opened

    yield show
    for context in contexts:
        context.close()
    assert complaints == []
