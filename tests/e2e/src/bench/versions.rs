//! What earlier values cost that are kept: the same policies with the same changes in each mode, one operator after the
//! other.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, api::ListParams, core::PartialObjectMeta};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    ground::{Ground, Space},
    put,
    report::{Report, ratio},
    settings::Settings,
    sync::reads,
    traffic::Traffic,
    usage,
};

/// Longer than the operator waits before it looks at anything once more.
const REST: Duration = Duration::from_secs(6);
/// `versions.keep`, and as many values after the first one.
const KEEP: usize = 3;
const NAME: &str = "versions";
/// Times the memory of mode None.
const MOST: f64 = 1.5;

/// How a policy keeps its Secret.
struct Mode {
    text: &'static str,
    /// In the policies' specs.
    spec: Value,
    /// For each policy, when all its values were published.
    secrets: usize,
}

fn modes() -> [Mode; 4] {
    let versioned =
        |references: &str| json!({"immutability": "Versioned", "versions": {"references": references, "keep": KEEP}});
    [
        Mode { text: "mode None", spec: json!({}), secrets: 1 },
        Mode { text: "None with copies", spec: json!({"versions": {"keep": KEEP}}), secrets: KEEP + 1 },
        Mode { text: "Versioned, Publish", spec: versioned("Publish"), secrets: KEEP + 1 },
        // With the plain Secret beside the versions.
        Mode { text: "Versioned, Move", spec: versioned("Move"), secrets: KEEP + 2 },
    ]
}

/// Resident memory of the operator in MiB.
#[derive(Clone, Copy)]
struct Weight {
    /// After all changes.
    grown: f64,
    /// After a start with everything there.
    started: f64,
}

/// Measures all modes.
///
/// # Errors
/// When something does not come to its end.
pub async fn measure(ground: &Ground, settings: &Settings, report: &mut Report) -> Result<()> {
    let count = settings.policies.min(1000); // `--prove` would make 100,000 Secrets
    let mut of_none = None;
    for mode in modes() {
        let weight = weigh(ground, &mode, count).await?;
        let (text, secrets) = (mode.text, mode.secrets);
        for (when, reached) in [("after three changes", weight.grown), ("after a start", weight.started)] {
            report.tell(NAME, format!("memory {when}: {text}, {secrets} each"), "MiB", reached);
        }
        let Some(none) = of_none else {
            of_none = Some(weight);
            continue;
        };
        let (grown, started) = (weight.grown / none.grown, weight.started / none.started);
        report.row(NAME, format!("times None after three changes: {text}"), "times", MOST, grown);
        report.row(NAME, format!("times None after a start: {text}"), "times", MOST, started);
        let more = u64::try_from(count * (secrets - 1))?;
        let each = (weight.started - none.started) * 1024.0 / ratio(more, 1);
        report.tell(NAME, format!("for each Secret more, after a start: {text}"), "KiB", each);
    }
    Ok(())
}

/// So many policies of a mode, each with its first value and [`KEEP`] further ones.
async fn weigh(ground: &Ground, mode: &Mode, count: usize) -> Result<Weight> {
    put(&format!("{count} policies of {} with {} values each", mode.text, KEEP + 1));
    let space = ground.space("versions").await?;
    ground.put(&space, count, "value-0").await?;
    space.policies_with(count, "240h", |number| space.key(number), &mode.spec).await?;
    let mut traffic = Traffic::from_now(ground).await?;
    let mut operator = ground.operator("versions", &[&space])?;
    traffic.until(&mut operator, &[("create", "events", count)]).await?;
    traffic.until_rest(&mut operator, REST).await?;
    for change in 1..=KEEP {
        let value = format!("value-{change}");
        ground.put(&space, count, &value).await?;
        let mut traffic = Traffic::from_now(ground).await?;
        space.ask_sync(0..count, &value).await?;
        traffic.until(&mut operator, &[("patch", "secrets", count)]).await?;
        traffic.until_rest(&mut operator, REST).await?;
    }
    verify(&space, mode, count).await?;
    let grown = usage::memory(operator.id())?.now;
    operator.stop()?;
    let started = after_start(ground, &space, count).await?;
    Ok(Weight { grown, started })
}

/// The memory of an operator that finds all of it, when each policy has had its first round.
async fn after_start(ground: &Ground, space: &Space, count: usize) -> Result<f64> {
    let mut traffic = Traffic::from_now(ground).await?;
    let store = ground.bao.mark()?;
    let mut operator = ground.operator("versions-again", &[space])?;
    while reads(ground, space, store)?.len() < count {
        operator.alive()?;
        sleep(Duration::from_millis(200)).await;
    }
    traffic.until_rest(&mut operator, REST).await?;
    ensure!(traffic.counts().writes() == 0, "a start at which nothing is new has written:\n{}", traffic.counts());
    let memory = usage::memory(operator.id())?.now;
    operator.stop()?;
    Ok(memory)
}

/// All Secrets are there that the mode keeps, and no others.
async fn verify(space: &Space, mode: &Mode, count: usize) -> Result<()> {
    let params = ListParams::default().labels("app.kubernetes.io/managed-by=rekey");
    let secrets: Api<Secret> = space.api();
    let found: Vec<PartialObjectMeta<Secret>> = secrets.list_metadata(&params).await?.items;
    ensure!(
        found.len() == count * mode.secrets,
        "{} has {} Secrets instead of {}",
        mode.text,
        found.len(),
        count * mode.secrets
    );
    Ok(())
}
