#!/usr/bin/env bash
# What does not fit into `make test`: every end-to-end target with all its kill points instead of a sample, and minutes of
# generated templates instead of seconds. The result
# of each finished target is kept under target/prove, by commit, so that a run which was stopped goes on where it was.
# At the end the table is written to docs/proof.md.
set -uo pipefail
cd "$(dirname "$0")/.."

commit=$(git rev-parse --short HEAD)$(git diff --quiet HEAD || echo " with changes")
directory="target/prove/${commit// /-}"
mkdir -p "$directory"

targets() {
    cargo metadata --locked --no-deps --format-version 1 | python3 -c '
import json, sys
for package in json.load(sys.stdin)["packages"]:
    if package["name"] == "rekey-e2e":
        print(*sorted(target["name"] for target in package["targets"] if "test" in target["kind"]), sep="\n")
'
}

failed=0
for target in $(targets) fuzz; do
    result="$directory/$target.result"
    if ! [ -e "$result" ]; then
        SECONDS=0
        status=ok
        package=rekey-e2e
        # Templates that nobody has written, with a seed that is in the log.
        [ "$target" = fuzz ] && package="rekey-core --release"
        REKEY_PROVE=1 scripts/test.sh "-p $package --test $target -- --nocapture" >"$directory/$target.log" 2>&1 || status=FAILED
        counts=$(scripts/count.sh "$directory/$target.log")
        echo "| $target | $status | $counts | $((SECONDS / 60)) min $((SECONDS % 60)) s |" >"$result"
    fi
    cat "$result"
    if grep -q FAILED "$result"; then
        failed=1
        echo "  see $directory/$target.log; remove $result to run it again"
    fi
done

# Ten times the policies of `make bench`: it measures and does not judge, so only its end counts here.
result="$directory/bench.result"
if ! [ -e "$result" ]; then
    SECONDS=0
    status=ok
    cargo run --release --locked -p rekey-e2e --bin bench -- --prove >"$directory/bench.log" 2>&1 || status=FAILED
    reached="$(grep -c '| ok    |' "$directory/bench.log") targets reached, $(grep -c '| SHORT |' "$directory/bench.log") short"
    echo "| bench, 10,000 policies | $status | $reached | $((SECONDS / 60)) min $((SECONDS % 60)) s |" >"$result"
fi
cat "$result"
if grep -q FAILED "$result"; then
    failed=1
    echo "  see $directory/bench.log; remove $result to run it again"
fi

{
    echo "# Proof"
    echo
    echo "The last run of \`make prove\`: $(date -u +%F), commit $commit, $(nproc) cores," \
        "$(awk '/^MemTotal/ { printf "%d GiB", $2 / 1048576 }' /proc/meminfo) of memory."
    echo
    echo "| target | result | tests | time |"
    echo "|---|---|---|---|"
    cat "$directory"/*.result
} >docs/proof.md
exit "$failed"
