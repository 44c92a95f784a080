#!/usr/bin/env bash
# Runs what does not fit into `make test`: every end-to-end target with all its kill points instead of a sample, minutes
# of generated templates instead of seconds, the bench with ten times the policies, and the oldest supported Kubernetes
# beside the newest. It keeps the result of each finished target under target/prove, by a hash of the sources that it
# depends on. So a stopped run goes on where it was, and a change of one target's tests repeats no other. At the end it
# writes the table to docs/proof.md; each row names its commit. Arguments name the targets to run; the others keep their
# known rows.
set -uo pipefail
cd "$(dirname "$0")/.."

readonly PINNED=tests/e2e/controlplane
commit=$(git rev-parse --short HEAD)$(git diff --quiet HEAD -- . ':!docs/proof.md' || echo " with changes")
directory="target/prove"
mkdir -p "$directory"

targets() {
    cargo metadata --locked --no-deps --format-version 1 | python3 -c '
import json, sys
for package in json.load(sys.stdin)["packages"]:
    if package["name"] == "rekey-e2e":
        print(*sorted(target["name"] for target in package["targets"] if "test" in target["kind"]), sep="\n")
'
}

# The sources that a target depends on, as one short hash.
sources() {
    local paths=(Cargo.toml Cargo.lock rust-toolchain.toml crates)
    local ground=(crds deploy tests/e2e/src tests/e2e/Cargo.toml tests/e2e/node "$PINNED/build.sh" "$PINNED/consumer")
    case "$1" in
    *installed) ground+=(docs/quick-start.md examples scripts/image) ;;
    *chart) ground+=(scripts/chart.sh scripts/manifests.sh) ;;
    *uninstall) ground+=(docs/uninstall.md) ;;
    esac
    case "$1" in
    fuzz) paths+=(docs/reference/templates.md) ;;
    image) paths+=(scripts/image scripts/image-twice.sh Makefile LICENSE) ;;
    templates)
        paths+=(tests/e2e/oracle README.md CHANGELOG.md docs/operations.md docs/quick-start.md docs/security.md)
        paths+=(docs/adr docs/reference examples crds)
        ;;
    bench) paths+=("${ground[@]}" "$PINNED/go.*") ;;
    oldest-*) paths+=("${ground[@]}" "$PINNED/oldest.*" "tests/e2e/tests/${1#oldest-}*") ;;
    *) paths+=("${ground[@]}" "$PINNED/go.*" "tests/e2e/tests/$1*") ;;
    esac
    {
        git ls-files -z -- "${paths[@]}" | xargs -0 sha256sum
        [ "$1" != upgrade ] || scripts/previous.sh # a new tag is another version before this one
    } | sha256sum | cut -c1-12
}

# Runs a target unless its result is known, and prints its row.
prove() {
    local target=$1 result log
    shift
    result="$directory/$target-$(sources "$target").result"
    log="${result%.result}.log"
    if ! [ -e "$result" ] && [ "${#wanted[@]}" != 0 ] && [[ " ${wanted[*]} " != *" $target "* ]]; then
        echo "| $target | not run | | | |" | tee -a "$rows"
        return
    fi
    if ! [ -e "$result" ]; then
        SECONDS=0
        local status=ok
        REKEY_PROVE=1 "$@" >"$log" 2>&1 || status=FAILED
        [[ $target != oldest-* ]] || [ "$(kubernetes "$log")" = "$oldest" ] || status=FAILED
        echo "| $target | $status | $(counts "$target" "$log") | $((SECONDS / 60)) min $((SECONDS % 60)) s | $commit |" >"$result"
    fi
    tee -a "$rows" <"$result"
    if grep -q FAILED "$result"; then
        failed=1
        echo "  see $log; remove $result to run it again"
    fi
}

# The bench measures and does not judge, so only its exit code counts for the result.
counts() {
    if [ "$1" = bench ]; then
        echo "$(grep -c '| ok    |' "$2") figures within their target, $(grep -c '| SHORT |' "$2") not (10,000 policies)"
    elif [ "$1" = image ]; then
        tail -n 1 "$2"
    elif [ "$1" = templates ]; then
        echo "$(scripts/count.sh "$2"); $(compared <"$2")"
    elif [[ $1 = oldest-* ]]; then
        echo "$(scripts/count.sh "$2"); Kubernetes $(kubernetes "$2")"
    else
        scripts/count.sh "$2"
    fi
}

# The version of Kubernetes in a log.
kubernetes() {
    sed -n 's/.*testkit: a plane of Kubernetes //p' "$1" | sort -u | paste -sd ' '
}

# Adds up the counts of the comparison of templates.
compared() {
    awk '
        /^templates, .* compared, / {
            gsub(/[^0-9 ]/, "")
            all += $1; equal += $2; refused += $3; different += $4
        }
        END {
            printf "%d templates as Go has them (%d refused by both), %d as allowed, %d different\n",
                equal + refused, refused, all - equal - refused - different, different
        }
    '
}

wanted=("$@")
failed=0
rows=$(mktemp)
trap 'rm -f "$rows"' EXIT
for target in $(targets); do
    prove "$target" scripts/test.sh "--workspace --test $target -- --nocapture"
done
# Targets that depend on the API server or the kubelet, once on the oldest minor, with the programs of `make test`.
oldest=$(sed -n 's|^\tk8s.io/kubernetes v|v|p' "$PINNED/oldest.mod")
for target in api attempts chart health installed modes quiet refusals rights rollout rotation sync uninstall versioned; do
    prove "oldest-$target" env REKEY_PROVE= REKEY_KUBERNETES=oldest scripts/test.sh "--workspace --test $target -- --nocapture"
done
# Generated templates, with a seed that is in the log.
prove fuzz scripts/test.sh "-p rekey-core --release --test fuzz -- --nocapture"
# The same templates in Rekey and in Go.
prove templates scripts/test.sh "-p rekey-testkit --release --test templates -- --nocapture"
# Two builds of the image.
prove image scripts/image-twice.sh
prove bench cargo run --release --locked -p rekey-e2e --bin bench -- --prove

{
    echo "# Proof"
    echo
    echo "The last run of \`make prove\`: $(date -u +%F), commit $commit, $(nproc) cores," \
        "$(awk '/^MemTotal/ { printf "%d GiB", $2 / 1048576 }' /proc/meminfo) of memory. A row has an earlier commit where" \
        "the sources that its target depends on are the same."
    echo
    echo "| target | result | tests | time | commit |"
    echo "|---|---|---|---|---|"
    cat "$rows"
} >docs/proof.md
exit "$failed"
