//! Restarts that start only inside a window.

use std::sync::Arc;

use anyhow::{Result, ensure};
use k8s_openapi::jiff::Timestamp;
use rekey_e2e::{World, workloads::Form};
use serde_json::{Value, json};

use crate::ground::{Ground, REST};

/// A window that opens about half a day from now.
fn closed_for_hours() -> Value {
    let hour = (Timestamp::now().as_second() / 3_600 + 12) % 24;
    json!({"rollout": {"windows": [{"cron": format!("0 {hour} * * *"), "duration": "1h"}]}})
}

pub async fn a_consumer_is_held_until_a_window_opens_and_restarted_once(world: Arc<World>) -> Result<()> {
    let ground = Ground::new(&world, "window").await?;
    ground.put("db", "orders", "one").await?;
    ground.policy("db", closed_for_hours()).await?;
    ground.scene.wait_synced("db").await?;
    let consumer = ground.consumer("Deployment", "app", Form::Env).await?;
    ground.wait_current(1).await?;
    ground.change("two").await?;
    ground.wait_consumers("db", "0/1", "ConsumersCurrent=False/AwaitingWindow").await?;
    ground.scene.wait_policy("db", "Ready=True/AwaitingWindow").await?;
    consumer.left_alone("a change outside of its window", REST).await?;
    ensure!(consumer.marker().await?.is_none(), "a marker is a restart");
    let (state, namespace) = (ground.state("db", "app").await?, &ground.scene.namespace);
    let begins = "Held waits for the next window of spec.rollout.windows, which opens at 2";
    let ends = format!(":00:00Z; to restart it now: kubectl rollout restart deployment/app -n {namespace}");
    ensure!(state.starts_with(begins) && state.ends_with(&ends), "{state}");
    // Open the whole day.
    let open = json!({"rollout": {"windows": [{"cron": "0 0 * * *", "duration": "24h", "timeZone": "Asia/Tokyo"}]}});
    ground.policy("db", open).await?;
    consumer.settles_on("two", 2).await?;
    consumer.marked(2).await?;
    ground.wait_current(1).await
}
