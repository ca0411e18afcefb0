"""The page as it comes from the server, which is all of it for a browser without scripts."""

from __future__ import annotations

from html.parser import HTMLParser
from importlib import resources

import pytest
from looked_at import NOW_MS, MadeUp, connection_detail, journal_entry, stream_detail

from ingest_actors.console.cells import age, clock, count, meter, milliseconds, moment, rate, size, span
from ingest_actors.console.page import render_page
from ingest_actors.console.survey import Query
from ingest_actors.console.view import View
from ingest_actors.details import Happening

EMPTY = {"meta", "link", "input", "br"}


class Tree(HTMLParser):
    """Elements with their attributes and texts, in order; and whether all are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.texts = [], [], {}
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append((tag, len(self.elements) - 1))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for _, index in self.open:
            self.texts[index] = self.texts.get(index, "") + data

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]

    def text_of(self, wanted):
        return [self.texts.get(i, "") for i, (name, _) in enumerate(self.elements) if name == wanted]


@pytest.fixture
def made_up():
    return MadeUp(
        [stream_detail(f"s{n:03}usdt@trade") for n in range(120)],
        journal_now=[journal_entry("open"), journal_entry("lost", resolved_by="", recovered=0)],
        happenings_now=[Happening(NOW_MS - 5000, "actor_restarted", "actor=parser cause=RuntimeError('<b>')")],
        connections_now=[connection_detail("ws-1"), connection_detail("ws-1.2", role="about to take over from ws-1")],
    )


@pytest.fixture
def page(status, made_up):
    async def render(query=None, status=status, details=made_up):
        query = query or Query()
        board, streams = await View(lambda: status, details).look(query)
        return Tree(render_page(board, streams, query, instance="binance-ingest", version="1.2.3"))

    return render


async def test_it_begins_with_the_two_answers(page, autojump_clock):
    tree = await page()
    assert tree.text_of("h1") == ["binance-ingest"]
    assert tree.text_of("h2")[:3] == ["Is my data whole?", "Is it fresh?", "Streams"]
    assert tree.text_of("title") == ["Being repaired, Behind – binance-ingest"]


async def test_everything_that_was_promised_is_there(page, autojump_clock):
    headings = (await page()).text_of("h2")
    assert headings[3:] == [
        "Connections", "Ledger by event type", "Gap journal", "What happened lately", "Mailboxes", "Latency", "Kafka",
        "Actors",
    ]  # fmt: skip


async def test_only_the_two_words_are_read_aloud_when_they_change(page, autojump_clock):
    live = [attrs for _, attrs in (await page()).elements if "aria-live" in attrs]
    assert live == [{"class": "word", "aria-live": "polite"}] * 2


async def test_it_has_landmarks_captions_scopes_and_labels(page, autojump_clock):
    tree = await page()
    assert [len(tree.all(tag)) for tag in ("header", "main", "footer", "h1")] == [1, 1, 1, 1]
    assert tree.all("html")[0]["lang"] == "en"
    assert len(tree.all("caption")) == len(tree.all("table")) == 9
    assert all(attrs["scope"] in {"col", "row"} for attrs in tree.all("th"))
    ids = [attrs["id"] for _, attrs in tree.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {attrs["for"] for attrs in tree.all("label")} == {"q", "show"} <= set(ids)
    named = [attrs["aria-labelledby"] for _, attrs in tree.elements if "aria-labelledby" in attrs]
    assert set(named) <= set(ids)
    assert all(attrs.get("tabindex", "0") in {"0", "-1"} for _, attrs in tree.elements)


async def test_without_scripts_it_is_filtered_sorted_and_turned_by_a_form(page, autojump_clock):
    tree = await page(Query("s0", "all", "-symbol", 2))
    assert tree.all("form") == [
        {"id": "filter", "role": "search", "aria-label": "Streams", "action": "/", "method": "get"}
    ]
    buttons = {(attrs.get("name"), attrs.get("value")): attrs for attrs in tree.all("button")}
    assert ("sort", "symbol") in buttons  # it is sorted downwards now
    assert ("sort", "-rate") in buttons
    assert ("page", "1") in buttons
    assert "disabled" in buttons["page", "3"]
    assert next(attrs["aria-sort"] for attrs in tree.all("th") if "aria-sort" in attrs) == "descending"
    assert "Page 2 of 2" in tree.text_of("span")
    assert {"id": "sort", "name": "sort", "type": "hidden", "value": "-symbol"} in tree.all("input")


async def test_the_filter_is_escaped(page, autojump_clock):
    tree = await page(Query('"><script>alert(1)</script>'))
    assert len(tree.all("script")) == 1
    assert tree.all("input")[0]["value"] == '"><script>alert(1)</script>'


async def test_the_journal_and_what_happened_begin_with_the_newest(page, autojump_clock):
    tree = await page()
    rows = [text for text in tree.text_of("tr") if "lost" in text or "open" in text]
    assert next(row for row in rows if "btcusdt@trade" in row).endswith("disconnected100–139")
    assert any("actor_restarted" in row and "<b>" in row for row in tree.text_of("tr"))


async def test_a_service_that_tells_of_no_particulars_has_a_page_too(page, autojump_clock):
    tree = await page(details=None)
    assert "Streams" not in tree.text_of("h2")
    assert "Gap journal" not in tree.text_of("h2")
    assert "Connections" in tree.text_of("h2")


async def test_one_picture_weighs_little_whatever_there_is(make_status, make_connection, autojump_clock):
    streams = [stream_detail(f"{'s' * 60}{n}@trade") for n in range(5000)]
    made_up = MadeUp(
        streams,
        connections_now=[connection_detail(f"ws-{n}", url="wss://" + "x" * 5000) for n in range(1000)],
        journal_now=[journal_entry()] * 100,
        happenings_now=[Happening(NOW_MS, "actor_restarted", "y" * 240)] * 60,
    )
    status = make_status(
        connections=tuple(make_connection(f"ws-{n}", "waiting") for n in range(1000)),
        ledger={f"kind{n}" * 50: entry for n in range(1000) for entry in make_status().ledger.values()},
    )
    board, page = await View(lambda: status, made_up).look(Query())
    assert len(render_page(board, page, Query(), instance="x", version="1")) < 300_000
    assert len(page.rows) == 50


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (span(0.34), "0.3 s"), (span(12.4), "12 s"), (span(119), "119 s"), (span(125), "2 min"),
        (span(7500), "2 h 5 min"), (span(86400 * 4 + 3600 * 3), "4 d 3 h"), (age(None), "never"), (age(0.9), "now"),
        (age(3.2), "3 s"), (age(75), "75 s"), (milliseconds(None), "–"), (milliseconds(0.0042), "4.2 ms"),
        (milliseconds(0.12), "120 ms"), (milliseconds(1.44), "1.4 s"), (size(512), "512 B"), (size(3 << 20), "3.0 MiB"),
        (size(64 << 20), "64.0 MiB"), (size(10 << 30), "10.0 GiB"), (size(5 << 40), "5120 GiB"), (rate(12.34), "12.3"),
        (rate(12345.6), "12,346"), (count(1234567), "1,234,567"), (moment(NOW_MS), "2023-11-14 22:15:00 UTC"),
        (clock(NOW_MS - 1000, NOW_MS), "22:14:59"), (clock(NOW_MS - 86_400_000, NOW_MS), "13 Nov 22:15"),
        (meter(0.42).text, "42%"), (meter(7).ratio, 1.0), (meter(0.6).tone, "warn"), (meter(0.95).tone, "bad"),
    ],
)  # fmt: skip
def test_figures_are_in_words(shown, text):
    assert shown == text


def _luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _contrast(one, other):
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_every_text_has_a_contrast_of_at_least_four_and_a_half(scheme):
    style = (resources.files("ingest_actors.console") / "assets/console.css").read_text()
    block = style.split(":root {")[scheme + 1].partition("}")[0]
    items = (item.partition(":") for item in block.split(";"))
    colours = {name.strip(): value.strip() for name, _, value in items if name.strip().startswith("--")}
    pairs = [(text, back) for text in ("--ink", "--soft", "--focus") for back in ("--page", "--card")]
    for tone in ("good", "warn", "bad", "idle"):
        pairs += [(f"--{tone}", f"--{tone}-back"), ("--ink", f"--{tone}-back"), (f"--{tone}", "--card")]
    low = {pair: _contrast(colours[pair[0]], colours[pair[1]]) for pair in pairs}
    assert {pair: round(value, 2) for pair, value in low.items() if value < 4.5} == {}
