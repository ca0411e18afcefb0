# shellcheck shell=bash
# Sourced by deploy/validate.sh: the image, built and run by buildah, between a simulated exchange and a real broker.

buildah=(buildah --storage-driver vfs --root "$work/storage" --runroot "$work/run")
product=.venv/bin/python

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
    check "image: no build tools" no_build_tools
    if [[ -x $product ]]; then
        check "image: run as user 10001 against a simulated exchange and a real Kafka; topics made, healthy, events counted in Kafka, SIGTERM ends it with 0" \
            between_exchange_and_kafka run_image
        check "image: run as deploy/kubernetes has it: read-only, first process, settings and spool mounted, SIGHUP and SIGTERM obeyed" \
            between_exchange_and_kafka run_as_in_a_pod
    else
        note "image: run (wants make's .venv for the exchange and the broker)"
    fi
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

no_build_tools() {
    for tool in gcc cc make; do
        if "${buildah[@]}" run --isolation chroot "$container" -- sh -c "command -v $tool"; then return 1; fi
    done
    if "${buildah[@]}" run --isolation chroot "$container" -- ls /opt/app/bin/pip; then return 1; fi
}

image_config() { # one line for each item of a list in the image's configuration, c
    "${buildah[@]}" inspect --type image localhost/ingest-actors |
        python3 -c "import json, sys; c = json.load(sys.stdin)['Docker']['config']; print(*($1), sep='\n')"
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

between_exchange_and_kafka() { # command: run with $settings, an array of NAME=value
    started=() # for the trap, which outlives this function; all of it is in a subshell of `check`
    trap 'kill "${started[@]}"; wait; tail -n 20 "$work"/*.log' EXIT
    rm -f "$work"/{exchange,kafka,*.log}
    "$product" -m ingest_actors simulate --ws-port 0 --rest-port 0 >"$work/exchange" 2>"$work/exchange.log" &
    started+=($!)
    "$product" -m ingest_actors dev-broker --port 0 >"$work/kafka" 2>"$work/kafka.log" &
    started+=($!)
    wait_for 120 test -s "$work/kafka" && wait_for 30 test -s "$work/exchange"
    settings=(
        BINANCE_SYMBOLS=BTCUSDT
        "KAFKA_BOOTSTRAP_SERVERS=$(field "$work/kafka" bootstrap_servers)"
        "BINANCE_WS_URL=$(field "$work/exchange" ws_url)"
        "BINANCE_REST_URL=$(field "$work/exchange" rest_url)"
    )
    "$@"
    "$product" deploy/checks/delivered.py "$(field "$work/kafka" bootstrap_servers)" "$work/service.log"
}

in_container() { # the image's own entry point or health check, with the settings of this check
    "${buildah[@]}" run --isolation chroot "${settings[@]/#/--env=}" --env=HTTP_PORT=18000 "$container" -- "$@"
}

run_image() {
    local service inner entry health
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
}

run_as_in_a_pod() { # with the environment and the arguments of the manifest
    local root service inner manifest
    root=$("${buildah[@]}" mount "$container")
    mkdir -p "$work"/{settings,spool} "$root"/{etc/ingest-actors/settings,var/lib/ingest-actors}
    printf '%s\n' "${settings[@]}" >"$work/settings/settings.env"
    chmod 755 "$work" "$work/settings"
    chmod 644 "$work/settings/settings.env"
    chown 10001:10001 "$work/spool"
    mapfile -t manifest < <("$product" deploy/checks/manifest.py HTTP_PORT=18000)
    unshare --mount --pid --fork --kill-child deploy/checks/read_only.sh "$root" "$work/settings" "$work/spool" \
        "${manifest[@]}" >"$work/service.out" 2>"$work/service.log" &
    service=$!
    started+=("$service")
    wait_for 60 grep -q service_ready "$work/service.log"
    test -n "$(ls "$work/spool")"
    sleep 2
    inner=$(pgrep -P "$service")
    grep -E '^(Uid|CapEff|NoNewPrivs|VmHWM)' "/proc/$inner/status"
    printf '%s\n' "${settings[@]}" BINANCE_SYMBOLS=BTCUSDT,ETHUSDT >"$work/settings/settings.env"
    kill -s HUP "$inner"
    wait_for 30 grep -q streams_changed "$work/service.log"
    sleep 2
    kill -s TERM "$inner"
    wait "$service"
}
