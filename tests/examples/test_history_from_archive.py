"""Rows of the exchange's archive become a recording that `replay` takes; see docs/how-to/backfill-history.md."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "history_from_archive.py"
AGGREGATES = "101,0.50,2.0,7,8,1723075200123,True,True\n102,0.51,1.0,9,9,1735689600123456,False,True\n"
TRADES = "id,price,qty,quote_qty,time,is_buyer_maker,is_best_match\n7,0.50,1.5,0.75,1723075200123,true,true\n"


def lines(*paths):
    done = subprocess.run([sys.executable, EXAMPLE, *paths], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.splitlines()


def test_every_row_becomes_what_the_stream_would_have_sent(tmp_path):
    path = tmp_path / "BTCUSDT-aggTrades-2024-08-08.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("BTCUSDT-aggTrades-2024-08-08.csv", AGGREGATES)
    other = tmp_path / "ETHUSDT-trades-2024-08.csv"
    other.write_text(TRADES)
    told = [line.split(" ", 1) for line in lines(path, other)]
    assert [time for time, _ in told] == ["1723075200123", "1735689600123", "1723075200123"]
    head = '{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","s":"BTCUSDT",'
    trade = '{"stream":"ethusdt@trade","data":{"e":"trade","s":"ETHUSDT",'
    assert [frame for _, frame in told] == [
        head + '"a":101,"p":"0.50","q":"2.0","f":7,"l":8,"T":1723075200123,"m":true,"M":true}}',
        head + '"a":102,"p":"0.51","q":"1.0","f":9,"l":9,"T":1735689600123,"m":false,"M":true}}',
        trade + '"t":7,"p":"0.50","q":"1.5","T":1723075200123,"m":true,"M":true}}',
    ]


def test_replay_takes_all_of_it(tmp_path):
    path = tmp_path / "BTCUSDT-aggTrades-2024-08-08.csv"
    path.write_text("".join(f"{n},0.50,2.0,{n},{n},{1723075200000 + n},True,True\n" for n in range(1, 301)))
    history = tmp_path / "history.txt"
    history.write_text("\n".join(lines(path)) + "\n")
    settings = {"KAFKA_BOOTSTRAP_SERVERS": "embedded", "PATH": os.environ["PATH"]}
    command = [sys.executable, "-m", "ingest_actors", "replay", history, "--topic-prefix", "history-", "--yes"]
    done = subprocess.run(command, env=settings, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["finished"], answer["delivered"]) == (True, 300)
    assert answer["records"] == {"history-binance-raw-events": 300, "history-binance-trades": 300}
