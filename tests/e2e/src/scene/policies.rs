//! Policies of a scene.

use anyhow::Result;
use serde_json::{Value, json};

use super::Scene;

impl Scene {
    /// A policy that maps `property` of each item to a key: `(key of the Secret, remote key, property)`. `more` is
    /// merged over its spec.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn policy(&self, name: &str, store: &str, items: &[(&str, &str, &str)], more: Value) -> Result<()> {
        let data: Vec<Value> = items
            .iter()
            .map(|(secret_key, key, property)| {
                json!({"secretKey": secret_key, "remoteRef": {"key": key, "property": property}})
            })
            .collect();
        let mut spec = json!({"source": {"remote": {
            "storeRef": {"name": store}, "refreshInterval": "10s", "data": data,
        }}});
        merge(&mut spec, more);
        self.policy_of(name, spec).await
    }

    /// A policy with this spec. Its consumers count as healthy after [`Scene::stable_for`], unless it says more.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn policy_of(&self, name: &str, mut spec: Value) -> Result<()> {
        if spec["rollout"]["stableFor"].is_null() {
            merge(&mut spec, json!({"rollout": {"stableFor": self.stable_for}}));
        }
        let metadata = json!({"name": name});
        self.apply(json!({
            "apiVersion": "rekey.dev/v1alpha1", "kind": "SecretPolicy", "metadata": metadata, "spec": spec,
        }))
        .await
    }
}

/// Merges `more` over `base`, object by object.
fn merge(base: &mut Value, more: Value) {
    match (base, more) {
        (Value::Object(base), Value::Object(more)) => {
            for (name, value) in more {
                merge(base.entry(name).or_insert(Value::Null), value);
            }
        }
        (base, more) => *base = more,
    }
}
