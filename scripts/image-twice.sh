#!/usr/bin/env bash
# Builds the image twice from nothing, each time into another target directory, and compares the digests: `make prove` runs it.
# It takes as long as two release builds.
set -euo pipefail
cd "$(dirname "$0")/.."

digests=()
for build in 1 2; do
    directory="$PWD/target/prove/image-$build"
    rm -rf "$directory"
    table=$(CARGO_TARGET_DIR="$directory" make --no-print-directory image)
    echo "$table"
    digests+=("$(awk '/^digest/ { print $2 }' <<<"$table")")
    # Only the digests are compared; the builds themselves are large.
    rm -rf "$directory"
done
if [ "${digests[0]}" != "${digests[1]}" ]; then
    echo "two builds, two digests: ${digests[*]}" >&2
    exit 1
fi
echo "two builds, one digest: ${digests[0]}"
