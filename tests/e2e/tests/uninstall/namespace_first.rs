//! The namespace of the operator is deleted before anything else.

use std::sync::Arc;

use anyhow::{Result, ensure};
use rekey_e2e::{Release, World};
use rekey_testkit::helm::helms;

use crate::{
    cluster,
    runbook::Admin,
    shop::{POLICIES, Shop},
    stand_in::StandIn,
};

pub const RUNS: [&str; 5] = [
    "4. Let the Secrets stay",
    "5. See which Secrets would go",
    "6. Let the rest stay, too",
    "7. Delete policies and stores",
    "The namespace was deleted first",
];

const DELETE: &str = "kubectl delete namespace rekey-system --timeout=1m";

pub async fn the_namespace_of_the_operator_goes_first(world: Arc<World>) -> Result<()> {
    let program = helms()?.four;
    let release = Release::new(&program, &world.plane);
    let admin = Admin::new(&world, &program, &RUNS)?;
    cluster::install_by(&release).await?;
    let stand_in = StandIn::begin(&world, world.kubeconfig()?);
    let shop = Shop::open(&world, "shop", world.bao.address()).await?;
    shop.stock().await?;
    let before = shop.picture().await?;
    admin.bash(DELETE).await?;
    stand_in.wait(false).await?;
    shop.is(&before).await?;

    // Installed again, with another digest key, it goes on as if nothing had happened.
    cluster::install_by(&release).await?;
    stand_in.wait(true).await?;
    shop.scene.suspend("rests", false).await?;
    for name in POLICIES {
        shop.scene.wait_settled(name).await?;
    }
    shop.unchanged(&before).await?;
    shop.scene.wait_step("held", "RollingOut").await?;
    shop.gone("held").await?;
    ensure!(shop.pending().await?.len() == 1, "nothing proves its value without the digest key");

    admin.bash(DELETE).await?;
    stand_in.wait(false).await?;
    admin.run("4. Let the Secrets stay").await?;
    admin.run("6. Let the rest stay, too").await?;
    ensure!(admin.lines("5. See which Secrets would go").await?.is_empty());
    let refused = admin.lines("The namespace was deleted first").await?;
    ensure!(refused == ["nothing is deleted, since there are policies: do steps 4 to 7 first"], "{refused:?}");
    admin.run("7. Delete policies and stores").await?;
    admin.run("The namespace was deleted first").await?;
    cluster::is_clean(&admin).await?;
    shop.is(&before).await?;
    stand_in.healthy()?;
    admin.done()
}
