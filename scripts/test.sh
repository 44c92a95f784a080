#!/usr/bin/env bash
# Runs `cargo test` once for each argument, which is a list of arguments for it, and prints how many tests passed and
# failed in all, and how long the slow ones took. Fails when a test or a build has failed, and when no test ran.
set -uo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT
broken=0
for arguments in "$@"; do
    # shellcheck disable=SC2086 # a list
    cargo test --locked --no-fail-fast $arguments 2>&1 | tee -a "$log" || broken=1
done

counts=$(scripts/count.sh "$log")
echo
scripts/minutes.sh "$log"
if [ "$broken" = 1 ] && [ "${counts#*, }" = "0 failed" ]; then
    echo "a build or a test program failed without a result; see above"
fi
echo "$counts"
case "$counts" in
"0 passed, "*)
    echo "no test passed" >&2
    exit 1
    ;;
esac
exit "$broken"
