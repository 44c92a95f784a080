//! The whole runbook while the operator runs, and back.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use kube::api::ListParams;
use rekey_api::{RotationSchedule, SecretPolicy};
use rekey_e2e::{Release, World, wait::until};
use rekey_testkit::helm::helms;

use crate::{
    cluster,
    runbook::{Admin, EITHER_WAY},
    shop::Shop,
    stand_in::StandIn,
};

/// The blocks beside [`EITHER_WAY`].
pub const RUNS: [&str; 1] = ["3. Delete the schedules"];

pub async fn with_the_operator_every_secret_stays(world: Arc<World>) -> Result<()> {
    let program = helms()?.four;
    let release = Release::new(&program, &world.plane);
    let runs = [&EITHER_WAY[..], &RUNS].concat();
    let admin = Admin::new(&world, &program, &runs)?;
    cluster::install_by(&release).await?;
    for heading in runs.into_iter().filter(|heading| !["By Helm", "9. Close the namespaces"].contains(heading)) {
        admin.run(heading).await.context("with nothing there")?;
    }
    let stand_in = StandIn::begin(&world, world.kubeconfig()?);
    let shop = Shop::open(&world, "shop", world.bao.address()).await?;
    shop.stock().await?;
    let before = shop.picture().await?;

    admin.run("1. Start no more rotations").await?;
    let open = admin.lines("2. See which rotations are open").await?;
    let wanted = format!("{} held RollingOut: not yet on the new value: Deployment held (Held)", shop.scene.namespace);
    ensure!(open == [wanted], "{open:?}");
    admin.run("3. Delete the schedules").await?;
    ensure!(admin.lines("2. See which rotations are open").await?.is_empty());
    ensure!(shop.scene.api::<RotationSchedule>().list(&ListParams::default()).await?.items.is_empty());
    ensure!(shop.pending().await?.is_empty(), "the rotation was ended in order");

    admin.run("4. Let the Secrets stay").await?;
    let rests = format!("{} rests of policy rests", shop.scene.namespace);
    until("only the suspended policy holds its Secret", || async {
        Ok((admin.lines("5. See which Secrets would go").await? == [rests.clone()]).then_some(()))
    })
    .await?;
    // Going on all the same does no harm.
    let refused = admin.lines("7. Delete policies and stores").await?;
    ensure!(refused == [format!("nothing is deleted, since these Secrets would go, too: {rests}")], "{refused:?}");
    let refused = admin.lines("By Helm").await?;
    ensure!(refused == ["nothing is deleted, since there are policies: do steps 4 to 7 first"], "{refused:?}");
    admin.run("6. Let the rest stay, too").await?;
    ensure!(admin.lines("5. See which Secrets would go").await?.is_empty());
    admin.run("7. Delete policies and stores").await?;
    ensure!(shop.scene.api::<SecretPolicy>().list(&ListParams::default()).await?.items.is_empty());
    admin.run("By Helm").await?;
    stand_in.wait(false).await?;
    admin.run("9. Close the namespaces").await?;
    for heading in ["By Helm", "9. Close the namespaces", "5. See which Secrets would go"] {
        admin.run(heading).await.context("for the second time")?;
    }
    cluster::is_clean(&admin).await?;
    shop.is(&before).await?;

    cluster::install_by(&release).await?;
    stand_in.wait(true).await?;
    shop.scene.open().await?;
    shop.comes_back(&before).await?;
    stand_in.healthy()?;
    admin.done()
}
