//! The whole installation and a namespace are deleted while rotations are open and the operator is dead: both hang.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::{
    api::core::v1::Namespace, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::Api;
use rekey_e2e::{World, wait::until};
use rekey_testkit::helm::helms;

use crate::{
    cluster,
    runbook::Admin,
    shop::{OWNED, Shop},
    stand_in::StandIn,
};

pub const RUNS: [&str; 5] =
    ["See what hangs", "Free what hangs", "Look for pending Secrets", "Delete pending Secrets", "By the install file"];

pub async fn what_hangs_without_the_operator_is_freed(world: Arc<World>) -> Result<()> {
    let admin = Admin::new(&world, &helms()?.four, &RUNS)?;
    cluster::install(&admin, &world.client).await?;
    let stand_in = StandIn::begin(&world, world.kubeconfig()?);
    let shop = Shop::open(&world, "shop", world.bao.address()).await?;
    let other = Shop::open(&world, "other", world.bao.address()).await?;
    tokio::try_join!(shop.stock(), other.stock())?;
    cluster::is_collected(&world).await?;
    let before = shop.picture().await?;
    stand_in.loss()();

    admin.bash("kubectl delete -k deploy/kustomize/base --wait=false").await?;
    admin.bash(&format!("kubectl delete namespace {} --wait=false", other.scene.namespace)).await?;
    // Everything else is gone, so what is left hangs.
    shop.lost(&before, &OWNED).await?;
    let definitions: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    until("the other definitions are gone", || async {
        Ok(definitions.get_opt("secretpolicies.rekey.dev").await?.is_none().then_some(()))
    })
    .await?;
    until("the namespace holds nothing but the schedule", || async {
        Ok(other.picture().await?.secrets.is_empty().then_some(()))
    })
    .await?;
    let hangs = admin.lines("See what hangs").await?;
    ensure!(hangs.len() == 2 && hangs.iter().all(|line| line.contains(" held since ")), "{hangs:?}");
    ensure!(definitions.get("rotationschedules.rekey.dev").await?.metadata.deletion_timestamp.is_some());
    ensure!(namespaces.get(&other.scene.namespace).await?.metadata.deletion_timestamp.is_some());
    admin.run("Free what hangs").await?;
    cluster::definitions_gone(&world.client).await?;
    until("the namespace is gone", || async {
        Ok(namespaces.get_opt(&other.scene.namespace).await?.is_none().then_some(()))
    })
    .await?;
    let left = shop.pending().await?;
    ensure!(left.len() == 1 && admin.run("Look for pending Secrets").await?.out.contains(&left[0]), "{left:?}");
    admin.run("Delete pending Secrets").await?;
    ensure!(shop.pending().await?.is_empty());
    until("the namespace of the operator is gone", || async {
        Ok(namespaces.get_opt(rekey_e2e::release::SYSTEM).await?.is_none().then_some(()))
    })
    .await?;
    cluster::is_clean(&admin).await?;
    cluster::install(&admin, &world.client).await?;
    admin.run("By the install file").await?;
    cluster::is_clean(&admin).await?;
    admin.run("By the install file").await.context("for the second time")?;
    stand_in.healthy()?;
    admin.done()
}
