//! A policy that publishes versions, and what there is of them.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    Scene, World,
    wait::until,
    workloads::{Form, workload},
};
use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Secret;
use kube::{ResourceExt as _, api::ListParams};
use rekey_api::{SecretPolicy, names};
use serde_json::{Value, json};

/// A namespace with the key `db` in its store.
///
/// # Errors
/// When a request fails.
pub async fn scene(world: &Arc<World>, prefix: &str) -> Result<Scene> {
    let scene = Scene::new(world, prefix).await?;
    put(&scene, "one").await?;
    Ok(scene)
}

/// Writes this password to the key `db`.
///
/// # Errors
/// When a request fails.
pub async fn put(scene: &Scene, password: &str) -> Result<()> {
    scene.world.bao.put(&scene.key("db"), &json!({"password": password})).await.map(drop)
}

/// The policy `db`, which is read seldom; `more` is merged over its spec.
///
/// # Errors
/// When a request fails.
pub async fn policy(scene: &Scene, more: Value) -> Result<()> {
    let key = scene.key("db");
    let mut spec = json!({"source": {"remote": {"refreshInterval": "240h"}}});
    for (name, value) in more.as_object().context("fields of the spec")? {
        spec[name] = value.clone();
    }
    scene.policy("db", "vault", &[("password", key.as_str(), "password")], spec).await
}

/// A spec with `Versioned` and references that stay: so many superseded versions are kept.
#[must_use]
pub fn versioned(keep: u32) -> Value {
    json!({"immutability": "Versioned", "versions": {"references": "Publish", "keep": keep}})
}

/// Publishes another value; returns the name of its Secret.
///
/// # Errors
/// When it does not get there.
pub async fn change(scene: &Scene, password: &str) -> Result<String> {
    put(scene, password).await?;
    scene.sync("db").await?;
    current(scene, password).await
}

/// Waits until the policy is settled with a Secret that holds this; returns its name.
///
/// # Errors
/// When it does not get there.
pub async fn current(scene: &Scene, password: &str) -> Result<String> {
    until(&format!("status.secretName names a Secret that holds {password:?}"), || async {
        let policy = scene.wait_settled("db").await?;
        let Some(name) = policy.status.and_then(|status| status.secret_name) else { return Ok(None) };
        let data = scene.data(&name).await?.unwrap_or_default();
        Ok((data.get("password").map(String::as_str) == Some(password)).then_some(name))
    })
    .await
}

/// The Secrets that say they are the policy's: what they hold, by their names.
///
/// # Errors
/// When a request fails.
pub async fn versions(scene: &Scene) -> Result<BTreeMap<String, String>> {
    let all = scene.api::<Secret>().list(&ListParams::default()).await?;
    let is_of_policy = |secret: &Secret| secret.annotations().get(names::POLICY).map(String::as_str) == Some("db");
    let held = |secret: &Secret| {
        let value = secret.data.as_ref().and_then(|data| data.get("password"));
        value.map(|value| String::from_utf8_lossy(&value.0).into_owned()).unwrap_or_default()
    };
    Ok(all.iter().filter(|secret| is_of_policy(secret)).map(|secret| (secret.name_any(), held(secret))).collect())
}

/// What the versions hold, in order.
///
/// # Errors
/// When a request fails.
pub async fn held(scene: &Scene) -> Result<Vec<String>> {
    let mut held: Vec<String> = versions(scene).await?.into_values().collect();
    held.sort();
    Ok(held)
}

/// A Deployment whose pod has the password of this Secret in its environment.
///
/// # Errors
/// When a request fails.
pub async fn deployment(scene: &Scene, name: &str, secret: &str) -> Result<()> {
    scene.world.apply(workload("Deployment", &scene.namespace, name, secret, Form::Env)).await.map(drop)
}

/// The status of the policy `db`; the default where it has none.
///
/// # Errors
/// When a request fails.
pub async fn status(scene: &Scene) -> Result<rekey_api::SecretPolicyStatus> {
    Ok(scene.api::<SecretPolicy>().get("db").await?.status.unwrap_or_default())
}
