#!/usr/bin/env bash
# Checks the chart: lint, what its schema must refuse, its table of values, its flags, its definitions, and that the
# files made from it are up to date. Helm is $HELM, or `helm` of the PATH.
set -euo pipefail
cd "$(dirname "$0")/.."

export HELM=${HELM:-helm}
readonly CHART=deploy/chart/rekey TESTS=deploy/chart/tests KUBERNETES=1.34.0

list=$(mktemp)
trap 'rm -f "$list"' EXIT
status=0
fault() {
    printf 'chart.sh: %s\n' "$*" >&2
    status=1
}

render() { "$HELM" template rekey "$CHART" --namespace rekey-system --kube-version "$KUBERNETES" "$@" 2>&1; }

"$HELM" version >/dev/null || { echo "chart.sh: Helm is missing: install it, or set HELM to it" >&2; exit 1; }

for values in "$TESTS"/values/*.yaml; do
    output=$("$HELM" lint "$CHART" --strict --kube-version "$KUBERNETES" --values "$values" 2>&1) ||
        fault "$values: helm lint: $output"
done

# The chart must refuse each of these files, with the words of its first line.
for values in "$TESTS"/refused/*.yaml; do
    words=$(sed -n '1s/^# refused: //p' "$values")
    [ -n "$words" ] || fault "$values: its first line is not '# refused: WORDS'"
    if output=$(render --values "$values"); then
        fault "$values is not refused"
    elif ! grep -qF -- "$words" <<<"$output"; then
        fault "$values: '$words' is not in: $output"
    fi
done

# So is a Kubernetes before the oldest that is tested.
older=1.33.99
if output=$(render --kube-version "$older"); then
    fault "Kubernetes $older is not refused"
elif ! grep -qF "requires kubeVersion: >=$KUBERNETES" <<<"$output"; then
    fault "Kubernetes $older: no kubeVersion in: $output"
fi

# Dotted names of values.yaml: those without anything below them.
names=$(awk '
    /^ *(#|-|$)/ { next }
    {
        match($0, /^ */); depth = RLENGTH / 2
        name = $1; sub(/:$/, "", name)
        path[depth] = depth ? path[depth - 1] "." name : name
        if (last != "" && depth <= before) print last
        last = path[depth]; before = depth
    }
    END { print last }
' "$CHART/values.yaml" | sed -E 's/^(networkPolicy\.dns|nodeSelector|resources)\..*/\1/' | sort -u)
documented=$(awk -F '`' '/^\| `[A-Za-z.]+` \|/ { print $2 }' "$CHART/README.md" | sort -u)
difference=$(diff <(echo "$names") <(echo "$documented")) ||
    fault "values.yaml (<) and the table of $CHART/README.md (>): $difference"

# A name without a value must be refused: no default may replace it.
while read -r name; do
    [ "$name" = resources ] && continue # an absent parent needs no check
    if output=$(render --set "$name=null"); then
        fault "$name without a value is not refused"
    elif ! grep -qF -- "${name##*.}" <<<"$output"; then
        fault "$name without a value: the name is not in: $output"
    fi
done <<<"$names"

# An unknown flag would stop the operator.
grep -oE '^- --[a-z-]+' "$CHART/templates/_helpers.tpl" | sed 's/^- --//; y/-/_/' >"$list"
while read -r flag; do
    grep -q "^    pub $flag: " crates/operator/src/args.rs || fault "rekey run has no flag --${flag//_/-}"
done <"$list"

# The definitions are the same but for one annotation more.
for file in crds/*.yaml; do sed '1,/^---$/d' "$file"; done >"$list"
render --show-only templates/crds.yaml |
    grep -vE '^(# Source: .*|---|)$|^  annotations:$|^    helm\.sh/resource-policy: keep$' |
    diff - "$list" >/dev/null || fault "the definitions of the chart differ from crds/: run make manifests"

scripts/manifests.sh --check || status=1
exit "$status"
