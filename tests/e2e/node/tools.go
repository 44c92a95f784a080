//go:build tools

// Package node pins, in go.mod, the versions of the programs that the node of the tests runs. It stands apart from the
// control plane because Kubernetes and containerd would force their own versions of shared modules on each other. It
// is never built itself: build.sh of the control plane builds the commands it names.
package node

import (
	_ "github.com/containerd/containerd/v2/cmd/containerd"
	_ "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"
	_ "github.com/containerd/containerd/v2/cmd/ctr"
)
