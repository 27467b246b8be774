"""The page in headless Chromium without network: clicked through on a screen, on a phone, and printed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from report_cases import HOSTILE, write_whole_run

from boltzgen.workflows.reporting.report import report

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))),
    None,
)

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on this machine; apt-get install chromium"
)

#: WebGL without a graphics card.
WITH_WEBGL = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


@pytest.fixture(scope="module")
def page(tmp_path_factory, alanine_dipeptide) -> Any:
    """Of a run whose molecule has a name that would be HTML."""
    folder = tmp_path_factory.mktemp("browser")
    write_whole_run(folder / "DIR", alanine_dipeptide, rows=250)
    replace(alanine_dipeptide, name=HOSTILE).save(folder / "DIR" / "SYS")
    answer = {"sentences": [HOSTILE], "verdict": "ok", "next": [HOSTILE]}
    (folder / "DIR" / "answer.json").write_text(json.dumps(answer))
    return report(folder / "DIR", folder / "report.html")


@pytest.fixture(scope="module")
def browsers() -> Iterator[Any]:
    """A function from Chromium's options to a browser."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright drives the browser; pip install playwright"
    )
    with playwright.sync_playwright() as driver:
        made: dict[tuple[str, ...], Any] = {}

        def browser(*options: str) -> Any:
            if options not in made:
                made[options] = driver.chromium.launch(executable_path=CHROMIUM, args=list(options))
            return made[options]

        yield browser
        for one in made.values():
            one.close()


def opened(browser: Any, path: Path, width: int, height: int) -> tuple[Any, list[str]]:
    """The page at this size, with the network off; what it asked for or complained of."""
    context = browser.new_context(viewport={"width": width, "height": height}, offline=True)
    tab, troubles = context.new_page(), []
    tab.on("pageerror", lambda error: troubles.append(str(error)))
    tab.on("console", lambda one: troubles.append(one.text) if one.type == "error" else None)
    tab.on(
        "request",
        lambda one: troubles.append(one.url) if not one.url.startswith(("file:", "data:", "blob:")) else None,
    )
    tab.goto(path.as_uri())
    tab.wait_for_timeout(300)
    return tab, troubles


def test_clicked_through_on_a_screen(page, browsers):
    tab, troubles = opened(browsers(*WITH_WEBGL), page.path, 1280, 900)
    for name in page.numbers["sections"]:
        tab.click(f'nav a[href="#{name}"]')
        assert tab.evaluate("location.hash") == f"#{name}"
        assert tab.locator(f"section#{name}").bounding_box()["height"] > 30
    stage = tab.locator("#stage")
    assert tab.locator("#stage canvas").count() == 1 and tab.locator("#without").count() == 0
    assert stage.get_attribute("data-shown") == f"{len(page.numbers['sections']['ensemble']['rows'])} at once"
    tab.select_option("#colour", "torsion0")
    assert "120°" in tab.inner_text("#legend")
    tab.click("#one")
    tab.click("#after")
    rows = page.numbers["sections"]["ensemble"]["rows"]
    assert stage.get_attribute("data-shown") == f"row {rows[1]}"
    heaviest = page.numbers["sections"]["weights"]["heaviest"][3]["row"]
    tab.click(f'button[data-row="{heaviest}"]')
    assert stage.get_attribute("data-shown") == f"row {heaviest}" and "of all weight" in tab.inner_text(
        "#told"
    )
    tab.click("#all")
    for one in tab.locator("summary").all():
        one.click()
    assert tab.locator("#bibtex").is_visible()
    assert tab.evaluate("window.hostile") is None and HOSTILE in tab.inner_text("h1") and troubles == []
    # something is drawn: not all of the view is white
    colours = "() => { const c = document.createElement('canvas'), i = document.getElementById('still'); "
    colours += "c.width = 60; c.height = 60; const p = c.getContext('2d'); p.drawImage(i, 0, 0, 60, 60); "
    colours += "return new Set(p.getImageData(0, 0, 60, 60).data).size; }"
    tab.wait_for_function("document.getElementById('still').complete")
    assert tab.evaluate(colours) > 5


def test_on_a_phone_nothing_is_wider_than_the_screen(page, browsers):
    tab, troubles = opened(browsers(*WITH_WEBGL), page.path, 360, 780)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360 and troubles == []
    svgs = "[...document.querySelectorAll('figure svg')]"
    widest = f"() => Math.max(...{svgs}.map((one) => one.getBoundingClientRect().right))"
    assert tab.evaluate(widest) <= 360
    assert (
        tab.evaluate(
            "() => Math.min(...[...document.querySelectorAll('button')].map((b) => b.offsetHeight || 99))"
        )
        >= 32
    )


def test_printed_everything_is_open_and_on_paper(page, browsers, tmp_path):
    tab, troubles = opened(browsers(*WITH_WEBGL), page.path, 1280, 900)
    paper = tab.pdf(format="A4")
    assert paper.startswith(b"%PDF") and 4 <= paper.count(b"/Type /Page\n") <= 40 and troubles == []
    tab.emulate_media(media="print")
    assert not tab.locator("nav").is_visible() and not tab.locator("#one").is_visible()
    assert tab.evaluate("document.documentElement.scrollWidth") <= 1280


def test_without_webgl_words_stand_in_its_place(page, browsers):
    tab, troubles = opened(
        browsers("--no-sandbox", "--disable-gpu", "--disable-3d-apis"), page.path, 800, 600
    )
    assert "WebGL" in tab.inner_text("#without") and not tab.locator("#one").is_visible()
    assert not tab.locator("button[data-row]").first.is_visible() and troubles == []
    assert tab.locator("figure svg").count() > 8
