"""Pictures of the console page in real trouble: a simulated exchange, a real Kafka and a real Chromium.

    python tests/console/screenshots.py --out /tmp/pictures
    python tests/console/screenshots.py --streams 5000 --states healthy --schemes dark

It wants Chromium (Debian: `apt-get install chromium`) and `pip install playwright`. For each number of streams:
healthy, the exchange cut off, all repaired, the broker down, an actor that crashes, and ids that are lost (without
backfill); each at desktop and phone width, light and dark. With `--cpu` it also tells what the service's process costs
with no page open, and with one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from ingest_actors.kafka.dev_broker import dev_broker
from ingest_actors.testing import Cut, Drop, Fault, RefuseHandshake, exchange_in_thread, invent_symbols

STATES = ("healthy", "cut", "repaired", "broker", "actor", "lost")
WIDTHS = {"desktop": (1440, 900), "phone": (390, 844)}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"
STREAM_TYPES = ("trade", "aggTrade", "depth@100ms", "kline_1m")
READY_S = 240
CPU_S = 20


class Shown:
    """A service that runs, in a process of its own."""

    def __init__(self, directory, exchange, symbols, types, bootstrap, **settings):
        self.log = directory / f"service-{time.monotonic_ns()}.log"
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "PYTHONPATH") if name in os.environ}
        env = kept | {
            "BINANCE_SYMBOLS": "*" if len(symbols) > 5 else ",".join(symbols),
            "BINANCE_STREAM_TYPES": ",".join(types),
            "BINANCE_WS_URL": exchange.ws_url,
            "BINANCE_REST_URL": exchange.rest_url,
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "INSTANCE_NAME": f"binance-{len(symbols) * len(types)}-streams",
            "HTTP_PORT": "0",
            "RECONNECT_INTERVAL": "3",
            "MAX_RETRIES": "0",
        }
        runner = Path(__file__).with_name("shown_service.py")
        self.process = subprocess.Popen(
            [sys.executable, runner], cwd=directory, env=env | settings, stderr=self.log.open("wb")
        )
        self.url = self.wait("http_listening")["url"]
        self.wait("service_ready")

    def lines(self):
        return [json.loads(line) for line in self.log.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def wait(self, event, count=1, timeout_s=READY_S):
        """The line of that name, when it has come so often."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            found = [line for line in self.lines() if line["event"] == event]
            if len(found) >= count:
                return found[-1]
            if self.process.poll() is not None:
                raise RuntimeError(self.log.read_text()[-3000:])
            time.sleep(0.1)
        raise TimeoutError(event)

    def count(self, event):
        return sum(line["event"] == event for line in self.lines())

    def look(self):
        with urllib.request.urlopen(self.url, timeout=30) as answer:
            return json.load(answer)

    def wait_flowing(self, share=0.9, timeout_s=60):
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            streams = self.look()["streams"]
            if streams["flowing"] >= share * streams["wanted"]:
                return
            time.sleep(1)

    def cpu_s(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Pages:
    """The page in every width and scheme, kept open."""

    def __init__(self, browser, url, out, prefix, schemes):
        self.out, self.prefix, self.pages = out, prefix, {}
        for scheme in schemes:
            for width, (x, y) in WIDTHS.items():
                context = browser.new_context(
                    viewport={"width": x, "height": y}, color_scheme=scheme, device_scale_factor=1
                )
                page = context.new_page()
                page.on("console", lambda said: print("  browser:", said.text))
                page.on("pageerror", lambda error: print("  browser error:", error))
                page.goto(url)
                self.pages[f"{width}-{scheme}"] = page

    def shoot(self, state):
        for name, page in self.pages.items():
            page.screenshot(path=self.out / f"{self.prefix}-{state}-{name}.png", full_page=True)
        words = next(iter(self.pages.values())).locator(".verdict .word").all_inner_texts()
        print(f"{self.prefix:>5} {state:>9}: {' | '.join(words)}", flush=True)

    def close(self):
        for page in self.pages.values():
            page.context.close()


def measure(service, browser):
    """CPU of the whole process, seconds a second: with no page, and with one."""

    def over(seconds):
        began, cpu = time.monotonic(), service.cpu_s()
        time.sleep(seconds)
        return (service.cpu_s() - cpu) / (time.monotonic() - began)

    alone = over(CPU_S)
    context = browser.new_context()
    page = context.new_page()
    page.goto(service.url)
    time.sleep(3)
    watched = over(CPU_S)
    context.close()
    print(f"      CPU: {alone * 1000:.0f} ms/s without a page, {watched * 1000:.0f} ms/s with one", flush=True)


def trouble(service, exchange, broker, pages, wanted):
    """Make it, take pictures of it, and wait until it is over."""
    if {"cut", "repaired"} & wanted:
        exchange.inflict(Fault(RefuseHandshake(503), for_s=15))
        exchange.inflict(Cut())
        time.sleep(4)
        pages.shoot("cut")
        time.sleep(25)
        service.wait_flowing()
        pages.shoot("repaired")
    if "broker" in wanted:
        broker.pause()
        service.wait("kafka_unreachable", service.count("kafka_unreachable") + 1)
        time.sleep(5)
        pages.shoot("broker")
        recovered = service.count("kafka_recovered")
        broker.resume()
        service.wait("kafka_recovered", recovered + 1)
        time.sleep(3)
    if "actor" in wanted:
        for _ in range(2):
            crashes = service.count("actor_restarted")
            service.process.send_signal(signal.SIGUSR1)
            service.wait("actor_restarted", crashes + 1)
        time.sleep(1.5)
        pages.shoot("actor")


def picture(browser, broker, options, streams, directory):
    types = ("trade",) if streams <= 5 else STREAM_TYPES
    symbols = invent_symbols(max(streams // len(types), 1)) if streams > 5 else invent_symbols(streams)
    wanted = set(options.states)
    activity = 1.0 if streams <= 500 else options.activity
    with contextlib.ExitStack() as stack:
        exchange = stack.enter_context(exchange_in_thread(symbols=symbols, activity=activity))

        def start(**settings):
            service = Shown(directory, exchange, symbols, types, broker.bootstrap_servers, **settings)
            stack.callback(service.close)
            service.wait_flowing()
            return service

        if wanted - {"lost"}:
            service = start()
            pages = Pages(browser, service.url, options.out, str(streams), options.schemes)
            time.sleep(6)
            if "healthy" in wanted:
                pages.shoot("healthy")
            trouble(service, exchange, broker, pages, wanted)
            pages.close()
            if options.cpu:
                measure(service, browser)
            service.close()
        if "lost" in wanted:
            service = start(BACKFILL="off")
            pages = Pages(browser, service.url, options.out, str(streams), options.schemes)
            exchange.inflict(Fault(Drop(3), streams=f"{symbols[0].lower()}@trade"))
            service.wait("gap_lost")
            time.sleep(3)
            pages.shoot("lost")
            pages.close()


def main():
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - --help does without

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, nargs="+", default=[5, 500, 5000])
    parser.add_argument("--states", nargs="+", default=list(STATES), choices=STATES)
    parser.add_argument("--schemes", nargs="+", default=["light", "dark"], choices=["light", "dark"])
    parser.add_argument("--activity", type=float, default=0.3, help="of the market with more than 500 streams")
    parser.add_argument("--cpu", action="store_true", help="measure CPU as well")
    parser.add_argument("--out", type=Path, default=Path("pictures"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory, dev_broker() as broker, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for streams in options.streams:
            picture(browser, broker, options, streams, Path(directory))
        browser.close()


if __name__ == "__main__":
    main()
