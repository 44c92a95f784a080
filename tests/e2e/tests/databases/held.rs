//! What a rotation of users waits for, and what it leaves alone.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use kube::api::DeleteParams;
use rekey_api::{RotationSchedule, rotation::RotationOutcome};
use rekey_e2e::{
    World,
    database::{FIRST, RIGHTS},
    kubectl::kubectl,
    wait::until,
};
use serde_json::json;

use crate::stage::Stage;

pub async fn what_the_server_lacks_is_named_with_the_sql_that_helps(world: Arc<World>) -> Result<()> {
    let stage = Stage::bare(&world, "lacks").await?;
    stage.postgres.sql(&format!("CREATE ROLE orders_a LOGIN PASSWORD '{FIRST}'"))?;
    stage.published("orders_a").await?;
    stage.schedule("db", json!({})).await?;
    stage.ask("token-1").await?;
    let text = stage.shows("Rotated=False/SlotsNotReady").await?;
    let (_, sql) = text.split_once("administrator of the server: ").context("no SQL")?;
    ensure!(sql.contains("CREATE ROLE orders NOLOGIN") && sql.contains("GRANT orders TO orders_a"), "{text}");
    stage.postgres.sql(sql)?;
    stage.postgres.sql(RIGHTS)?;
    ensure!(stage.ended(1).await?[0].outcome == RotationOutcome::Completed);
    let (user, password) = stage.stored().await?;
    ensure!(user == "orders_b" && stage.logs_in(&user, &password).await?);
    Ok(())
}

pub async fn a_session_that_nobody_explains_keeps_the_old_user(world: Arc<World>) -> Result<()> {
    let stage = Stage::new(&world, "session").await?;
    stage.schedule("db", json!({})).await?;
    let mut session = stage.postgres.session("orders_a", FIRST)?;
    stage.ask("token-1").await?;
    let text = stage.shows("Rotated=False/Held").await?;
    ensure!(text.contains("user orders_a has 1 session that no known consumer explains"), "{text}");
    let (_, command) = text.split_once("kubectl ").context("no command")?;
    kubectl(&world, &command.split(' ').collect::<Vec<_>>()).await?;
    let history = stage.ended(1).await?;
    ensure!(history[0].outcome == RotationOutcome::Completed, "{history:?}");
    ensure!(history[0].message.as_deref().is_some_and(|text| text.contains("you let it go")), "{history:?}");
    ensure!(stage.logs_in("orders_a", FIRST).await?, "it was let go");
    ensure!(session.is_open()?, "nobody has ended it");
    Ok(())
}

pub async fn a_user_of_another_schedule_is_left_alone(world: Arc<World>) -> Result<()> {
    let stage = Stage::new(&world, "theirs").await?;
    let theirs = "rekey.dev/rotation cluster=c schedule=other id=r";
    stage.postgres.sql(&format!("COMMENT ON ROLE orders_b IS 'for the shop\n{theirs}'"))?;
    stage.schedule("db", json!({})).await?;
    stage.ask("token-1").await?;
    let text = stage.shows("Rotated=False/DuplicateSchedule").await?;
    ensure!(text.contains("another schedule rotates user orders_b"), "{text}");
    let (_, sql) = text.split_once("run: ").context("no SQL")?;
    stage.postgres.sql(sql)?;
    ensure!(stage.ended(1).await?[0].outcome == RotationOutcome::Completed);
    Ok(())
}

pub async fn a_schedule_that_is_deleted_leaves_both_users_valid(world: Arc<World>) -> Result<()> {
    let stage = Stage::new(&world, "deleted").await?;
    stage.schedule("db", json!({})).await?;
    stage.change(json!({"retireAfter": "1h"})).await?;
    stage.ask("token-1").await?;
    until("it retires", || async {
        let status = stage.scene.schedule("db").await?.status.unwrap_or_default();
        Ok(status.rotation.filter(|open| open.step.as_str() == "Retiring"))
    })
    .await?;
    let api = stage.scene.api::<RotationSchedule>();
    api.delete("db", &DeleteParams::default()).await?;
    until("the schedule is gone", || async { Ok(api.get_opt("db").await?.is_none().then_some(())) }).await?;
    let (user, password) = stage.stored().await?;
    ensure!(user == "orders_b" && stage.logs_in(&user, &password).await? && stage.logs_in("orders_a", FIRST).await?);
    Ok(())
}
