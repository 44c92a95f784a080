//go:build tools

// Package controlplane pins, in go.mod and oldest.mod, the versions of the programs that the tests run. It is never built itself:
// build.sh builds the commands it names.
package controlplane

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "k8s.io/kubernetes/cmd/kube-scheduler"
	_ "k8s.io/kubernetes/cmd/kubelet"
)
