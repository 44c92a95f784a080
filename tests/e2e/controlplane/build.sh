#!/bin/sh
# Builds the programs of the test cluster once, into the cache, and prints the directory that holds them.
#
#   build.sh plane   etcd, kube-apiserver, kube-controller-manager, kube-scheduler
#   build.sh node    kubelet, containerd with its shim and ctr, and the consumer that every test pod runs
#
# A second argument, newest (the default) or oldest, says which Kubernetes: that of go.mod or that of oldest.mod.
#
# The name of the directory is a hash of all inputs, so a new version is a new directory. Make and the test kit call
# this; two callers may come at once, the second waits for the first. Progress goes to standard error.
set -eu

readonly GROUP="${1:?name what to build: plane or node}" RELEASE="${2:-newest}"
HERE=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
readonly HERE
readonly CACHE="${REKEY_CACHE:-${XDG_CACHE_HOME:-${HOME:?neither REKEY_CACHE nor HOME is set}/.cache}/rekey}"

# -buildvcs: the programs come from modules, the state of this checkout says nothing about them.
export CGO_ENABLED=0 GOFLAGS="-mod=readonly -buildvcs=false -trimpath"
# Otherwise a newer go.mod would make Go fetch another toolchain: report it instead.
export GOTOOLCHAIN=local

say() { echo "testkit: $*" >&2; }

case "$RELEASE" in
newest) PINNED="$HERE/go" ;;
oldest) PINNED="$HERE/oldest" ;;
*)
    say "no Kubernetes is called $RELEASE: newest or oldest"
    exit 2
    ;;
esac
readonly PINNED

version() { sed -n "s|^[[:space:]]*\(require \)\{0,1\}$2 v|v|p" "$1" | head -n 1; }

kubernetes=$(version "$PINNED.mod" k8s.io/kubernetes)
etcd=$(version "$PINNED.mod" go.etcd.io/etcd/server/v3)
containerd=$(version "$HERE/../node/go.mod" github.com/containerd/containerd/v2)
minor=${kubernetes#v*.}
stamp=k8s.io/component-base/version
readonly KUBERNETES_FLAGS="-s -w -X $stamp.gitVersion=$kubernetes -X $stamp.gitMajor=1 -X $stamp.gitMinor=${minor%%.*}"

# One line for each program: name, directory, package, tags, linker flags, version.
recipe() {
    case "$GROUP" in
    plane)
        echo "etcd|.|go.etcd.io/etcd/server/v3||-s -w|$etcd"
        for name in kube-apiserver kube-controller-manager kube-scheduler; do
            echo "$name|.|k8s.io/kubernetes/cmd/$name||$KUBERNETES_FLAGS|$kubernetes"
        done
        ;;
    node)
        echo "consumer|./consumer|.||-s -w|"
        for name in containerd-shim-runc-v2 ctr containerd; do
            echo "$name|../node|github.com/containerd/containerd/v2/cmd/$name|no_btrfs no_devmapper|-s -w|$containerd"
        done
        echo "kubelet|.|k8s.io/kubernetes/cmd/kubelet||$KUBERNETES_FLAGS|$kubernetes"
        ;;
    *)
        say "nothing is called $GROUP: plane or node"
        exit 2
        ;;
    esac
}

ingredients() {
    cat "$PINNED.mod" "$PINNED.sum"
    if [ "$GROUP" = node ]; then
        cat "$HERE/../node/go.mod" "$HERE/../node/go.sum" "$HERE"/consumer/*.go
    fi
    recipe
    echo "$CGO_ENABLED $GOFLAGS"
}

build() {
    started=$(date +%s)
    say "building $1${6:+ }$6 ..."
    temporary="$DIRECTORY/.$1.$$"
    modules=
    [ "$2" != . ] || modules="-modfile=$PINNED.mod"
    (cd "$HERE/$2" && go build ${modules:+"$modules"} -tags "$4" -ldflags "$5" -o "$temporary" "$3") >&2
    mv "$temporary" "$DIRECTORY/$1"
    say "built $1 in $(($(date +%s) - started)) s"
}

KEY=$(ingredients | sha256sum | cut -c 1-16)
readonly KEY
readonly DIRECTORY="$CACHE/$GROUP-$KEY"
missing() {
    for name in $(recipe | cut -d '|' -f 1); do
        [ -x "$DIRECTORY/$name" ] || echo "$name"
    done
}

if [ -z "$(missing)" ]; then
    echo "$DIRECTORY"
    exit 0
fi
command -v go >/dev/null || { say "Go is needed to build" $(missing); exit 1; }

mkdir -p "$DIRECTORY"
exec 9>"$CACHE/$GROUP.lock"
if ! flock -n 9; then
    say "another build of the $GROUP runs: waiting for it"
    flock 9
fi
say "to build for the $GROUP:" $(missing) "(first time: about 8 minutes on 2 cores for plane and node)"
# A killed build leaves its temporary files; nothing else holds the lock, so all of them are stale.
rm -f "$DIRECTORY"/.[a-z]*
recipe | while IFS='|' read -r name module package tags linker release; do
    [ -x "$DIRECTORY/$name" ] || build "$name" "$module" "$package" "$tags" "$linker" "$release"
done
echo "$DIRECTORY"
