#!/usr/bin/env bash
# Looks for known vulnerabilities in the dependencies: those of the RustSec advisory database (https://rustsec.org) that
# concern Cargo.lock. Fails when there is one. Without cargo-deny or the database it says "advisories not checked"; with
# --hard, for a release, it fails then.
set -euo pipefail
cd "$(dirname "$0")/.."

unchecked() {
    echo "advisories not checked: $*"
    [ "$mode" != --hard ] || exit 1
    exit 0
}

mode=${1:-}
cargo deny --version >/dev/null 2>&1 || unchecked "cargo-deny is not installed (cargo install --locked cargo-deny)"
cargo deny fetch db >/dev/null 2>&1 || unchecked "the advisory database cannot be fetched"
cargo deny --locked check --disable-fetch advisories
