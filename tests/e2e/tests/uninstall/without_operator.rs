//! The operator is gone with its node, in the middle of a rotation, and the release was uninstalled before anything else.

use std::sync::Arc;

use anyhow::{Result, ensure};
use http::Method;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use rekey_api::{RotationSchedule, names};
use rekey_e2e::{
    Release, World,
    wait::until,
    world::{GROUPS, OPERATOR},
};
use rekey_testkit::{
    helm::helms,
    proxy::{Fault, Proxy},
};

use crate::{
    cluster,
    runbook::{Admin, EITHER_WAY},
    shop::{OWNED, Shop},
    stand_in::StandIn,
};

pub async fn without_the_operator_every_secret_stays(world: Arc<World>) -> Result<()> {
    let program = helms()?.three;
    let release = Release::new(&program, &world.plane);
    let admin = Admin::new(&world, &program, &EITHER_WAY)?;
    cluster::install_by(&release).await?;
    let identity = world.plane.identity(OPERATOR, &GROUPS)?;
    let (certificate, key) = (&identity.certificate_pem, &identity.key_pem);
    let proxy = Proxy::kubernetes(world.plane.url(), &world.plane.ca_pem(), certificate, key)?;
    let authority = proxy.ca_pem().unwrap_or_default();
    let kubeconfig = world.plane.kubeconfig_via("operator-by-proxy", OPERATOR, &GROUPS, proxy.address(), authority)?;
    let stand_in = StandIn::begin(&world, kubeconfig);
    let shop = Shop::open(&world, "shop", world.bao.address()).await?;
    shop.stock().await?;
    dies_preparing(&shop, &proxy, &stand_in).await?;
    let before = shop.picture().await?;
    release.helm(&["uninstall", "rekey"]).await?;
    shop.is(&before).await?;
    admin.bash("kubectl get -n rekey-system lease/rekey-leader secret/rekey-digest-key").await?;

    admin.run("1. Start no more rotations").await?;
    let open = admin.lines("2. See which rotations are open").await?;
    ensure!(
        open.len() == 2 && open[0].contains(" held RollingOut: ") && open[1].contains(" read Preparing: "),
        "{open:?}"
    );
    ensure!(admin.lines("See what hangs").await?.is_empty(), "nothing is deleted yet");
    let schedules: Api<RotationSchedule> = shop.scene.api();
    schedules.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
    let hangs = admin.lines("See what hangs").await?;
    ensure!(hangs.len() == 2 && hangs.iter().all(|line| line.ends_with(names::FINALIZER)), "{hangs:?}");
    admin.run("Free what hangs").await?;
    ensure!(admin.lines("See what hangs").await?.is_empty());
    ensure!(schedules.list(&ListParams::default()).await?.items.is_empty(), "they are gone");
    let left = admin.run("Look for pending Secrets").await?.out;
    ensure!(left.matches(names::PENDING_PREFIX).count() == 2, "{left}");
    shop.scene.secret("labelled", &[]).await?;
    admin.bash(&format!("kubectl label secret labelled -n {} {}=u", shop.scene.namespace, names::SCHEDULE_UID)).await?;
    admin.run("Delete pending Secrets").await?;
    ensure!(shop.pending().await? == ["labelled"], "that belongs to another tool");
    shop.scene.api::<Secret>().delete("labelled", &DeleteParams::default()).await?;

    admin.run("4. Let the Secrets stay").await?;
    let owned = admin.lines("5. See which Secrets would go").await?;
    let wanted = OWNED.map(|name| format!("{} {name} of policy {name}", shop.scene.namespace));
    ensure!(owned == wanted, "{owned:?}");
    admin.run("6. Let the rest stay, too").await?;
    ensure!(admin.lines("5. See which Secrets would go").await?.is_empty());
    admin.run("7. Delete policies and stores").await?;
    admin.run("By Helm").await?;
    admin.run("9. Close the namespaces").await?;
    shop.is(&before).await?;

    cluster::install_by(&release).await?;
    stand_in.found();
    stand_in.wait(true).await?;
    shop.scene.open().await?;
    shop.comes_back(&before).await?;
    stand_in.healthy()?;
    admin.done()
}

/// A rotation of `read` has its pending Secret and nothing else when the operator dies.
async fn dies_preparing(shop: &Shop, proxy: &Proxy, stand_in: &StandIn) -> Result<()> {
    shop.rotate("read").await?;
    // Pending Secrets are made by POST, all others are applied.
    proxy.count(|parts| parts.method == Method::POST && parts.uri.path().ends_with("/secrets"));
    proxy.on_kill(Box::new(stand_in.loss()));
    proxy.arm(proxy.calls().len() as u64 + 1, Fault::KillAfterAnswer);
    shop.ask("read").await?;
    until("the operator is dead", || async { Ok((proxy.kills() == 1).then_some(())) }).await?;
    shop.scene.wait_step("read", "Preparing").await?;
    ensure!(shop.pending().await?.len() == 2, "one for each rotation");
    stand_in.wait(false).await
}
