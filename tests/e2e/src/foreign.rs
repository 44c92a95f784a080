//! Kinds of other projects, as far as Rekey reads them: this machine has none of their controllers.

use anyhow::Result;
use serde_json::{Value, json};

use crate::{World, wait::until};

/// Argo Rollouts.
#[must_use]
pub fn rollouts() -> Value {
    kind("argoproj.io", "v1alpha1", "Rollout", "rollouts")
}

/// Gateways of the Gateway API.
#[must_use]
pub fn gateways() -> Value {
    kind("gateway.networking.k8s.io", "v1", "Gateway", "gateways")
}

/// External Secrets.
#[must_use]
pub fn external_secrets() -> Value {
    kind("external-secrets.io", "v1", "ExternalSecret", "externalsecrets")
}

fn kind(group: &str, version: &str, kind: &str, plural: &str) -> Value {
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": open, "status": open}}});
    let version = json!({
        "name": version, "served": true, "storage": true, "schema": schema, "subresources": {"status": {}},
    });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.{group}"),
            // Groups of Kubernetes itself require it.
            "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"},
        },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural},
            "versions": [version],
        },
    })
}

impl World {
    /// Installs a [kind](self), and waits until it can create this object of it.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn serve(&self, kind: Value, first: Value) -> Result<()> {
        self.apply(kind).await?;
        until("the API server serves it", || async { Ok(self.apply(first.clone()).await.ok()) }).await.map(drop)
    }
}
