//! The quick start on a cluster, by its own commands.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt as _, api::ListParams};
use rekey_api::RotationSchedule;
use rekey_e2e::{Scene, document, wait::until_equal};

use super::installation::{Installation, SHOP, Who};

const KEY: &str = "shop/web-session";

pub async fn the_quick_start_ends_in_one_restart(on: &Installation) -> Result<()> {
    let document = document::sections("docs/quick-start.md")?;
    let run = async |who: Who, heading: &str| -> Result<String> {
        let mut printed = String::new();
        for block in document::blocks(&document, heading)? {
            printed = on.run(who, block).await.with_context(|| heading.to_owned())?;
        }
        Ok(printed)
    };
    run(Who::ClusterAdmin, "1. Install it").await?;
    on.appoint_owner().await?;
    run(Who::NamespaceAdmin, "2. Open the namespace").await?;
    run(Who::NamespaceAdmin, "3. Bring the value in").await?;
    let shop = on.shop();
    let first = all_hold_the_value(on, &shop).await?;
    let events = run(Who::NamespaceAdmin, "4. Change it, and see one restart").await?;
    let restarts = events.lines().filter(|line| line.contains(" Restarting ")).count();
    ensure!(restarts == 1, "not one Event of a restart: {events}");
    let second = all_hold_the_value(on, &shop).await?;
    ensure!(second.value != first.value, "the value is the old one");
    ensure!(second.pods.is_disjoint(&first.pods), "a pod was not replaced");
    ensure!(shop.generation("Deployment", "web").await? == 2, "restarted more than once");
    run(Who::NamespaceAdmin, "5. Rotate it").await?;
    let third = all_hold_the_value(on, &shop).await?;
    ensure!(third.value != second.value && third.value.len() == 64, "the rotation has made no value");
    ensure!(shop.generation("Deployment", "web").await? == 3, "restarted more than once");
    let history = shop.api::<RotationSchedule>().get("web-session").await?.status.context("no status")?.history;
    ensure!(history.len() == 1, "{history:?}");
    on.nothing_was_refused().await
}

struct Held {
    value: String,
    pods: BTreeSet<String>,
}

/// The value that is in the store, in the Secret, and in the environment of both pods.
async fn all_hold_the_value(on: &Installation, shop: &Scene) -> Result<Held> {
    let stored = on.world.bao.get(KEY).await?.context("nothing in the store")?;
    let value = stored["key"].as_str().context("no key")?.to_owned();
    shop.wait_data("web-session", &[("key", &value)]).await?;
    let web = ListParams::default().labels("app=web");
    let pods = async || -> Result<Vec<Pod>> {
        let mut found = shop.api::<Pod>().list(&web).await?.items;
        found.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        Ok(found)
    };
    until_equal("pods of web", 2, async || Ok(pods().await?.len())).await?;
    let mut names = BTreeSet::new();
    for pod in pods().await? {
        let name = pod.name_any();
        let environment = on.world.node()?.environment(SHOP, &name).await?;
        ensure!(environment.get("SESSION_KEY") == Some(&value), "{name} does not hold the value of the store");
        names.insert(name);
    }
    Ok(Held { value, pods: names })
}
