//! A kind that is taken out of the cluster while the operator runs.

use std::sync::Arc;

use anyhow::{Result, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, api::DeleteParams};
use rekey_api::SecretPolicy;
use rekey_e2e::{
    Account, Scene, World, foreign,
    wait::{until, until_equal},
};
use serde_json::json;
use tokio::time::{Duration, sleep};

/// How long the operator is watched after the kind is gone: a watch that is tried again and again would be tried several
/// times, with pauses that start below a second.
const WHILE: Duration = Duration::from_secs(15);

/// Its objects are consumers no more, nobody asks for them, and they are back with the kind.
pub async fn kind(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "removed").await?;
    let gateway = json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "edge", "namespace": scene.namespace},
        "spec": {"listeners": [{"name": "a", "tls": {"certificateRefs": [{"name": "db"}]}}]},
    });
    world.serve(foreign::gateways(), gateway.clone()).await?;
    let account = Account::new(&scene).await?;
    let operator = account.operator("first")?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "one"})).await?;
    scene.policy("db", "vault", &[("password", &key, "password")], json!({})).await?;
    let consumers = async |wanted: usize| {
        until_equal("the number of consumers", Some(wanted), || async {
            let status = scene.api::<SecretPolicy>().get("db").await?.status.unwrap_or_default();
            let known = status.consumers.map_or(0, |consumers| consumers.items.len());
            Ok((!status.conditions.is_empty()).then_some(known))
        })
        .await
    };
    consumers(1).await?;

    let kinds: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    kinds.delete("gateways.gateway.networking.k8s.io", &DeleteParams::default()).await?;
    consumers(0).await?;
    until("the operator knows that the kind is gone", || async {
        Ok(operator.log()?.contains("this kind is not there any more").then_some(()))
    })
    .await?;
    let mark = account.mark().await?;
    sleep(WHILE).await;
    let counts = account.since(&mark).await?;
    ensure!(counts.of("list", "gateways") + counts.of("watch", "gateways") == 0, "it is still asked for: {counts}");
    ensure!(operator.get("/readyz").await?.0 == 200);

    world.serve(foreign::gateways(), gateway).await?;
    consumers(1).await
}
