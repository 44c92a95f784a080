//! How the operator gets its first lists: one by one from an API server that can do so, else in pages.

use std::sync::Arc;

use anyhow::{Result, ensure};
use rekey_e2e::{World, world::OPERATOR};
use rekey_testkit::plane::Asked;
use serde_json::json;

use crate::drift;

/// The requests of an operator that started with a published policy, and then repaired its Secret.
async fn started(world: &Arc<World>) -> Result<Vec<Asked>> {
    let scene = drift::published(world, "lists").await?;
    let mut first = scene.operator()?;
    scene.wait_synced("db").await?;
    first.stop()?;
    let audit = world.plane.audit()?;
    let mark = audit.mark().await?;
    let _second = scene.operator()?;
    scene.sync("db").await?;
    let edit = json!({"stringData": {"password": "mine"}});
    drift::edit(&scene, "editor", &edit).await?;
    drift::repaired(&scene).await?;
    audit.asked_since(&mark, OPERATOR).await
}

/// How many of these were lists of the kinds that are watched.
fn lists(asked: &[Asked]) -> [usize; 3] {
    ["secretpolicies", "secrets", "deployments"]
        .map(|kind| asked.iter().filter(|asked| asked.verb == "list" && asked.subject == kind).count())
}

pub async fn first_objects_come_one_by_one(world: Arc<World>) -> Result<()> {
    let asked = started(&world).await?;
    ensure!(lists(&asked) == [0; 3], "{asked:?}");
    Ok(())
}

pub async fn an_api_server_that_cannot_stream_lists_is_asked_for_pages(_: Arc<World>) -> Result<()> {
    let world = Arc::new(World::start_with(false, &["--feature-gates=WatchList=false"]).await?);
    let asked = started(&world).await?;
    ensure!(lists(&asked) == [1; 3], "{asked:?}");
    let refused = asked.iter().filter(|asked| asked.verb == "watch" && asked.status == 422).count();
    // Those of our four kinds, and of the bindings that open namespaces.
    ensure!((1..=5).contains(&refused), "only the watches that start first try: {refused} of {asked:?}");
    Ok(())
}
