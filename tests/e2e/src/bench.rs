//! The bench: what Rekey costs (requests, reads, CPU, memory) and how fast it is, on a real control plane and a real
//! store, beside a client that does nothing but the same writes.

mod bare;
mod budget;
mod crowd;
mod fleet;
mod ground;
mod report;
mod restarts;
mod rolling;
mod settings;
mod sync;
mod traffic;
pub mod usage;
mod versions;

use std::{io::Write as _, process::ExitCode};

use anyhow::Result;
use k8s_openapi::jiff::Timestamp;
use tokio::runtime::Runtime;

use self::{bare::Bodies, ground::Ground, report::Report, settings::Settings, traffic::Traffic};

/// Runs the bench as the command line says. A missed target is no failure: the table shows it.
#[must_use]
pub fn main() -> ExitCode {
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let ended = Settings::read(std::env::args().skip(1)).and_then(|settings| Runtime::new()?.block_on(run(&settings)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            put(&format!("the bench ended early: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(settings: &Settings) -> Result<()> {
    let mut report = Report::new(Timestamp::now());
    if cfg!(debug_assertions) {
        report.note("the bare client is a debug build: slower than necessary");
    }
    let mut measured = Ok(());
    for part in [Part::Policies, Part::Namespaces] {
        if measured.is_ok() && part.is_wanted(settings) {
            measured = on_new_ground(part, settings, &mut report).await;
        }
    }
    report.note(format!("load of the machine at the end: {:.1}", usage::load()));
    report.finish(settings)?;
    measured
}

/// What is measured on a cluster of its own.
#[derive(Clone, Copy)]
enum Part {
    /// Few namespaces with many policies.
    Policies,
    /// Many namespaces, which an operator without `--namespaces` serves: it would count what another part has left.
    Namespaces,
}

impl Part {
    fn is_wanted(self, settings: &Settings) -> bool {
        match self {
            Self::Policies => {
                ["sync", "same", "restarts", "budget", "versions"].iter().any(|part| settings.wants(part))
            }
            Self::Namespaces => settings.wants("namespaces"),
        }
    }
}

async fn on_new_ground(part: Part, settings: &Settings, report: &mut Report) -> Result<()> {
    put("building the operator for release, and starting a control plane and OpenBao");
    let ground = Ground::start(settings.operator.clone()).await?;
    let measured = measure(part, &ground, settings, report).await;
    if measured.is_err() {
        put(&format!("the logs are kept in {}", ground.plane.keep_logs()?.display()));
    }
    ground.plane.stop()?;
    measured
}

async fn measure(part: Part, ground: &Ground, settings: &Settings, report: &mut Report) -> Result<()> {
    let bodies = warm(ground, report).await?;
    match part {
        Part::Policies => policies(ground, settings, report, &bodies).await,
        Part::Namespaces => fleet::measure(ground, settings, report, &bodies).await,
    }
}

async fn policies(ground: &Ground, settings: &Settings, report: &mut Report, bodies: &Bodies) -> Result<()> {
    let mut others = Vec::new();
    if settings.wants("sync") {
        let stage = sync::Stage::new(ground, settings).await?;
        let mut operator = stage.first(report, bodies).await?;
        stage.idle(report, &mut operator).await?;
        stage.change(report, &mut operator).await?;
        if settings.wants("memory") {
            operator = stage.crowded(report, &mut operator).await?;
        }
        operator.stop()?;
        others = vec![stage.many, stage.crowd];
    }
    if settings.wants("same") {
        sync::same(ground, settings, report).await?;
    }
    if settings.wants("restarts") {
        let stage = restarts::Stage::new(ground, settings.restarts, others).await?;
        stage.measure(report, bodies).await?;
    }
    if settings.wants("budget") {
        budget::measure(ground, settings.rollouts, report).await?;
    }
    if settings.wants("versions") {
        versions::measure(ground, settings, report).await?;
    }
    Ok(())
}

/// One policy is synced: it shows what the operator writes, and whether the store's limits can be raised.
async fn warm(ground: &Ground, report: &mut Report) -> Result<Bodies> {
    let space = ground.space("warm").await?;
    ground.put(&space, 1, "one").await?;
    space.policies(1, "240h", |number| space.key(number)).await?;
    let mut traffic = Traffic::from_now(ground).await?;
    let mut operator = ground.operator("warm", &[&space])?;
    let raised = space.store_ready(ground).await?;
    report.note(if raised {
        "the store's rate limit is raised to 10,000 requests a second, burst 20,000"
    } else {
        "this version refuses spec.limits of the store: there is no rate limit"
    });
    traffic.until(&mut operator, &[("create", "events", 1)]).await?;
    let bodies = Bodies::read(&space, "p0").await?;
    operator.stop()?;
    Ok(bodies)
}

/// Prints a line, now.
fn put(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).ok();
}
