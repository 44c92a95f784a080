//! Namespaces are opened one by one.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use k8s_openapi::{
    api::rbac::v1::RoleBinding, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, api::DeleteParams};
use rekey_e2e::{
    Account, Scene, World, conditions, foreign,
    kubectl::kubectl,
    wait::{stays, until},
};
use serde_json::json;

pub async fn a_namespace_opened_later_works_without_a_restart(world: Arc<World>) -> Result<()> {
    let scene = Scene::closed(&world, "closed").await?;
    let operator = scene.operator()?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "one"})).await?;
    scene.vault_store("ReadOnly").await?;
    scene.policy("db", "vault", &[("password", &key, "password")], json!({})).await?;
    let said = scene.wait_policy("db", "Stalled=True/NamespaceNotOpened").await?;
    scene.wait_policy("db", "Ready=False/NamespaceNotOpened").await?;
    let store = scene.wait_store("vault", "Stalled=True/NamespaceNotOpened").await?.status.unwrap_or_default();
    ensure!(conditions::message(&store.conditions, "Stalled") == said, "{store:?}");
    ensure!(scene.data("db").await?.is_none(), "a Secret was written");
    // The command of the message opens it.
    let command = said.split('`').nth(1).unwrap_or_default().to_owned();
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    ensure!(words.starts_with(&["create", "rolebinding"]) && words.contains(&scene.namespace.as_str()), "{said}");
    let start = Instant::now();
    kubectl(&world, &words).await?;
    scene.wait_synced("db").await?;
    ensure!(start.elapsed() < Duration::from_secs(40), "it took {:?}", start.elapsed());
    println!("served {:.1} s after the namespace was opened", start.elapsed().as_secs_f64());
    scene.wait_data("db", &[("password", "one")]).await?;
    scene.wait_store("vault", "Ready=True/Synced").await?;
    // Once closed again, the status says so again, and what was published stays.
    drop(operator);
    scene.api::<RoleBinding>().delete("rekey", &DeleteParams::default()).await?;
    world.bao.put(&key, &json!({"password": "two"})).await?;
    let _operator = scene.operator()?;
    ensure!(scene.wait_policy("db", "Stalled=True/NamespaceNotOpened").await? == said, "another text");
    scene.wait_data("db", &[("password", "one")]).await?;
    kubectl(&world, &words).await?;
    scene.wait_data("db", &[("password", "two")]).await?;
    scene.wait_synced("db").await.map(drop)
}

/// The CRD of an extension goes while the operator runs: asking for it again and again would cost, and end in a watch
/// that counts as dead. It has a world of its own: operators of other tests would see the kind come and go, and be
/// found to ask for it.
pub async fn a_kind_that_is_removed_is_not_asked_for_any_more(_: Arc<World>) -> Result<()> {
    let world = Arc::new(World::start(false).await?);
    let scene = Scene::new(&world, "kinds").await?;
    let gateway = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": "edge", "namespace": scene.namespace}, "spec": {},
    });
    world.serve(foreign::gateways(), gateway).await?;
    let account = Account::new(&scene).await?;
    let start = account.mark().await?;
    let operator = account.operator("kinds")?;
    until("gateways are watched", || async {
        Ok((account.since(&start).await?.of("watch", "gateways") > 0).then_some(()))
    })
    .await?;
    let before = account.mark().await?;
    let kinds: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    kinds.delete("gateways.gateway.networking.k8s.io", &DeleteParams::default()).await?;
    until("it notices", || async { Ok((account.not_found("gateways", &before).await? > 0).then_some(())) }).await?;
    let after = account.mark().await?;
    let requests = || async {
        let counts = account.since(&after).await?;
        Ok(counts.of("list", "gateways") + counts.of("watch", "gateways"))
    };
    stays("requests for gateways", 0, Duration::from_secs(8), requests).await?;
    ensure!(operator.get("/readyz").await?.0 == 200);
    Ok(())
}
