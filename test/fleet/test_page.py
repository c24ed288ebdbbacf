"""`fleet.html` as a person sees it: in a real browser, without a network."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from zmask_ros.fleet.replay import DriveReport, FleetReplay, Moment
from zmask_ros.fleet.report import fleet_html
from zmask_ros.fleet.tally import FleetTally, Skipped

if TYPE_CHECKING:
    from playwright.sync_api import Page

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
NAME, FRAMES, ALARMS, DISTANCE = 0, 1, 5, 7
"""Columns of the table of drives."""


def drive(bag: str, frames: int, alarms: int, distance: float | None, fit: str = "OK") -> DriveReport:
    moments = [Moment(65.0 + number, 0.5, 10**9, 3, 2.5) for number in range(alarms)]
    figures: dict[str, Any] = {"frames": frames, "flagged": 3 * alarms, "masked": 0, "unknown": 0, "alarms": alarms}
    figures |= {"profile_fit": fit, "profile_distance_p50": distance}
    return DriveReport(bag, 0.5, 2.0, [0.1, 0.2, 0.3, 0.4, 0.5, 2.5], figures, moments, [])


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page of four drives, of which one needs a look most."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("there is no Chromium on this machine: apt install chromium")
    folder = tmp_path_factory.mktemp("page")
    (folder / "b.mcap").write_bytes(b"a bag")
    drives = [
        drive(str(folder / "b.mcap"), 900, 2, 3.1, "ERROR"),
        drive("s3://fleet/<i>a</i>.mcap", 1000, 4, 0.4),
        drive("https://fleet.example/c.mcap", 80, 0, None, "UNKNOWN"),
        drive(str(folder / "d.mcap"), 9, 1, 0.2),
    ]
    done = FleetReplay(tuple(drives), FleetTally(2, 1, (Skipped("e.mcap", "it is <b>no</b> bag"),)))
    place = folder / "fleet.html"
    place.write_text(fleet_html(done))
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1400, "height": 500})
        page.troubles = []
        page.on("console", lambda message: page.troubles.append(message.text))
        page.on("pageerror", lambda error: page.troubles.append(str(error)))
        page.on("request", lambda request: request.url.startswith("file:") or page.troubles.append(request.url))
        page.goto(place.as_uri())
        yield page
        chromium.close()


def column(page: Page, number: int) -> list[str]:
    cells = page.locator(f"#drives tr td:nth-child({number + 1})").all()
    return [cell.inner_text() for cell in cells]


def click_head(page: Page, number: int) -> None:
    page.locator("#drives th").nth(number).click()


def test_it_opens_without_any_trouble_and_asks_nobody(opened: Page) -> None:
    assert opened.title() == "Fleet: 4 drives"
    assert opened.inner_text("h1") == "Fleet: 4 drives"
    # Names are text, whatever is in them.
    assert "s3://fleet/<i>a</i>.mcap" in column(opened, NAME) and opened.locator("#drives i").count() == 0
    assert opened.inner_text("#skipped tr:nth-child(2) td:nth-child(2)") == "it is <b>no</b> bag"
    assert opened.locator("#drives svg").first.bounding_box()["width"] > 100
    assert opened.troubles == []


def test_columns_sort_by_what_they_show_and_back(opened: Page) -> None:
    assert column(opened, FRAMES) == ["900", "1000", "80", "9"]
    for number, values in ((FRAMES, ["1000", "900", "80", "9"]), (ALARMS, ["8", "4", "2", "0"])):
        for expected in (values, values[::-1]):
            click_head(opened, number)
            assert column(opened, number) == expected
    # What has no distance is last, both ways.
    for expected in (["3.10", "0.40", "0.20", "-"], ["0.20", "0.40", "3.10", "-"]):
        click_head(opened, DISTANCE)
        assert column(opened, DISTANCE) == expected
    click_head(opened, NAME)
    names = column(opened, NAME)
    assert names == sorted(names) and len(names) == 4
    assert opened.locator("#drives th[aria-sort]").count() == 1
    assert opened.troubles == []


def test_links_lead_to_the_moments_and_to_the_bags(opened: Page) -> None:
    links = opened.locator("#drives a")
    assert links.count() == 4
    for number in range(4):
        link = links.nth(number)
        name, target = link.inner_text(), link.get_attribute("href")
        link.click()
        heading = opened.locator(target)
        box = heading.bounding_box()
        # It was scrolled to, as far as the page goes.
        assert box is not None and -1 <= box["y"] < 500 and heading.inner_text() == name
    to_bags = {link.inner_text(): link.get_attribute("href") for link in opened.locator("h3 a").all()}
    assert [href for name, href in to_bags.items() if name.endswith("c.mcap")] == ["https://fleet.example/c.mcap"]
    (local,) = (Path(name).as_uri() for name in to_bags if name.endswith("b.mcap"))
    assert local in to_bags.values() and not any(name.startswith("s3:") for name in to_bags)
    moments = opened.locator("table.moments").first
    assert moments.locator("tr").nth(1).locator("td").first.inner_text() == "0:01:05"
    assert math.isclose(float(moments.locator("tr").nth(1).locator("td").nth(3).inner_text()), 2.5)
    assert opened.troubles == []
