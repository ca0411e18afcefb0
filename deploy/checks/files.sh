# shellcheck shell=bash
# Sourced by deploy/validate.sh: the files that are only read.

file_checks() {
    if have shellcheck; then
        check "deploy/: shellcheck" shellcheck -x deploy/validate.sh
    else
        note "deploy/: shellcheck (not here)"
    fi
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
    check "docker-compose.yml: all that it mounts is there" mounts_exist
    for tool in deploy/compose/bin/*; do check "$tool: syntax" sh -n "$tool"; done
    if have promtool; then
        check "deploy/prometheus: promtool" promtool check config deploy/prometheus/prometheus.yml
    else
        note "deploy/prometheus: promtool (not here)"
    fi
}

mounts_exist() {
    local path
    for path in $(sed -n 's/^ *- \(\.\/[^:]*\):.*/\1/p' docker-compose.yml); do
        [[ -e $path ]] || { echo "$path is not there" && return 1; }
    done
}
