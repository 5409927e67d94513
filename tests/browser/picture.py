# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""picture.py FILE: take the picture of the page for the README and the documentation; for `make picture`."""

from __future__ import annotations

import os
import sys

from playwright.sync_api import sync_playwright

from ansible_collections.beamops.epmd.plugins.plugin_utils._page import page as render
from ansible_collections.beamops.epmd.tests.browser.fleets import fleet

with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=os.environ["BEAMOPS_CHROMIUM"], args=["--no-sandbox"])
    page = browser.new_page(viewport={"width": 1200, "height": 760})
    page.set_content(render(fleet(100)))
    # It was just looked at.
    page.evaluate("document.querySelector('#age').textContent = ''")
    page.screenshot(path=sys.argv[1])
    browser.close()
