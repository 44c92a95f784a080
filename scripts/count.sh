#!/usr/bin/env bash
# Adds up the "test result:" lines of a log of `cargo test` and prints "N passed, M failed".
set -euo pipefail
awk '
    /^test result: / {
        for (field = 2; field <= NF; field++) {
            if ($field == "passed;") passed += $(field - 1)
            if ($field == "failed;") failed += $(field - 1)
        }
    }
    END { printf "%d passed, %d failed\n", passed, failed }
' "${1:?name the log}"
