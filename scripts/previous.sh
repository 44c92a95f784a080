#!/usr/bin/env bash
# Prints the commit of the version before this one: the newest tag v* that is an ancestor of HEAD and not HEAD itself,
# else the one in tests/e2e/previous.txt. If this clone does not have it, fails and prints the next command.
set -euo pipefail
cd "$(dirname "$0")/.."

complain() {
    printf 'rekey: %s\n' "$*" >&2
    exit 1
}

above=$(git rev-parse --show-cdup) && [ -z "$above" ] ||
    complain "this needs the git history, to build the version before this one: use a clone of the repository"
named=$(git -c versionsort.suffix=- for-each-ref --merged=HEAD --no-contains=HEAD --sort=-version:refname --count=1 \
    --format='%(refname)' 'refs/tags/v*')
from="the tag ${named#refs/tags/}"
if [ -z "$named" ]; then
    named=$(grep -v '^#' tests/e2e/previous.txt)
    from=tests/e2e/previous.txt
fi
if ! commit=$(git rev-parse --verify --quiet "$named^{commit}"); then
    [ "$(git rev-parse --is-shallow-repository)" = false ] ||
        complain "the version before this one ($named, of $from) is not in this shallow clone: git fetch --unshallow --tags"
    complain "the version before this one ($named, of $from) is no commit of this clone: git fetch --tags, or correct $from"
fi
echo "$commit"
