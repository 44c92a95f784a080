#!/usr/bin/env bash
# Makes sure that the needs of a target are installed. As root on a machine with apt-get, it installs missing Debian
# packages and starts none of their services; otherwise it prints the line to run.
#
#   needs.sh build    Rust and a C compiler
#   needs.sh pack     Python, and Debian's tools for packages and binaries
#   needs.sh image    build and pack, and apt-get
#   needs.sh stores   build, and Python for OpenBao and the AWS emulator
#   needs.sh node     stores, and Go and the container runtime for a control plane with a node
#   needs.sh test     node, PostgreSQL, an SSH server, and what packs the image
set -euo pipefail

readonly GO=1.26.6 PYTHON=3.11
readonly POLICY=/usr/sbin/policy-rc.d

complain() {
    printf 'rekey: %s\n' "$*" >&2
    exit 1
}

# Whether version $1 is at least $2.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

has() { PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" command -v "$1" >/dev/null; }

present() {
    case "$1" in
    binutils) has readelf ;;
    build-essential) has cc ;;
    containernetworking-plugins) [ -x /usr/lib/cni/host-local ] ;;
    iproute2) has ip ;;
    iptables | openssl | runc) has "$1" ;;
    openssh-server) has sshd ;;
    postgresql) compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null ;;
    python3-venv) python3 -c 'import venv, ensurepip' 2>/dev/null ;;
    util-linux) has setpriv && has unshare ;;
    *) dpkg-query -W "$1" >/dev/null 2>&1 ;;
    esac
}

rust() {
    has cargo || complain "cargo is missing: install Rust with rustup (https://rustup.rs)"
}

python() {
    has python3 || complain "python3 is missing: install Python $PYTHON or newer"
    found=$(python3 -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])')
    at_least "$found" "$PYTHON" || complain "Python $PYTHON or newer is needed, this is $found"
}

debian() {
    for tool in "$@"; do
        has "$tool" || complain "$tool is missing: the image is made of Debian packages; use Debian or Ubuntu, or the Containerfile"
    done
}

go_compiler() {
    has go || complain "go is missing: install Go $GO or newer (https://go.dev/dl)"
    found=$(go env GOVERSION)
    at_least "${found#go}" "$GO" || complain "Go $GO or newer is needed, this is $found"
}

install() {
    [ "$(id -u)" = 0 ] && has apt-get || complain "missing here; run: sudo apt-get install -y $*"
    echo "rekey: installing $* (once)" >&2
    if ! [ -e "$POLICY" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$POLICY"
        chmod 755 "$POLICY"
        trap 'rm -f "$POLICY"' EXIT
    fi
    local log
    log=$(mktemp)
    apt() { DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@" </dev/null >>"$log" 2>&1; }
    if ! apt install -y --no-install-recommends "$@"; then
        # A fresh machine has no package lists, and old lists name files that are gone.
        apt update || true
        apt install -y --no-install-recommends "$@" || {
            tail -n 20 "$log" >&2
            complain "apt-get failed; run yourself: sudo apt-get install -y $*"
        }
    fi
    rm -f "$log"
}

packages=(build-essential)
case "${1:-}" in
build) rust ;;
pack) python && debian dpkg dpkg-deb && packages=(binutils) ;;
image) rust && python && debian dpkg dpkg-deb apt-get apt-cache && packages+=(binutils) ;;
stores) rust && python && packages+=(python3-venv) ;;
node | test)
    rust && python && go_compiler
    packages+=(python3-venv runc containernetworking-plugins util-linux iproute2 iptables)
    [ "$1" = node ] || { debian dpkg dpkg-deb apt-get apt-cache && packages+=(postgresql openssh-server binutils openssl); }
    ;;
*) complain "needs.sh: name one of build, pack, image, stores, node, test" ;;
esac

missing=()
for package in "${packages[@]}"; do
    present "$package" || missing+=("$package")
done
[ ${#missing[@]} = 0 ] || install "${missing[@]}"
