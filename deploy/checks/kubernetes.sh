# shellcheck shell=bash
# Sourced by deploy/validate.sh: what kustomize makes of deploy/kubernetes, held against Kubernetes' own schemas.

KUBERNETES_VERSIONS=(1.29 1.33)
# The oldest that knows all fields, and one of now.

kubernetes_checks() {
    local render name version
    if have kubectl; then
        render=(kubectl kustomize)
    elif have kustomize; then
        render=(kustomize build)
    else
        note "deploy/kubernetes: kustomize (neither kubectl nor kustomize is here)"
        return
    fi
    for name in base overlays/example; do
        check "deploy/kubernetes/$name: ${render[*]}" \
            render_to "$work/${name##*/}.yaml" "${render[@]}" "deploy/kubernetes/$name"
    done
    if ! have kubernetes-validate; then
        note "deploy/kubernetes: Kubernetes' schemas (kubernetes-validate is not here)"
        return
    fi
    for version in "${KUBERNETES_VERSIONS[@]}"; do
        for name in base example; do
            check "deploy/kubernetes, $name: the schemas of Kubernetes $version, strictly" \
                kubernetes-validate --strict --kubernetes-version "$version" "$work/$name.yaml"
        done
    done
    note "deploy/kubernetes: PodMonitor (its schema is the Prometheus operator's)"
}

render_to() { # file, command...: what other people's schemas describe is left out of the file
    "${@:2}" >"$1.all"
    grep -q '^kind: StatefulSet$' "$1.all"
    awk -v RS='---\n' -v ORS='---\n' '!/kind: PodMonitor/' "$1.all" >"$1"
}
