//! Kills the operator (kill -9) at each of its writes, and compares the end state with that of an undisturbed run.
//!
//! # Flow
//! A [`Scenario`] runs once undisturbed; the calls by which the operator changes something are numbered, in front of
//! the API server and of both stores. Then, for each number and each [place](PLACES), it runs again in a fresh
//! namespace; the operator is killed there and started again at once.
//!
//! # Guarantees
//! Each run must end in the same state but for what differs by nature (times, uids, revisions, digests), and with no
//! more calls than the undisturbed run and the one that the kill made necessary again. What else must be equal, such as
//! the number of restarts, belongs in the scenario's end state.
//!
//! # Caveats
//! Several workers write at the same time, so a number does not always mean the same call; the table says which it was.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    future::Future,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use futures::{StreamExt as _, stream};
use rekey_testkit::proxy::{Call, Fault, Proxy, filter};
use serde_json::Value;

use crate::{
    Operator, Scene, World,
    mask::Mask,
    operator::Options,
    wait::until,
    world::{GROUPS, OPERATOR},
};

/// Where the kill cuts a call.
pub const PLACES: [(&str, Fault); 3] = [
    ("before", Fault::KillBefore),
    ("after, before the answer", Fault::KillAfterBeforeAnswer),
    ("after the answer", Fault::KillAfterAnswer),
];

/// Runs at the same time.
const PARALLEL: usize = 3;

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

    /// Makes the start state; the operator runs.
    fn prepare(&self, rig: &Rig) -> impl Future<Output = Result<()>>;

    /// Does what makes the operator write.
    fn act(&self, rig: &Rig) -> impl Future<Output = Result<()>>;

    /// Waits for the end and describes it. [`Mask`] masks it before the comparison.
    fn end(&self, rig: &Rig) -> impl Future<Output = Result<Value>>;
}

/// A scene whose operator reaches everything through proxies, and can die at any call.
pub struct Rig {
    /// The namespace; its stores `vault` and `aws` are reached through the proxies too.
    pub scene: Scene,
    /// In front of the API server.
    pub kubernetes: Proxy,
    /// In front of `OpenBao`.
    pub bao: Proxy,
    /// In front of the AWS emulator.
    pub aws: Proxy,
    kubeconfig: PathBuf,
    operator: Arc<Mutex<Option<Operator>>>,
}

impl Rig {
    /// A new namespace with stores; the operator does not run yet.
    ///
    /// # Errors
    /// When something cannot be made.
    pub async fn new(world: &Arc<World>, prefix: &str) -> Result<Self> {
        let identity = world.plane.identity(OPERATOR, &GROUPS)?;
        let (certificate, key) = (&identity.certificate_pem, &identity.key_pem);
        let kubernetes = Proxy::kubernetes(world.plane.url(), &world.plane.ca_pem(), certificate, key)?;
        let bao = Proxy::http(world.bao.address())?;
        bao.count(filter::vault);
        let aws = Proxy::http(world.moto.endpoint())?;
        aws.count(filter::aws);
        let scene = Scene::closed(world, prefix).await?;
        scene.open().await?;
        scene.vault_store_at(bao.address(), "ReadWrite").await?;
        scene.aws_store_at(aws.address(), "ReadWrite").await?;
        let authority = kubernetes.ca_pem().context("the proxy speaks TLS")?;
        let kubeconfig =
            world.plane.kubeconfig_via(&scene.namespace, OPERATOR, &GROUPS, kubernetes.address(), authority)?;
        Ok(Self { scene, kubernetes, bao, aws, kubeconfig, operator: Arc::default() })
    }

    /// Starts the operator, for this namespace only.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self) -> Result<()> {
        let namespace = &self.scene.namespace;
        let arguments = vec![format!("--namespaces={namespace}"), "--leader-elect=false".to_owned()];
        let options = Options { kubeconfig: self.kubeconfig.clone(), arguments };
        let operator = Operator::start(namespace, self.scene.world.plane.directory(), &options)?;
        *self.operator.lock().unwrap_or_else(PoisonError::into_inner) = Some(operator);
        Ok(())
    }

    /// Starts the operator and waits until both stores are ready, so that later writes belong to the scenario.
    ///
    /// # Errors
    /// When it cannot be started, or a store does not become ready.
    pub async fn start_ready(&self) -> Result<()> {
        self.start()?;
        for store in ["vault", "aws"] {
            self.scene.wait_store(store, "Ready=True/Synced").await?;
        }
        Ok(())
    }

    /// Ends the operator at once.
    pub fn kill(&self) {
        kill(&self.operator);
    }

    /// Checks that the latest operator still runs; the error has the end of its log.
    ///
    /// # Errors
    /// When it has ended by itself.
    pub fn alive(&self) -> Result<()> {
        match self.operator.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(operator) => operator.alive(),
            None => Ok(()),
        }
    }

    /// How many calls that change something there were, at all three servers.
    #[must_use]
    pub fn writes(&self) -> usize {
        SERVERS.iter().map(|server| self.proxy(*server).calls().len()).sum()
    }

    fn proxy(&self, server: Server) -> &Proxy {
        match server {
            Server::Kubernetes => &self.kubernetes,
            Server::Bao => &self.bao,
            Server::Aws => &self.aws,
        }
    }

    fn lengths(&self) -> BTreeMap<Server, usize> {
        SERVERS.iter().map(|server| (*server, self.proxy(*server).calls().len())).collect()
    }

    /// Starts the operator again after each kill. Ends only when it cannot.
    async fn revive(&self) -> Result<()> {
        let mut revived = 0;
        loop {
            let kills: u64 = SERVERS.iter().map(|server| self.proxy(*server).kills()).sum();
            if kills > revived {
                revived = kills;
                self.start()?;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The text of a call, without the names of this run.
    fn describe(&self, server: Server, call: &Call) -> String {
        let path = call.path.replace(&self.scene.namespace, "…");
        let short = path.rsplit("/…/").next().unwrap_or(&path).to_owned();
        let status = call.status.map_or("no answer".to_owned(), |status| status.to_string());
        let what = call.operation.clone().unwrap_or(short);
        format!("{server:?} {} {what} ({status})", call.method)
    }
}

fn kill(operator: &Mutex<Option<Operator>>) {
    if let Some(mut operator) = operator.lock().unwrap_or_else(PoisonError::into_inner).take() {
        operator.kill().ok();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Server {
    Kubernetes,
    Bao,
    Aws,
}

const SERVERS: [Server; 3] = [Server::Kubernetes, Server::Bao, Server::Aws];

/// One kill.
#[derive(Clone, Copy, Debug)]
struct Point {
    server: Server,
    number: usize,
    place: &'static str,
    fault: Fault,
}

/// How a run ended.
struct Run {
    end: Value,
    calls: BTreeMap<Server, Vec<String>>,
    /// The call of the kill; `None` when there was no call of that number.
    killed: Option<String>,
    seconds: f64,
}

impl Run {
    fn writes(&self) -> usize {
        self.calls.values().map(Vec::len).sum()
    }
}

/// Proves a scenario: at every place when `REKEY_PROVE=1`, else at one place of every call, in turn.
///
/// # Errors
/// When the undisturbed run fails, or a run with a kill ends differently.
pub async fn prove<S: Scenario>(world: &Arc<World>, scenario: &S) -> Result<()> {
    let whole = run(world, scenario, None).await.context("the undisturbed run")?;
    let points = points(&whole, everything());
    let runs = stream::iter(points).map(|point| async move { (point, run(world, scenario, Some(point)).await) });
    let mut results: Vec<(Point, Result<Run>)> = runs.buffer_unordered(PARALLEL).collect().await;
    results.sort_by_key(|(point, _)| (point.server, point.number));
    let mut table = String::new();
    let mut failures = String::new();
    writeln!(table, "{}: undisturbed {} writes, {:.0} s", scenario.name(), whole.writes(), whole.seconds)?;
    for call in whole.calls.values().flatten() {
        writeln!(table, "    {call}")?;
    }
    let mut missed = 0;
    for (point, result) in &results {
        let (outcome, bad) = judge(&whole, result, scenario.spare());
        // A run may report one wait less than the undisturbed one: then there is no last write of a status to kill at.
        let is_last = whole.calls.get(&Server::Kubernetes).is_some_and(|calls| calls.len() == point.number)
            && point.server == Server::Kubernetes;
        missed += usize::from(!is_last && result.as_ref().is_ok_and(|run| run.killed.is_none()));
        writeln!(table, "{:>11} {:>2} {:<24} {outcome}", format!("{:?}", point.server), point.number, point.place)?;
        if let Some(bad) = bad {
            writeln!(failures, "{:?} {} {}: {bad}", point.server, point.number, point.place)?;
        }
    }
    eprintln!("{table}");
    ensure!(failures.is_empty(), "{table}\n{failures}");
    ensure!(missed == 0, "{missed} of {} kills did not happen:\n{table}", results.len());
    Ok(())
}

fn points(whole: &Run, everything: bool) -> Vec<Point> {
    let mut points = Vec::new();
    for (server, calls) in &whole.calls {
        for number in 1..=calls.len() {
            let places = PLACES.iter().enumerate().filter(|(place, _)| everything || number % PLACES.len() == *place);
            points.extend(places.map(|(_, (place, fault))| Point { server: *server, number, place, fault: *fault }));
        }
    }
    points
}

fn judge(whole: &Run, result: &Result<Run>, spare: usize) -> (String, Option<String>) {
    let run = match result {
        Ok(run) => run,
        Err(error) => return ("FAILED".to_owned(), Some(format!("{error:?}"))),
    };
    let killed = run.killed.as_deref().unwrap_or("(no such call)");
    let outcome = format!("{:>2} writes {:>4.0} s  {killed}", run.writes(), run.seconds);
    if run.end != whole.end {
        let text = format!("another end at {killed}:\n{}", difference(&whole.end, &run.end, "$"));
        return (format!("{outcome}  ANOTHER END"), Some(text));
    }
    if run.writes() > whole.writes() + spare {
        let calls: Vec<&String> = run.calls.values().flatten().collect();
        let text = format!("{} writes instead of at most {}: {calls:#?}", run.writes(), whole.writes() + spare);
        return (format!("{outcome}  TOO MANY"), Some(text));
    }
    (outcome, None)
}

/// Where two ends differ, one line a place.
fn difference(wanted: &Value, seen: &Value, path: &str) -> String {
    match (wanted, seen) {
        (Value::Object(wanted), Value::Object(seen)) => {
            let names: std::collections::BTreeSet<&String> = wanted.keys().chain(seen.keys()).collect();
            let of = |map: &serde_json::Map<String, Value>, name: &String| map.get(name).cloned().unwrap_or_default();
            names.iter().map(|name| difference(&of(wanted, name), &of(seen, name), &format!("{path}.{name}"))).collect()
        }
        (wanted, seen) if wanted == seen => String::new(),
        (wanted, seen) => format!("  {path}: wanted {wanted}, saw {seen}\n"),
    }
}

async fn run<S: Scenario>(world: &Arc<World>, scenario: &S, point: Option<Point>) -> Result<Run> {
    let started = Instant::now();
    let rig = Rig::new(world, scenario.name()).await?;
    let context = || format!("in namespace {}", rig.scene.namespace);
    rig.start_ready().await.with_context(context)?;
    scenario.prepare(&rig).await.with_context(context)?;
    let before = rig.lengths();
    if let Some(point) = point {
        let proxy = rig.proxy(point.server);
        let operator = Arc::clone(&rig.operator);
        proxy.on_kill(Box::new(move || kill(&operator)));
        proxy.arm((before[&point.server] + point.number) as u64, point.fault);
    }
    let work = async {
        scenario.act(&rig).await?;
        scenario.end(&rig).await
    };
    let end = tokio::select! {
        end = work => end.with_context(context)?,
        revived = rig.revive() => {
            revived.with_context(context)?;
            bail!("the operator is not started again any more");
        }
    };
    rig.alive().with_context(context)?;
    let calls: BTreeMap<Server, Vec<String>> = SERVERS
        .iter()
        .map(|server| {
            let calls = rig.proxy(*server).calls();
            (*server, calls[before[server]..].iter().map(|call| rig.describe(*server, call)).collect())
        })
        .collect();
    let killed = match point {
        Some(point) if rig.proxy(point.server).kills() > 0 => calls[&point.server].get(point.number - 1).cloned(),
        _ => None,
    };
    let end = Mask::new(&rig.scene.namespace)?.of(&end);
    Ok(Run { end, calls, killed, seconds: started.elapsed().as_secs_f64() })
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
