"""THE table of settings that are refused: what is given, and what the one problem must say.

Each is refused by `Settings` itself; what needs the catalogue of streams or librdkafka stands in `tests/cli`.
"""

from __future__ import annotations

SASL = {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}
SCRAM = SASL | {"KAFKA_SASL_MECHANISM": "SCRAM-SHA-256"}
LOGIN = SCRAM | {"KAFKA_SASL_USERNAME": "alice"}
SECRET = "hunter2-swordfish"

BAD_SETTINGS: list[tuple[dict[str, str], str]] = [
    # the exchange
    ({"BINANCE_SYMBOLS": ","}, "BINANCE_SYMBOLS=',': the list is empty; accepted: a comma-separated list of symbols"),
    ({"BINANCE_SYMBOLS": "BTC/USDT"}, "BINANCE_SYMBOLS='BTC/USDT': 'BTC/USDT' does not fit; accepted:"),
    ({"BINANCE_SYMBOLS": "BTCUSDT,btcusdt"}, "BINANCE_SYMBOLS='BTCUSDT,btcusdt': 'btcusdt' is there twice; accepted:"),
    ({"BINANCE_STREAM_TYPES": "trade,,trade"}, "BINANCE_STREAM_TYPES='trade,,trade': 'trade' is there twice"),
    ({"BINANCE_STREAM_TYPES": "tra de"}, "BINANCE_STREAM_TYPES='tra de': 'tra de' does not fit; accepted:"),
    ({"BINANCE_STREAM_TYPES": "@trade"}, "BINANCE_STREAM_TYPES='@trade': '@trade' does not fit; accepted:"),
    ({"BINANCE_WS_URL": "https://stream.binance.com"}, "an address begins with wss:// or ws:// and a host; accepted:"),
    ({"BINANCE_WS_URL": "wss://"}, "BINANCE_WS_URL='wss://': an address begins with"),
    ({"BINANCE_WS_URL": "wss://x:99999"}, "BINANCE_WS_URL='wss://x:99999': host or port cannot be read; accepted:"),
    ({"BINANCE_WS_URL": "wss://x:0"}, "BINANCE_WS_URL='wss://x:0': it is no base address; accepted:"),
    ({"BINANCE_WS_URL": "wss://x/ws"}, "'/ws' is added by the program: leave it out; accepted:"),
    ({"BINANCE_WS_URL": "wss://x?streams=a"}, "BINANCE_WS_URL='wss://x?streams=a': it is no base address; accepted:"),
    ({"BINANCE_REST_URL": "wss://x"}, "BINANCE_REST_URL='wss://x': an address begins with https:// or http://"),
    ({"BINANCE_REST_URL": "https://x/api/v3"}, "'/api/v3' is added by the program: leave it out; accepted:"),
    ({"BINANCE_REST_URL": f"https://me:{SECRET}@x"}, "BINANCE_REST_URL='https://***@x': a user name and password"),
    ({"RECONNECT_INTERVAL": "soon"}, "RECONNECT_INTERVAL='soon': it is no number; accepted: a number from 0.1 to 300"),
    ({"RECONNECT_INTERVAL": "0"}, "RECONNECT_INTERVAL='0': it is too small; accepted: a number from 0.1 to 300"),
    ({"MAX_RETRIES": "-1"}, "MAX_RETRIES='-1': it is too small; accepted: a whole number from 0 to 1000000"),
    ({"MAX_RETRIES": "2.5"}, "MAX_RETRIES='2.5': it is no whole number; accepted: a whole number from 0"),
    ({"CONNECTIONS_PER_STREAM": "3"}, "CONNECTIONS_PER_STREAM='3': it is too large; accepted: a whole number from 1"),
    ({"WS_ROTATE_AFTER_SECONDS": "90000"}, "WS_ROTATE_AFTER_SECONDS='90000': it is too large; accepted:"),
    ({"WS_MESSAGE_MAX_BYTES": "4 apples"}, "WS_MESSAGE_MAX_BYTES='4 apples': it is no size; accepted: a size from"),
    ({"WS_MESSAGE_MAX_BYTES": "100"}, "WS_MESSAGE_MAX_BYTES='100': it is too small; accepted: a size from 1KiB"),
    ({"WS_MESSAGE_MAX_BYTES": "128MiB"}, "one message would not fit in BUFFER_MAX_BYTES=67108864; accepted: at most"),
    ({"WEBSOCKET_FAST_PATH": "maybe"}, "WEBSOCKET_FAST_PATH='maybe': accepted: true or false"),
    ({"RECEIVE_PAUSE_MAX_MS": "nan"}, "RECEIVE_PAUSE_MAX_MS='nan': it is no number; accepted: a number from 0"),
    ({"STREAM_SILENCE_SECONDS": "0"}, "STREAM_SILENCE_SECONDS='0': it is too small; accepted: a number from 1"),
    ({"REST_WEIGHT_PER_MINUTE": "6001"}, "REST_WEIGHT_PER_MINUTE='6001': it is too large; accepted: a whole number"),
    ({"DEPTH_SNAPSHOT_LIMIT": "5001"}, "DEPTH_SNAPSHOT_LIMIT='5001': it is too large; accepted: a whole number"),
    ({"BACKFILL": "depth"}, "BACKFILL='depth': accepted: a comma-separated list of series: trade, aggTrade, or off"),
    ({"GAP_HOLD_SECONDS": "-1"}, "GAP_HOLD_SECONDS='-1': it is too small; accepted: a number from 0 to 3600"),
    # Kafka
    ({"KAFKA_BOOTSTRAP_SERVERS": "kafka:port"}, "KAFKA_BOOTSTRAP_SERVERS='kafka:port': 'kafka:port' is no host:port"),
    ({"KAFKA_BOOTSTRAP_SERVERS": "kafka:0"}, "KAFKA_BOOTSTRAP_SERVERS='kafka:0': 'kafka:0' is no host:port; accepted:"),
    ({"KAFKA_BOOTSTRAP_SERVERS": "embedded,kafka:9092"}, "'embedded' stands alone; accepted:"),
    ({"KAFKA_TOPIC_TRADES": "my topic"}, "KAFKA_TOPIC_TRADES='my topic': 'my topic' does not fit; accepted: a topic"),
    ({"KAFKA_TOPIC_DEPTH": ".."}, "KAFKA_TOPIC_DEPTH='..': '..' does not fit; accepted: a topic name"),
    ({"KAFKA_TOPIC_TRADES": "binance-depth"}, "KAFKA_TOPIC_TRADES has the same value; accepted: a name of its own"),
    ({"KAFKA_CREATE_TOPICS": "2"}, "KAFKA_CREATE_TOPICS='2': accepted: true or false (also 1/0, yes/no, on/off)"),
    ({"KAFKA_TOPIC_PARTITIONS": "0"}, "KAFKA_TOPIC_PARTITIONS='0': it is too small; accepted: a whole number from 1"),
    ({"KAFKA_TOPIC_REPLICATION": "0"}, "KAFKA_TOPIC_REPLICATION='0': it is too small; accepted: -1, or a whole number"),
    ({"KAFKA_COMPRESSION": "brotli"}, "KAFKA_COMPRESSION='brotli': accepted: one of none, gzip, snappy, lz4, zstd"),
    ({"KAFKA_ACKS": "2"}, "KAFKA_ACKS='2': accepted: one of all, 1, 0"),
    ({"KAFKA_DELIVERY": "at_most_once"}, "KAFKA_DELIVERY='at_most_once': accepted: one of at_least_once, exactly_once"),
    ({"KAFKA_DELIVERY": "exactly_once", "KAFKA_ACKS": "1"}, "KAFKA_ACKS='1': KAFKA_DELIVERY=exactly_once needs every"),
    ({"KAFKA_COMMIT_INTERVAL_MS": "0"}, "KAFKA_COMMIT_INTERVAL_MS='0': it is too small; accepted: a whole number"),
    ({"KAFKA_SECURITY_PROTOCOL": "TLS"}, "KAFKA_SECURITY_PROTOCOL='TLS': accepted: one of PLAINTEXT, SSL, SASL_"),
    (SASL, "KAFKA_SASL_MECHANISM is unset: KAFKA_SECURITY_PROTOCOL=SASL_SSL needs it; accepted: one of PLAIN"),
    (SASL | {"KAFKA_SASL_MECHANISM": "MAGIC"}, "KAFKA_SASL_MECHANISM='MAGIC': accepted: one of PLAIN, SCRAM-SHA-256"),
    (SCRAM | {"KAFKA_SASL_PASSWORD": SECRET}, "KAFKA_SASL_USERNAME is unset: KAFKA_SASL_MECHANISM=SCRAM-SHA-256 needs"),
    (LOGIN, "KAFKA_SASL_PASSWORD is unset: KAFKA_SASL_MECHANISM=SCRAM-SHA-256 needs it; accepted: a password, or"),
    (LOGIN | {"KAFKA_SASL_PASSWORD_FILE": "/nowhere/pw"}, "KAFKA_SASL_PASSWORD_FILE='/nowhere/pw': No such file"),
    ({"KAFKA_SASL_PASSWORD": SECRET}, "KAFKA_SASL_PASSWORD: without effect, for KAFKA_SECURITY_PROTOCOL is unset"),
    (
        LOGIN | {"KAFKA_SASL_PASSWORD": SECRET, "KAFKA_SASL_PASSWORD_FILE": __file__},
        "KAFKA_SASL_PASSWORD, KAFKA_SASL_PASSWORD_FILE: both are given; accepted: one of them",
    ),
    (
        {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CA_LOCATION": "/nowhere/ca.pem"},
        "KAFKA_SSL_CA_LOCATION='/nowhere/ca.pem': No such file or directory; accepted: the path of a file",
    ),
    (
        {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CERTIFICATE_LOCATION": __file__},
        "KAFKA_SSL_KEY_LOCATION is unset: KAFKA_SSL_CERTIFICATE_LOCATION needs it; accepted: the path",
    ),
    (
        {"KAFKA_SSL_CA_LOCATION": __file__},
        "KAFKA_SSL_CA_LOCATION: without effect, for KAFKA_SECURITY_PROTOCOL is unset",
    ),
    (
        {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CA_LOCATION": "/dev/null"},
        "KAFKA_SSL_CA_LOCATION='/dev/null': the file is empty; accepted: the path of a file with something in it",
    ),
    (
        {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_BOOTSTRAP_SERVERS": "embedded"},
        "KAFKA_SECURITY_PROTOCOL='SSL': the in-process cluster speaks PLAINTEXT alone; accepted with",
    ),
    # unknown names
    ({"BINANCE_SYMBOL": "BTCUSDT"}, "BINANCE_SYMBOL: unknown; the nearest name is BINANCE_SYMBOLS"),
    ({"KAFKA_BROKERS": "localhost:9092"}, "KAFKA_BROKERS: unknown; the nearest name is KAFKA_"),
    ({"KAFKA_TOPIC_TRADE": "x"}, "KAFKA_TOPIC_TRADE: unknown; the nearest name is KAFKA_TOPIC_TRADES"),
    ({"KAFKA_SASL_PASWORD": SECRET}, "KAFKA_SASL_PASWORD: unknown; the nearest name is KAFKA_SASL_PASSWORD"),
    ({"kafka_acks": "all"}, "kafka_acks: unknown; the nearest name is KAFKA_ACKS"),
    ({"KAFKA_PRODUCER_": "x"}, "KAFKA_PRODUCER_: unknown; the nearest name is KAFKA_"),
    # the service
    ({"INSTANCE_NAME": "a b"}, "INSTANCE_NAME='a b': 'a b' does not fit; accepted: 1 to 100 letters, digits"),
    ({"BATCH_SIZE": "0"}, "BATCH_SIZE='0': it is too small; accepted: a whole number from 1 to 100000"),
    ({"BATCH_SIZE": "many"}, "BATCH_SIZE='many': it is no whole number; accepted: a whole number from 1 to 100000"),
    ({"BATCH_TIMEOUT_SECONDS": "inf"}, "BATCH_TIMEOUT_SECONDS='inf': it is no number; accepted: a number from 0.001"),
    ({"BATCH_EAGER": "eager"}, "BATCH_EAGER='eager': accepted: true or false (also 1/0, yes/no, on/off)"),
    ({"BUFFER_MAX_BYTES": "64MiBs"}, "BUFFER_MAX_BYTES='64MiBs': it is no size; accepted: a size from 1MiB to 1TiB"),
    ({"SPOOL_DIR": "/dev/null"}, "SPOOL_DIR='/dev/null': /dev/null is no directory; accepted: a directory that can be"),
    ({"SPOOL_DIR": "/dev/null/x"}, "SPOOL_DIR='/dev/null/x': /dev/null is no directory; accepted: a directory that"),
    ({"SPOOL_MAX_BYTES": "-1"}, "SPOOL_MAX_BYTES='-1': it is no size; accepted: a size from 1MiB"),
    ({"SHUTDOWN_TIMEOUT_SECONDS": "0"}, "SHUTDOWN_TIMEOUT_SECONDS='0': it is too small; accepted: a number from 0.1"),
    ({"MONITOR_INTERVAL_SECONDS": "0"}, "MONITOR_INTERVAL_SECONDS='0': it is too small; accepted: a number from 0.1"),
    ({"HTTP_HOST": "http://0.0.0.0"}, "HTTP_HOST='http://0.0.0.0': accepted: a host name or an IP address, without"),
    ({"HTTP_HOST": "0.0.0.0:8000"}, "HTTP_HOST='0.0.0.0:8000': accepted: a host name or an IP address, without"),
    ({"HTTP_PORT": "65536"}, "HTTP_PORT='65536': it is too large; accepted: a whole number from 0 to 65535, or off"),
    (
        {"HTTP_PORT": "none"},
        "HTTP_PORT='none': it is no whole number; accepted: a whole number from 0 to 65535, or off",
    ),
    ({"HTTP_TOKEN": "hunter2"}, "HTTP_TOKEN=***: accepted: 8 or more visible ASCII characters"),
    ({"LOG_LEVEL": "verbose"}, "LOG_LEVEL='verbose': accepted: one of DEBUG, INFO, WARNING, ERROR, CRITICAL"),
    ({"LOG_FORMAT": "xml"}, "LOG_FORMAT='xml': accepted: one of json, console"),
]
