# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a fleet, as a person sees and uses it: plugins/plugin_utils/_page.py and playbooks/templates/fleet.*."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from ansible_collections.beamops.epmd.plugins.module_utils._legible import legible
from ansible_collections.beamops.epmd.tests.browser.conftest import Open
from ansible_collections.beamops.epmd.tests.browser.fleets import HOSTILE, fleet, hostile

PHONE: dict[str, Any] = {"viewport": {"width": 320, "height": 640}, "device_scale_factor": 2, "has_touch": True}
"""As narrow as WCAG 2.2 asks for (1.4.10, reflow)."""

DARK: dict[str, Any] = {"color_scheme": "dark"}
SENTENCE = "3 of 193 nodes are lost, on 3 of 100 hosts; 1 host could not be reached, 1 has no Python"


def hosts(page: Page) -> list[str]:
    """The hosts that are seen, from top to bottom."""
    return list(page.locator("tbody tr:visible th").all_text_contents())


def test_first_the_sentence_then_what_to_type_then_the_hosts_that_need_somebody(show: Open) -> None:
    page = show(fleet(100))
    assert page.title() == SENTENCE
    assert page.locator("h1").inner_text() == SENTENCE
    assert page.locator("header").inner_text().count("2026-11-27 03:31:07") == 1
    command = "ansible-playbook -i /etc/ansible/hosts beamops.epmd.recover --limit web18,web24,web92"
    assert page.locator("code").inner_text() == command
    assert hosts(page)[:6] == ["web18", "web24", "web32", "web43", "web92", "web62"]
    row = page.locator("tbody tr").first
    assert row.locator("td").first.inner_text() == "1 of 2 nodes lost"
    assert "epmd has no name ejabberd" in row.inner_text()
    # Above the fold: a person sees them without doing anything.
    assert row.bounding_box()["y"] < 720
    risky = page.locator("tr", has=page.locator("bdi", has_text="shop.service"))
    assert "at risk" in risky.inner_text()
    assert "open to any network" in risky.inner_text()
    assert (
        page.locator("tr", has_text="web84").locator("td").nth(2).text_content()
        == "port 4369 up on 127.0.0.1, epmd.service"
    )


def test_search_filter_and_sort(show: Open) -> None:
    page = show(fleet(100))
    shown = page.locator("#shown")
    page.get_by_label("Search").fill("EJABBERD missing")
    expect(page.locator("#shown")).to_have_text("1 of 100 hosts")
    assert hosts(page) == ["web18"]
    page.get_by_label("Search").fill("")
    expect(page.locator("#shown")).to_have_text("100 of 100 hosts")
    choices = page.get_by_label("Show")
    assert choices.locator("option").all_inner_texts() == [
        "all hosts (100)",
        "that need somebody (5)",
        "with a lost node (3)",
        "whose epmd ends with somebody else (1)",
        "whose epmd is open to any network (94)",
    ]
    for value, number in (("need", 5), ("lost", 3), ("risk", 1), ("open", 94), ("", 100)):
        choices.select_option(value)
        assert shown.inner_text() == f"{number} of 100 hosts"
        assert len(hosts(page)) == number
    title = page.get_by_role("columnheader", name="Host")
    title.get_by_role("button").click()
    assert hosts(page) == [f"web{number}" for number in range(1, 101)]
    assert title.get_attribute("aria-sort") == "ascending"
    title.get_by_role("button").click()
    assert hosts(page) == [f"web{number}" for number in range(100, 0, -1)]
    assert title.get_attribute("aria-sort") == "descending"
    assert page.locator("[aria-sort]").count() == 1
    verdict = page.get_by_role("columnheader", name="Verdict")
    verdict.get_by_role("button").click()
    assert set(hosts(page)[:5]) == {"web18", "web24", "web32", "web43", "web92"}


def test_by_keyboard(show: Open) -> None:
    page = show(fleet(5))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Go to the hosts"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "hosts"
    page.keyboard.press("Tab")
    page.keyboard.type("web3")
    expect(page.locator("#shown")).to_have_text("1 of 5 hosts")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.get_by_role("columnheader", name="Host").get_attribute("aria-sort") == "ascending"


@pytest.mark.parametrize("options", [{}, PHONE, DARK], ids=["desktop", "phone", "dark"])
def test_for_everybody(show: Open, options: dict[str, Any]) -> None:
    """What axe-core finds wrong: contrast, names, roles, order."""
    found = Axe().run(show(fleet(100), **options))
    assert found.response["violations"] == [], found.generate_report()


def test_on_a_phone(show: Open) -> None:
    page = show(fleet(100), **PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    assert page.locator("tbody tr").first.locator("td").nth(1).bounding_box()["width"] > 280
    # The rows are still rows to a screen reader.
    assert page.get_by_role("row").count() == 101
    page.get_by_role("columnheader", name="Host").get_by_role("button").click()
    assert hosts(page)[0] == "web1"


def test_dark(show: Open) -> None:
    light, dark = (show(fleet(1), **options) for options in ({}, DARK))
    colors = [page.evaluate("getComputedStyle(document.body).backgroundColor") for page in (light, dark)]
    assert colors == ["rgb(255, 255, 255)", "rgb(13, 17, 23)"]


def test_on_paper(show: Open) -> None:
    """All of it, dark or not, without what can't be used on paper."""
    page = show(fleet(100), **DARK)
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("form").is_visible()
    assert len(hosts(page)) == 100
    paper = page.pdf(format="A4")
    assert paper.startswith(b"%PDF")
    # The titles are on top of each page of the table.
    assert page.evaluate("getComputedStyle(document.querySelector('thead')).display") == "table-header-group"


def test_hostile_names_are_text(show: Open) -> None:
    """The fixture fails if one of them runs, or asks for something."""
    page = show(hostile())
    assert page.title().startswith("14 of 14 nodes are lost")
    names = page.locator("tbody th bdi").all_text_contents()
    for name in HOSTILE:
        assert legible(name) in names
        assert page.locator("td bdi").get_by_text(legible(name), exact=True).count() > 0
    assert page.locator("img, tbody script").count() == 0
    assert not any(character in page.content() for character in "\u202e\x1b")


def test_without_scripts_every_row_is_there(show: Open) -> None:
    page = show(fleet(100), java_script_enabled=False)
    assert page.locator("tbody tr").count() == 100
    assert not page.locator("form").is_visible()


@pytest.mark.parametrize(("number", "seconds"), [(1000, 1), (10_000, 3)])
def test_a_large_fleet_opens_soon(show: Open, number: int, seconds: int) -> None:
    """Processor time of the process that draws it: how long a person waits on a machine that does nothing else."""
    page = show(fleet(number))
    page.evaluate(DRAWN)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    spent = {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}
    print(f"{number} hosts: {spent['ProcessTime']:.2f} s")
    assert 0 < spent["ProcessTime"] < seconds
    page.get_by_label("Search").fill("missing")
    expect(page.locator("#shown")).to_have_text(f"{number // 100} of {number} hosts")


DRAWN = "() => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve, 0)))"
"""Waits for the next picture of the page, for which all of it has to be laid out."""
