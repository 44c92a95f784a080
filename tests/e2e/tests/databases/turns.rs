//! Two users take turns.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use rekey_api::rotation::RotationOutcome;
use rekey_e2e::{World, database::FIRST, logins, wait::until};
use serde_json::json;

use crate::stage::Stage;

pub async fn every_pod_can_log_in_at_every_moment(world: Arc<World>) -> Result<()> {
    const ROTATIONS: usize = 3;
    let stage = Stage::new(&world, "turns").await?;
    stage.consumer(3).await?;
    stage.schedule("db", json!({})).await?;
    let rotate = async {
        let mut before = FIRST.to_owned();
        for number in 1..=ROTATIONS {
            stage.ask(&format!("token-{number}")).await?;
            let history = stage.ended(number).await?;
            ensure!(history[0].outcome == RotationOutcome::Completed, "{history:?}");
            let (user, password) = stage.stored().await?;
            let (old, new) = if number % 2 == 1 { ("orders_a", "orders_b") } else { ("orders_b", "orders_a") };
            ensure!(user == new && password.len() == 32 && password != before);
            ensure!(stage.logs_in(new, &password).await? && !stage.logs_in(old, &before).await?);
            let forgotten =
                stage.postgres.sql(&format!("SELECT rolpassword IS NULL FROM pg_authid WHERE rolname = '{old}'"))?;
            ensure!(forgotten == "t", "the server still knows the password of {old}");
            before = password;
        }
        Ok(())
    };
    let ((), count) = logins::during(&stage.scene, &stage.postgres, "web", rotate).await?;
    println!("{ROTATIONS} rotations, {count} logins of ready pods, none failed");
    ensure!(count > 20, "{count} logins in {ROTATIONS} rotations");
    let history = stage.ended(ROTATIONS).await?;
    let steps: Vec<&str> = history[0].steps.iter().map(|step| step.step.as_str()).collect();
    ensure!(
        steps == ["Preparing", "Applying", "Verifying", "Publishing", "RollingOut", "Settling", "Retiring"],
        "{steps:?}"
    );
    // What one of them makes belongs to both.
    let (user, password) = stage.stored().await?;
    stage.postgres.sql("CREATE SCHEMA shop AUTHORIZATION orders")?;
    let made = "CREATE TABLE shop.made (id int); SELECT tableowner FROM pg_tables WHERE tablename = 'made'";
    let owner = stage.postgres.sql_as(&user, &password, made)?;
    ensure!(owner == "orders", "{owner}");
    let log = stage.operator.log()?;
    ensure!(!log.contains(&password) && !log.contains(FIRST), "a password is in the log");
    Ok(())
}

pub async fn the_user_of_before_is_left_for_two_that_take_turns(world: Arc<World>) -> Result<()> {
    let stage = Stage::bare(&world, "from").await?;
    stage.roles()?;
    stage
        .postgres
        .sql(&format!("CREATE ROLE app LOGIN PASSWORD '{FIRST}'; GRANT app TO rekey_admin WITH ADMIN OPTION"))?;
    stage.published("app").await?;
    stage.consumer(1).await?;
    stage.schedule("db", json!({"from": "app"})).await?;
    stage.ask("token-1").await?;
    ensure!(stage.ended(1).await?[0].outcome == RotationOutcome::Completed);
    let (user, password) = stage.stored().await?;
    ensure!(user == "orders_a" && stage.logs_in(&user, &password).await?);
    ensure!(!stage.logs_in("app", FIRST).await?);
    Ok(())
}

pub async fn a_database_that_was_down_is_waited_for(world: Arc<World>) -> Result<()> {
    let mut stage = Stage::new(&world, "down").await?;
    stage.consumer(1).await?;
    stage.schedule("db", json!({})).await?;
    Arc::get_mut(&mut stage.postgres).context("nobody else has it")?.stop()?;
    stage.ask("token-1").await?;
    let text = stage.shows("Ready=False/Unavailable").await?;
    ensure!(text.contains("not responding"), "{text}");
    Arc::get_mut(&mut stage.postgres).context("nobody else has it")?.restart()?;
    ensure!(stage.ended(1).await?[0].outcome == RotationOutcome::Completed);
    let (user, password) = stage.stored().await?;
    ensure!(user == "orders_b" && stage.logs_in(&user, &password).await?);
    until("the schedule is in order", || async { Ok(stage.shows("Ready=True/Synced").await.ok()) }).await.map(drop)
}
