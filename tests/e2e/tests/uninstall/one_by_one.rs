//! What goes with what, while the operator runs.

use std::{sync::Arc, time::Instant};

use anyhow::{Result, bail, ensure};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::DeleteParams;
use rekey_e2e::World;
use rekey_testkit::{
    helm::helms,
    proxy::{Fault, Proxy, filter},
};

use crate::{
    cluster::{self, definitions_gone},
    runbook::Admin,
    shop::{OWNED, Shop},
    stand_in::StandIn,
};

pub async fn what_goes_while_the_operator_runs(world: Arc<World>) -> Result<()> {
    let admin = Admin::new(&world, &helms()?.four, &[])?;
    cluster::install(&admin, &world.client).await?;
    let stand_in = StandIn::begin(&world, world.kubeconfig()?);
    let proxy = Proxy::http(world.bao.address())?;
    proxy.count(filter::vault);
    let mut shops = Vec::new();
    for name in ["policy", "schedule", "namespace", "binding", "kinds"] {
        shops.push(Shop::open(&world, name, proxy.address()).await?);
    }
    let [policy, schedule, namespace, binding, kinds] = shops.as_slice() else { bail!("five shops") };
    futures::future::try_join_all(shops.iter().map(Shop::stock)).await?;
    proxy.arm_from(proxy.calls().len() as u64 + 1, Fault::Drop);
    for shop in [schedule, namespace, binding, kinds] {
        shop.publishing().await?;
    }
    cluster::is_collected(&world).await?;
    tokio::try_join!(policies(&admin, policy), schedules(schedule), namespaces(&admin, namespace), bindings(binding))?;

    definitions(&world, &admin, kinds).await?;
    stand_in.healthy()?;
    Ok(())
}

/// The definitions go, under an operator that goes on.
async fn definitions(world: &World, admin: &Admin, shop: &Shop) -> Result<()> {
    let before = shop.picture().await?;
    let start = Instant::now();
    admin.bash(cluster::DELETE_DEFINITIONS).await?;
    definitions_gone(&world.client).await?;
    println!("the definitions are gone after {:.1} s", start.elapsed().as_secs_f64());
    shop.lost(&before, &OWNED).await?;
    ensure!(shop.pending().await?.is_empty(), "the rotations were ended in order");
    Ok(())
}

async fn policies(admin: &Admin, shop: &Shop) -> Result<()> {
    let before = shop.picture().await?;
    admin.bash(&format!("kubectl delete secretpolicies --all -n {} --timeout=1m", shop.scene.namespace)).await?;
    shop.lost(&before, &OWNED).await?;
    shop.scene.wait_step("held", "RollingOut").await?;
    shop.gone("held").await
}

async fn schedules(shop: &Shop) -> Result<()> {
    let before = shop.picture().await?;
    tokio::try_join!(shop.gone("held"), shop.gone("read"))?;
    ensure!(shop.pending().await?.is_empty());
    shop.unchanged(&before).await
}

async fn namespaces(admin: &Admin, shop: &Shop) -> Result<()> {
    let start = Instant::now();
    admin.bash(&format!("kubectl delete namespace {} --timeout=1m", shop.scene.namespace)).await?;
    println!("the namespace is gone after {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

async fn bindings(shop: &Shop) -> Result<()> {
    let before = shop.picture().await?;
    shop.scene.api::<RoleBinding>().delete("rekey", &DeleteParams::default()).await?;
    tokio::try_join!(shop.gone("held"), shop.gone("read"))?;
    ensure!(shop.pending().await?.len() == 2, "nobody may delete them");
    shop.scene.wait_policy("made", "Stalled=True/NamespaceNotOpened").await?;
    shop.unchanged(&before).await
}
