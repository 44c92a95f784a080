//! Stores: their credentials, and what their status says.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use rekey_api::store::Capability;
use rekey_e2e::{Scene, World, conditions};
use serde_json::{Value, json};

const READS: &str = r#"path "secret/data/*" { capabilities = ["read"] }"#;

pub async fn a_store_with_a_token_says_who_it_is(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "token").await?;
    let limited = format!("reader-{}", scene.namespace);
    world.bao.policy(&limited, READS).await?;
    scene.secret("limited", &[("token", &world.bao.token_for(&limited).await?)]).await?;
    scene.store("limited", "ReadOnly", vault(&scene, &token_auth("limited"))).await?;
    let _operator = scene.operator()?;
    let place = world.bao.address().trim_start_matches("http://").to_owned();
    for (name, identity, capabilities) in [
        ("vault", format!("token root at {place}"), vec![Capability::Read, Capability::Write, Capability::Find]),
        ("limited", format!("the token in limited/token at {place}"), vec![Capability::Read, Capability::Find]),
    ] {
        let store = scene.wait_store(name, "Ready=True/Synced").await?;
        let status = store.status.context("no status")?;
        ensure!(status.identity.as_deref() == Some(identity.as_str()), "{name}: {:?}", status.identity);
        ensure!(status.capabilities == capabilities, "{name}: {:?}", status.capabilities);
        ensure!(status.observed_generation == store.metadata.generation, "{name}: {status:?}");
        ensure!(conditions::shown(&status.conditions) == ["Ready=True/Synced"], "{name}: {status:?}");
    }
    // The limited token serves a policy, too.
    world.bao.put(&scene.key("db"), &json!({"password": "one"})).await?;
    scene.policy("db", "limited", &[("password", &scene.key("db"), "password")], json!({})).await?;
    scene.wait_data("db", &[("password", "one")]).await
}

pub async fn a_store_with_a_key_pair_gives_json_properties(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "aws").await?;
    let _operator = scene.operator()?;
    let key = scene.key("db");
    let version = world.moto.create(&key, r#"{"user": {"name": "orders"}, "password": "p@ss", "port": 5432}"#).await?;
    let items = [("username", key.as_str(), "user.name"), ("password", &key, "password"), ("port", &key, "port")];
    scene.policy("db", "aws", &items, json!({})).await?;
    scene.wait_data("db", &[("username", "orders"), ("password", "p@ss"), ("port", "5432")]).await?;
    let status = scene.wait_synced("db").await?.status.unwrap_or_default();
    ensure!(status.source.as_deref() == Some("RemoteStore/aws"), "{status:?}");
    let versions: Vec<(&str, &str)> =
        status.source_versions.iter().map(|at| (at.key.as_str(), at.version.as_str())).collect();
    ensure!(versions == [(key.as_str(), version.as_str())], "{versions:?}");
    let store = scene.wait_store("aws", "Ready=True/Synced").await?.status.context("no status")?;
    // The identity that the emulator's STS gives everybody.
    let identity = store.identity.unwrap_or_default();
    ensure!(identity.starts_with("arn:aws:sts::123456789012:"), "{identity}");
    Ok(())
}

/// The emulator still accepts the old pair: the change of the Secret ends its use.
pub async fn a_key_pair_that_changes_is_not_used_any_more(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "pair").await?;
    let _operator = scene.operator()?;
    scene.wait_store("aws", "Ready=True/Synced").await?;
    let secrets = scene.api::<Secret>();
    let without = Patch::Merge(json!({"data": {"secret": null}}));
    secrets.patch("aws", &PatchParams::default(), &without).await?;
    let store = scene.wait_store("aws", "Ready=False/CredentialsNotFound").await?;
    let said = conditions::message(&store.status.unwrap_or_default().conditions, "Ready");
    ensure!(said.contains(r#"Secret "aws" has no key "secret""#), "{said}");
    scene.secret("aws", &[("id", "test"), ("secret", "test")]).await?;
    scene.wait_store("aws", "Ready=True/Synced").await.map(drop)
}

pub async fn kubernetes_login_needs_the_role_and_then_works(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "login").await?;
    scene.kubernetes_login().await?;
    let (policy, role) = (format!("reader-{}", scene.namespace), format!("shop-{}", scene.namespace));
    world.bao.policy(&policy, READS).await?;
    for account in ["shop-reader", "other"] {
        scene.apply(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}})).await?;
        let auth = json!({"kubernetes": {
            "role": role, "serviceAccountRef": {"name": account, "audiences": ["vault"]},
        }});
        scene.store(account, "ReadOnly", vault(&scene, &auth)).await?;
    }
    world.bao.kubernetes_role(&role, &scene.namespace, "shop-reader", &policy, "vault").await?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "one"})).await?;
    let _operator = scene.operator()?;
    scene.policy("db", "shop-reader", &[("password", &key, "password")], json!({})).await?;
    // Without the Role the store says what to do.
    for account in ["shop-reader", "other"] {
        let said = refusal(&scene, account).await?;
        let command = format!("kubectl create role rekey-token-{account} -n {}", scene.namespace);
        ensure!(said.contains(&command), "{said}");
    }
    let said = scene.wait_policy("db", "Ready=False/AccessDenied").await?;
    ensure!(said.contains("shop-reader"), "{said}");
    allow(&scene, "shop-reader").await?;
    let store = scene.wait_store("shop-reader", "Ready=True/Synced").await?;
    let identity = store.status.and_then(|status| status.identity).unwrap_or_default();
    ensure!(identity.starts_with(&format!("role {role} at ")), "{identity}");
    scene.wait_data("db", &[("password", "one")]).await?;
    // The Role names one ServiceAccount, and opens no other.
    let said = refusal(&scene, "other").await?;
    ensure!(said.contains("rekey-token-other"), "{said}");
    Ok(())
}

/// What a store says that may not log in.
async fn refusal(scene: &Scene, store: &str) -> Result<String> {
    let status = scene.wait_store(store, "Ready=False/AccessDenied").await?.status.unwrap_or_default();
    ensure!(status.capabilities.is_empty(), "{store}: {status:?}");
    Ok(conditions::message(&status.conditions, "Ready"))
}

/// What deploy/open-namespace.yaml shows: tokens of one `ServiceAccount`.
async fn allow(scene: &Scene, account: &str) -> Result<()> {
    let (group, name) = ("rbac.authorization.k8s.io", format!("rekey-token-{account}"));
    scene
        .apply(json!({
            "apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": {"name": name},
            "rules": [{
                "apiGroups": [""], "resources": ["serviceaccounts/token"], "resourceNames": [account],
                "verbs": ["create"],
            }],
        }))
        .await?;
    scene
        .apply(json!({
            "apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": "rekey", "namespace": "rekey-system"}],
        }))
        .await
}

fn token_auth(secret: &str) -> Value {
    json!({"token": {"secretRef": {"name": secret, "key": "token"}}})
}

fn vault(scene: &Scene, auth: &Value) -> Value {
    json!({"vault": {"server": scene.world.bao.address(), "mount": "secret", "kvVersion": "V2", "auth": auth}})
}
