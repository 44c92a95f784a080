//! Consumers.

use k8s_openapi::api::core::v1::Pod;
use rekey_testkit::node::IMAGE;
use serde_json::{Value, json};

/// How the consumers of a test refer to a Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One key as an environment variable `PASSWORD`.
    Env,
    /// All keys as environment variables.
    EnvFrom,
    /// All keys as files under `/secret`.
    Volume,
}

/// A manifest of a workload of this kind with one container that consumes `secret`.
#[must_use]
pub fn workload(kind: &str, namespace: &str, name: &str, secret: &str, form: Form) -> Value {
    let mut container = json!({
        "name": "app",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "env": [],
    });
    let mut pod = json!({"terminationGracePeriodSeconds": 0});
    match form {
        Form::Env => {
            container["env"] =
                json!([{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": secret, "key": "password"}}}]);
        }
        Form::EnvFrom => container["envFrom"] = json!([{"secretRef": {"name": secret}}]),
        Form::Volume => {
            container["volumeMounts"] = json!([{"name": "secret", "mountPath": "/secret"}]);
            pod["volumes"] = json!([{"name": "secret", "secret": {"secretName": secret}}]);
        }
    }
    pod["containers"] = json!([container]);
    let mut spec = json!({
        "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": pod},
    });
    if kind == "StatefulSet" {
        spec["serviceName"] = json!(name);
    }
    if kind != "DaemonSet" {
        spec["replicas"] = json!(1);
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    })
}

/// Whether a pod is ready, and not on its way out.
#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.into_iter().any(|at| at.type_ == "Ready" && at.status == "True")
}
