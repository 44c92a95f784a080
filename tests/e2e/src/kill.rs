//! Kills the operator (kill -9) at each of its writes, or takes the API server away from it, and compares the end state with
//! that of an undisturbed run.
//!
//! # Flow
//! A [`Scenario`] runs once undisturbed; the calls by which the operator changes something are numbered, in front of
//! the API server, of both stores, and of the database if there is one. Then, for each number and each [place](PLACES), it runs again in a fresh
//! namespace; the operator is killed there and started again at once. For a [partition](PARTITIONS) it runs on, and
//! cannot reach the API server for a time.
//!
//! # Guarantees
//! Each run must end in the same state but for what differs by nature (times, uids, revisions, digests), and with no
//! more calls than the undisturbed run and the one that the kill made necessary again. What else must be equal, such as
//! the number of restarts, belongs in the scenario's end state.
//!
//! # Caveats
//! Several workers write at the same time, so a number does not always mean the same call; the table says which it was.

mod rig;
mod verdict;

use std::{
    collections::BTreeMap,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use futures::{StreamExt as _, stream};
use rekey_testkit::proxy::{Fault, Moment};
use serde_json::Value;

pub use self::rig::{Database, Rig, Server};
use self::verdict::{Run, Table};
use crate::{World, mask::Mask, wait::until};

/// A name, and what happens to the call.
pub type Place = (&'static str, Fault);

/// Where the kill cuts a call.
pub const PLACES: [Place; 3] = [
    ("before", Fault::KillBefore),
    ("after, before the answer", Fault::KillAfterBeforeAnswer),
    ("after the answer", Fault::KillAfterAnswer),
];

/// Where a partition begins, and which: connections break, or nothing passes and calls arrive late. That one lasts longer
/// than the operator waits for an answer.
pub const PARTITIONS: [Place; 4] = [
    ("cut off before", Fault::CutOff(Moment::BeforeCall, Duration::from_secs(10))),
    ("held before the answer", Fault::Hold(Moment::BeforeAnswer, Duration::from_secs(20))),
    ("cut off before the answer", Fault::CutOff(Moment::BeforeAnswer, Duration::from_secs(10))),
    ("held before", Fault::Hold(Moment::BeforeCall, Duration::from_secs(20))),
];

/// Runs at the same time.
const PARALLEL: usize = 3;

/// The most runs for one point: with two, one of 78 points was left.
const RUNS: usize = 4;

/// The work in which the operator is disturbed. The parts follow one another; faults happen in [`act`](Scenario::act)
/// and later.
pub trait Scenario {
    /// A short name, which starts the names of its namespaces.
    fn name(&self) -> &'static str;

    /// How many more writes than the undisturbed run one with a kill may take: the call that the kill made necessary
    /// again, and those that depend on timing.
    fn spare(&self) -> usize {
        1
    }

    /// The servers at whose calls a sample kills.
    fn sampled(&self) -> &[Server] {
        &Server::ALL
    }

    /// Where it works.
    fn rig(&self, world: &Arc<World>) -> impl Future<Output = Result<Rig>> {
        Rig::new(world, self.name())
    }

    /// Makes the start state; the operator runs.
    fn prepare(&self, rig: &Rig) -> impl Future<Output = Result<()>>;

    /// Does what makes the operator write.
    fn act(&self, rig: &Rig) -> impl Future<Output = Result<()>>;

    /// Waits for the end and describes it. [`Mask`] masks it before the comparison.
    fn end(&self, rig: &Rig) -> impl Future<Output = Result<Value>>;
}

/// One kill or partition.
#[derive(Clone, Copy, Debug)]
struct Point {
    server: Server,
    number: usize,
    /// Of the places that there are.
    place: usize,
    name: &'static str,
    fault: Fault,
}

/// What is wrong in a run.
#[derive(Clone, Copy, Debug)]
enum Disturbance {
    None,
    /// The operator does not run while the work is done.
    Down,
    At(Point),
}

impl Disturbance {
    /// Its place in the table.
    fn order(self) -> Option<(Server, usize, usize)> {
        match self {
            Self::None | Self::Down => None,
            Self::At(point) => Some((point.server, point.number, point.place)),
        }
    }
}

/// Proves a scenario with a kill: at every place when `REKEY_PROVE=1`, else at one place of every call of the
/// [sampled](Scenario::sampled) servers, in turn.
///
/// # Errors
/// When the undisturbed run fails, or a run with a kill ends differently.
pub async fn prove<S: Scenario>(world: &Arc<World>, scenario: &S) -> Result<()> {
    let whole = run(world, scenario, Disturbance::None).await.context("the undisturbed run")?;
    let servers = if everything() { &Server::ALL } else { scenario.sampled() };
    let is_next = |point: &Point| point.number % PLACES.len() == point.place;
    let points = points(&whole, servers, &PLACES).filter(|point| everything() || is_next(point));
    compare(world, scenario, &whole, points.map(Disturbance::At).collect()).await
}

/// Proves a scenario with kills and [partitions](PARTITIONS) at its writes to the API server, and without an operator while
/// the work is done: at every place when `REKEY_PROVE=1`, else at one in so many.
///
/// # Errors
/// As [`prove`].
pub async fn prove_all<S: Scenario>(world: &Arc<World>, scenario: &S, one_in: usize) -> Result<()> {
    let whole = run(world, scenario, Disturbance::None).await.context("the undisturbed run")?;
    let places: Vec<Place> = PLACES.into_iter().chain(PARTITIONS).collect();
    let points = points(&whole, &[Server::Kubernetes], &places).enumerate();
    let points = points.filter(|(index, _)| everything() || index % one_in == 0).map(|(_, point)| point);
    let all = std::iter::once(Disturbance::Down).chain(points.map(Disturbance::At)).collect();
    compare(world, scenario, &whole, all).await
}

async fn compare<S: Scenario>(world: &Arc<World>, scenario: &S, whole: &Run, all: Vec<Disturbance>) -> Result<()> {
    let runs = stream::iter(all).map(|at| async move { (at, reached(world, scenario, at).await) });
    let mut results: Vec<(Disturbance, Result<Run>)> = runs.buffer_unordered(PARALLEL).collect().await;
    results.sort_by_key(|(at, _)| at.order());
    let table = Table::of(scenario, whole, &results)?;
    eprintln!("{}", table.text);
    ensure!(table.failures.is_empty(), "{}\n{}", table.text, table.failures);
    ensure!(table.skipped == 0, "{} of {} points were not reached:\n{}", table.skipped, results.len(), table.text);
    Ok(())
}

/// A run with this disturbance. How many waits are reported depends on timing, so a run may have fewer writes than the
/// undisturbed one: then it is made again.
async fn reached<S: Scenario>(world: &Arc<World>, scenario: &S, at: Disturbance) -> Result<Run> {
    for _ in 1..RUNS {
        let run = run(world, scenario, at).await?;
        if run.disturbed.is_some() {
            return Ok(run);
        }
    }
    run(world, scenario, at).await
}

fn points(whole: &Run, servers: &[Server], places: &[Place]) -> impl Iterator<Item = Point> {
    let calls = servers.iter().filter_map(|server| Some((*server, whole.calls.get(server)?.len())));
    let calls = calls.flat_map(|(server, count)| (1..=count).map(move |number| (server, number)));
    calls.flat_map(|(server, number)| {
        let places = places.iter().enumerate();
        places.map(move |(place, (name, fault))| Point { server, number, place, name, fault: *fault })
    })
}

async fn run<S: Scenario>(world: &Arc<World>, scenario: &S, disturbance: Disturbance) -> Result<Run> {
    let started = Instant::now();
    let rig = scenario.rig(world).await?;
    let context = || format!("in namespace {}", rig.scene.namespace);
    rig.start_ready().await.with_context(context)?;
    scenario.prepare(&rig).await.with_context(context)?;
    let before = rig.lengths();
    if let Disturbance::At(point) = disturbance {
        rig.arm(point.server, before[&point.server] + point.number, point.fault);
    }
    let work = async {
        if let Disturbance::Down = disturbance {
            rig.kill();
            scenario.act(&rig).await?;
            rig.start()?;
        } else {
            scenario.act(&rig).await?;
        }
        scenario.end(&rig).await
    };
    let end = tokio::select! {
        end = work => end,
        revived = rig.revive() => revived.and_then(|()| bail!("the operator is not started again any more")),
    };
    let calls: BTreeMap<Server, Vec<String>> =
        before.iter().map(|(server, before)| (*server, rig.calls(*server).split_off(*before))).collect();
    let alive = rig.alive();
    rig.clear().await?;
    let end = end.and_then(|end| alive.map(|()| end)).with_context(context)?;
    let disturbed = match disturbance {
        Disturbance::At(point) => calls[&point.server].get(point.number - 1).cloned(),
        Disturbance::None => None,
        Disturbance::Down => Some("none: the operator did not run".to_owned()),
    };
    let end = Mask::new(&rig.scene.namespace)?.of(&end);
    Ok(Run { end, calls, disturbed, seconds: started.elapsed().as_secs_f64() })
}

/// Waits until the operator has written nothing for a while, so that a wrong extra step would show.
///
/// # Errors
/// When it does not come to rest.
pub async fn quiet(rig: &Rig, span: Duration) -> Result<()> {
    let mut last = (rig.writes(), Instant::now());
    until("the operator writes nothing more", || {
        let writes = rig.writes();
        if writes != last.0 {
            last = (writes, Instant::now());
        }
        let rested = last.1.elapsed() >= span;
        async move { Ok(rested.then_some(())) }
    })
    .await
}

/// Whether to run every kill point (`make prove`), not a sample of them.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the tests have no command line of their own")]
pub fn everything() -> bool {
    std::env::var_os("REKEY_PROVE").is_some_and(|value| value == "1")
}
