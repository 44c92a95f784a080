#!/usr/bin/env bash
# Prints how long each test program of a `cargo test` log took, the slowest first, without those below ten seconds.
# `make test` has 20 minutes: a program over 6 should move cases to `make prove`.
set -euo pipefail
awk '
    $1 == "Running" { name = ($2 == "unittests") ? $NF : $2 }
    /^test result: / {
        for (field = 2; field < NF; field++) {
            if ($field == "finished" && $(field + 1) == "in") seconds[name] += $(field + 2)
        }
    }
    END {
        for (name in seconds) {
            if (seconds[name] < 10) continue
            over = (seconds[name] > 360) ? "  (over 6: move cases to make prove)" : ""
            printf "%5.1f min  %s%s\n", seconds[name] / 60, name, over
        }
    }
' "${1:?name the log}" | sort -rn
