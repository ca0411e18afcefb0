# shellcheck shell=bash
# Sourced by deploy/validate.sh: the unit, read by systemd itself.

EXPOSURE_MAX=15
# systemd's own figure for what a unit may do, in tenths: 0 is nothing, 96 everything. A socket to the world is 8 of these.

systemd_checks() {
    if ! have systemd-analyze; then
        note "deploy/systemd: systemd-analyze (not here)"
        return
    fi
    # Only the path of the program is another, for it must be there.
    sed "s|^ExecStart=[^ ]*|ExecStart=$(command -v true)|" deploy/systemd/ingest-actors.service >"$work/ingest-actors.service"
    check "deploy/systemd: $(systemd-analyze --version | sed 1q | cut -d'(' -f1)verify" verify_unit
    check "deploy/systemd: exposure of at most $EXPOSURE_MAX of 100" systemd-analyze security --offline=yes \
        --threshold="$EXPOSURE_MAX" --no-pager "$work/ingest-actors.service"
}

verify_unit() { # a warning is a failure as well
    systemd-analyze verify --man=no --recursive-errors=no "$work/ingest-actors.service" 2>&1 | tee "$work/verify"
    [[ ! -s $work/verify ]]
}
