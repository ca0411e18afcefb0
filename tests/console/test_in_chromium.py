"""The page in a real browser. Skipped where Chromium (`apt-get install chromium`) or playwright (PyPI) is missing."""

from __future__ import annotations

import shutil

import pytest
from looked_at import MadeUp, journal_entry, served, stream_detail

from ingest_actors.console import events

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install playwright)")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium (apt-get install chromium)"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # playwright's own pipes
]

CONTRAST = """
() => {
  const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const over = (top, below) => {
    const alpha = top[3] ?? 1;
    return [0, 1, 2].map((i) => top[i] * alpha + below[i] * (1 - alpha));
  };
  const luminance = (rgb) => [0.2126, 0.7152, 0.0722].reduce((sum, w, i) => sum + w * linear(rgb[i] / 255), 0);
  const background = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
  };
  const low = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const unseen = !element.checkVisibility() || element.closest(":disabled, noscript, meter");
    if (!walker.currentNode.data.trim() || unseen) continue;
    const back = background(element);
    const [one, other] = [luminance(over(parse(getComputedStyle(element).color), back)), luminance(back)];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < 4.5) low.push([walker.currentNode.data.trim().slice(0, 40), ratio]);
  }
  return low;
}
"""

NAMELESS = """
() => [...document.querySelectorAll(
  "button, input:not([type=hidden]), select, a, meter, table, nav, form, [role=region]")]
  .filter((e) => !(e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.textContent.trim()
    || (e.labels && e.labels.length)))
  .map((e) => e.outerHTML.slice(0, 80))
"""


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def made_up():
    streams = [stream_detail(f"s{n:03}usdt@{kind}") for n in range(60) for kind in ("trade", "depth@100ms")]
    return MadeUp(streams, journal_now=[journal_entry()])


@pytest.fixture
def open_page(browser, status, made_up):
    """`open_page(path, context=..., **served)`: the page, and what ends the service; complaints fail the test."""
    ends, complaints = [], []

    def start(path="/", context=None, look=lambda: status, **options):
        serving = served(look, details=made_up, **options)
        url, end = serving.__enter__()
        tab = browser.new_context(**(context or {}))
        page = tab.new_page()
        page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        ends.extend([(tab.close, ()), (serving.__exit__, (None, None, None))])
        page.goto(url + path)
        page.end = end
        return page

    start.complaints = complaints
    yield start
    for end, arguments in ends:
        end(*arguments)


def live(page):
    playwright.expect(page.locator("#live")).to_contain_text("Live, as of")


def symbols(page):
    return page.locator("#table-streams tbody th")


def test_it_is_kept_up_to_date(open_page, made_up):
    page = open_page()
    live(page)
    playwright.expect(page.locator("#whole .word")).to_have_text("Being repaired")
    made_up.streams_now[0] = stream_detail("s000usdt@trade", state="silent")
    playwright.expect(page.locator("#table-streams tbody tr").first).to_contain_text("silent")
    made_up.draining = True
    playwright.expect(page.locator("#fresh .word")).to_have_text("Stopping")
    playwright.expect(page).to_have_title("Being repaired, Stopping – binance-ingest")
    assert open_page.complaints == []


def test_it_looks_the_same_from_the_script_as_from_the_server(open_page):
    page = open_page(context={"java_script_enabled": False})
    told = page.locator("main").inner_text()
    scripted = open_page()
    live(scripted)
    scripted.wait_for_timeout(1500)
    assert scripted.locator("main").inner_text().replace("\n", " ").split() == [
        word for word in told.replace("\n", " ").split() if word != "Apply"
    ]


def test_filtering_sorting_and_turning_pages_load_nothing_again(open_page):
    page = open_page()
    page.evaluate("window.kept = true")
    playwright.expect(symbols(page)).to_have_count(50)
    page.get_by_role("button", name="Next").click()
    playwright.expect(page.locator("#pages")).to_have_text("Page 2 of 3")
    page.get_by_role("button", name="Symbol").click()
    playwright.expect(symbols(page).first).to_have_text("S000USDT")
    page.get_by_role("button", name="Symbol").click()
    playwright.expect(symbols(page).first).to_have_text("S059USDT")
    playwright.expect(page.locator("th", has_text="Symbol").first).to_have_attribute("aria-sort", "descending")
    page.get_by_label("Filter by name").fill("s007")
    playwright.expect(symbols(page)).to_have_count(2)
    assert "q=s007" in page.url
    assert "sort=-symbol" in page.url
    page.get_by_label("Filter by name").fill("")
    page.get_by_label("Show").select_option("silent")
    playwright.expect(page.locator("#table-streams .note")).to_have_text("No stream fits the filter.")
    assert page.evaluate("window.kept")
    assert open_page.complaints == []


def test_without_scripts_the_same_works_by_loading_it_again(open_page):
    page = open_page(context={"java_script_enabled": False})
    page.get_by_label("Filter by name").fill("s007")
    page.get_by_role("button", name="Apply").click()
    playwright.expect(symbols(page)).to_have_count(2)
    page.get_by_role("button", name="Symbol").click()
    assert "q=s007" in page.url
    playwright.expect(page.locator("th", has_text="Symbol").first).to_have_attribute("aria-sort", "ascending")


def test_a_service_that_has_ended_does_not_look_well(open_page):
    page = open_page()
    live(page)
    page.end()
    playwright.expect(page.locator("#live")).to_contain_text("The service has stopped. What is shown is of")
    playwright.expect(page).to_have_title("Not live – binance-ingest")
    assert page.evaluate("document.documentElement.classList.contains('old')")


def test_with_a_token_a_browser_logs_in_and_is_kept_up_to_date(open_page):
    page = open_page(context={"http_credentials": {"username": "me", "password": "a long token"}}, token="a long token")
    live(page)
    assert [text for text in open_page.complaints if "401" not in text] == []


def test_the_keyboard_reaches_everything_in_order_and_shows_where_it_is(open_page):
    page = open_page()
    seen = []
    for _ in range(8):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert seen[:4] == ["Skip to the answers", "q", "show", "Symbol"] or seen[:3] == [
        "Skip to the answers",
        "q",
        "show",
    ]
    page.keyboard.press("Enter")


def test_an_update_takes_the_focus_from_nobody(open_page, made_up):
    page = open_page()
    live(page)
    page.get_by_role("button", name="Rate").focus()
    made_up.streams_now[0] = stream_detail("s000usdt@trade", state="silent")
    playwright.expect(page.locator("#table-streams tbody tr").first).to_contain_text("silent")
    assert page.evaluate("document.activeElement.textContent") == "Rate"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_it_can_be_read_and_named_in_every_width_and_scheme(open_page, scheme, width):
    page = open_page(context={"color_scheme": scheme, "viewport": {"width": width, "height": 844}})
    live(page)
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate(NAMELESS) == []
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    small = page.evaluate(
        "[...document.querySelectorAll('button, input, select')].filter((e) => e.checkVisibility() &&"
        " e.getBoundingClientRect().height < 24).map((e) => e.outerHTML.slice(0, 60))"
    )
    assert small == []
    assert page.get_by_role("main").count() == 1
    assert page.get_by_role("search").count() == 1
    assert page.get_by_role("table", name="Streams").count() + page.get_by_role("region", name="Streams").count() >= 1


def test_too_many_pages_are_told_so(open_page, browser, monkeypatch):
    monkeypatch.setattr(events, "CLIENTS_MAX", 0)
    page = open_page()
    playwright.expect(page.locator("#live")).to_contain_text("Too many pages are open; close one.")
