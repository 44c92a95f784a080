//! Consent of credentials: who may use one, and where it is sent.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use rekey_api::RemoteStore;
use rekey_e2e::{
    Operator, Scene, World,
    conditions::message,
    kubectl::kubectl,
    wait::{stays, until},
};
use rekey_testkit::proxy::TcpProxy;
use serde_json::{Value, json};

use crate::cluster_stores::ClusterStore;

const USABLE_BY: &str = "rekey.dev/usable-by";

/// Host and port of the store server.
fn place(world: &World) -> &str {
    world.bao.address().trim_start_matches("http://")
}

async fn said(scene: &Scene) -> Result<String> {
    let status = scene.api::<RemoteStore>().get("vault").await?.status.unwrap_or_default();
    Ok(message(&status.conditions, "Ready"))
}

/// Waits until the store says this.
async fn wait_said(scene: &Scene, text: &str) -> Result<String> {
    until(&format!("RemoteStore vault says {text}"), || async {
        Ok(Some(said(scene).await?).filter(|said| said.contains(text)))
    })
    .await
}

/// Runs the command that a message gives, as a user would.
async fn obey(world: &World, said: &str) -> Result<()> {
    let command = said.split('`').nth(1).context("no command")?.replace('\'', "");
    kubectl(world, &command.split(' ').skip(1).collect::<Vec<_>>()).await.map(drop)
}

async fn scene(world: &Arc<World>, prefix: &str, flags: &[&str]) -> Result<(Scene, Operator)> {
    let scene = Scene::closed(world, prefix).await?;
    scene.open().await?;
    scene.vault_store("ReadOnly").await?;
    world.bao.put(&scene.key("db"), &json!({"password": "one"})).await?;
    let only = format!("--namespaces={}", scene.namespace);
    let arguments: Vec<&str> = [only.as_str(), "--leader-elect=false"].iter().chain(flags).copied().collect();
    let operator = world.operator(&scene.namespace, &arguments)?;
    Ok((scene, operator))
}

pub async fn a_credential_can_be_made_to_need_consent(world: Arc<World>) -> Result<()> {
    let (scene, mut operator) = scene(&world, "consent", &["--require-consent", "--allow-ambient-credentials"]).await?;
    let said = wait_said(&scene, "has no annotation rekey.dev/usable-by").await?;
    let entry = format!("RemoteStore/vault@{}", place(&world));
    ensure!(said.contains(&format!("--overwrite {USABLE_BY}='{entry}'")), "{said}");
    scene.wait_store("vault", "Ready=False/NoConsent").await?;
    // Without an address it is none: whoever edits the store could send the credential anywhere.
    scene.annotate::<Secret>("vault-token", USABLE_BY, "RemoteStore/vault").await?;
    let said = wait_said(&scene, &format!("may not be sent to {}", place(&world))).await?;
    obey(&world, &said).await?;
    scene.wait_store("vault", "Ready=True/Synced").await?;
    operator.alive()
}

/// A store that has consent for one address is edited: not a byte goes to the other one.
pub async fn a_consented_credential_is_sent_nowhere_else_when_its_store_is_edited(world: Arc<World>) -> Result<()> {
    let (scene, _operator) = scene(&world, "moved", &[]).await?;
    let entry = format!("RemoteStore/vault@{}", place(&world));
    scene.annotate::<Secret>("vault-token", USABLE_BY, &entry).await?;
    scene.policy("db", "vault", &[("password", &scene.key("db"), "password")], json!({})).await?;
    scene.wait_synced("db").await?;
    let proxy = TcpProxy::start(place(&world))?;
    let elsewhere = format!("http://{}", proxy.address());
    scene.vault_store_at(&elsewhere, "ReadOnly").await?;
    let said = wait_said(&scene, &format!("may not be sent to {} by RemoteStore/vault", proxy.address())).await?;
    scene.ask_sync("db").await?;
    scene.wait_policy("db", "Fresh=False/AccessDenied").await?;
    stays("connections to the other address", 0, Duration::from_secs(2), || async { Ok(proxy.connections()) }).await?;
    // The owner of the Secret can allow it.
    obey(&world, &said).await?;
    scene.wait_store("vault", "Ready=True/Synced").await?;
    scene.wait_synced("db").await?;
    ensure!(proxy.connections() > 0, "the store is reached by the other address");
    // Withdrawn consent counts at once, though a login is open.
    scene.annotate::<Secret>("vault-token", USABLE_BY, "RemoteStore/other@a:1").await?;
    let said = wait_said(&scene, "may be used by others only").await?;
    ensure!(!said.contains("RemoteStore/other"), "the message names no others: {said}");
    scene.ask_sync("db").await?;
    scene.wait_policy("db", "Fresh=False/AccessDenied").await.map(drop)
}

/// A policy cannot give consent.
pub async fn no_template_gives_consent(world: Arc<World>) -> Result<()> {
    let (scene, _operator) = scene(&world, "handed", &["--require-consent"]).await?;
    let entry = format!("RemoteStore/vault@{}", place(&world));
    let template = json!({"target": {"template": {"metadata": {"annotations": {USABLE_BY: entry}}}}});
    let refused = scene.policy("own", "vault", &[("token", "a", "b")], template).await.err().context("accepted")?;
    ensure!(format!("{refused:?}").contains("template.metadata.annotations: remove"), "{refused:?}");
    // What a template of an earlier version has written is no consent either.
    let body = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vault-token", "annotations": {USABLE_BY: entry}}});
    let params = PatchParams::apply("rekey").force();
    scene.api::<Secret>().patch("vault-token", &params, &Patch::Apply(&body)).await?;
    wait_said(&scene, "from a template of Rekey, which is no consent").await?;
    scene.wait_store("vault", "Ready=False/NoConsent").await.map(drop)
}

/// Consent names the kind, too.
pub async fn consent_names_the_kind_of_its_user(world: Arc<World>) -> Result<()> {
    let scene = Scene::closed(&world, "kinds").await?;
    scene.open().await?;
    let store = ClusterStore::new(&scene, "ReadOnly").await?;
    store.grant(json!([])).await?;
    let _operator = scene.operator()?;
    let secrets: Api<Secret> = Api::namespaced(world.client.clone(), "rekey-system");
    for (kind, wanted) in [("RemoteStore", "Ready=False/NoConsent"), ("ClusterRemoteStore", "Ready=True/Synced")] {
        let entry = format!("{kind}/{}@{}", store.name, place(&world));
        let body: Value = json!({"metadata": {"annotations": {USABLE_BY: entry}}});
        secrets.patch(&store.name, &PatchParams::default(), &Patch::Merge(&body)).await?;
        // The operator has no watch there: after a change of the store it reads again.
        store
            .grant(json!([{"namespaces": {"names": [kind.len().to_string()]}, "keys": ["*"], "operations": ["Read"]}]))
            .await?;
        store.wait(wanted).await?;
    }
    store.delete().await
}
