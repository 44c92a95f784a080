//! Rotations of SSH keys, against a real SSH server that learns its keys from the store.

use std::sync::Arc;

use anyhow::{Result, ensure};
use rekey_api::rotation::RotationOutcome;
use rekey_e2e::{World, wait::until};
use rekey_testkit::sshd::Sshd;
use serde_json::{Value, json};

use crate::stage::Stage;

const PRIVATE: &str = "ssh-privatekey";
const PUBLIC: &str = "ssh-publickey";
const AUTHORIZED: &str = "authorized_keys";

fn text<'v>(value: &'v Value, property: &str) -> &'v str {
    value[property].as_str().unwrap_or_default()
}

/// The server learns what the store has, as soon as it holds a key that it did not before.
async fn learns(stage: &Stage, sshd: &Sshd, before: &Value) -> Result<()> {
    let stored = until("the store holds another authorized_keys", || async {
        let (value, _) = stage.stored().await?;
        Ok((!text(&value, AUTHORIZED).is_empty() && value[AUTHORIZED] != before[AUTHORIZED]).then_some(value))
    })
    .await?;
    ensure!(stored[PRIVATE] == before[PRIVATE], "the new key is used before any server knows it");
    stage.step("Verifying").await?;
    sshd.authorize(text(&stored, AUTHORIZED))
}

pub async fn a_key_is_used_once_the_server_takes_it_and_the_old_one_ends(world: Arc<World>) -> Result<()> {
    let stage = Stage::new(&world, "ssh").await?;
    let sshd = Sshd::start(&[]).await?;
    let key = stage.key();
    let items = [(PRIVATE, PRIVATE), ("public", PUBLIC), ("known", AUTHORIZED)].map(|(at, of)| (at, key.as_str(), of));
    stage.scene.policy("db", "vault", &items, json!({})).await?;
    stage.scene.wait_policy("db", "Ready=False/KeyNotFound").await?;
    let endpoint = json!({"host": "127.0.0.1", "port": sshd.port(), "user": sshd.user()});
    let rotator = json!({"sshKeyPair": {"comment": "deploy", "endpoints": [endpoint]}});
    let spec = json!({"rotator": rotator, "retireAfter": "1s", "schedule": {"every": "720h", "rotateOnCreate": true}});
    stage.schedule("vault", &spec).await?;
    learns(&stage, &sshd, &Value::Null).await?;
    let history = stage.ended(1).await?;
    ensure!(history[0].outcome == RotationOutcome::Completed, "{history:?}");
    let (first, _) = stage.stored().await?;
    ensure!(text(&first, PRIVATE).starts_with("-----BEGIN OPENSSH PRIVATE KEY-----"));
    stage.scene.wait_synced("db").await?;
    // Its environment shows what it holds; we read one line of it.
    stage.consumer("web", "public").await?;
    ensure!(stage.scene.held("web", "PASSWORD").await? == text(&first, PUBLIC));

    stage.ask("token-1").await?;
    learns(&stage, &sshd, &first).await?;
    let history = stage.ended(2).await?;
    ensure!(history[0].outcome == RotationOutcome::Completed, "{history:?}");
    let steps: Vec<&str> = history[0].steps.iter().map(|step| step.step.as_str()).collect();
    let wanted = ["Preparing", "Applying", "Verifying", "Publishing", "RollingOut", "Settling", "Retiring"];
    ensure!(steps == wanted, "{steps:?}");
    let (second, _) = stage.stored().await?;
    ensure!(second[PRIVATE] != first[PRIVATE] && second[PUBLIC] != first[PUBLIC]);
    ensure!(
        text(&second, AUTHORIZED).trim_end() == text(&second, PUBLIC),
        "one key is left: {}",
        text(&second, AUTHORIZED)
    );
    ensure!(stage.scene.held("web", "PASSWORD").await? == text(&second, PUBLIC));
    ensure!(stage.restarts("web").await? == 1, "what it uses has changed once");
    let logins = sshd.log()?.matches("Accepted publickey").count();
    ensure!(logins >= 2, "each key has logged in before it was used: {logins}");
    stage.told_nobody(text(&second, PRIVATE).lines().nth(2).unwrap_or_default()).await
}
