//! A watch over an operator under attack: it stays alive within its memory limit, keeps its Lease, answers its probes, and
//! serves another namespace meanwhile.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::time::sleep;

use crate::{Operator, Scene, World, bench::usage};

/// The memory limit of the shipped Deployment, in MiB.
const MEMORY: f64 = 512.0;
/// A probe that takes longer has failed: a second less than `timeoutSeconds` of the shipped Deployment.
const PROBE: Duration = Duration::from_secs(2);
/// How long a change of another namespace may take to be published.
const SYNC: Duration = Duration::from_secs(5);
/// How long a leader may be silent before others take over.
const LEASE: i64 = 15;

/// See the [module documentation](self).
pub struct Vigil {
    /// The operator.
    pub operator: Operator,
    /// The namespace beside the attack.
    pub bystander: Scene,
    holder: String,
    slowest: Slowest,
}

/// The longest times, in milliseconds, which show the distance to the limits.
#[derive(Default)]
struct Slowest {
    probe: AtomicU64,
    change: AtomicU64,
}

impl Vigil {
    /// Starts an operator that serves the namespaces of `scenes` and one of a bystander, and waits until it serves that.
    ///
    /// # Errors
    /// When it does not.
    pub async fn start(world: &Arc<World>, name: &str, scenes: &[&Scene], arguments: &[&str]) -> Result<Self> {
        let bystander = Scene::new(world, &format!("{name}-by")).await?;
        let names = scenes.iter().map(|scene| scene.namespace.as_str()).chain([bystander.namespace.as_str()]);
        let only = format!("--namespaces={}", names.collect::<Vec<_>>().join(","));
        let arguments: Vec<&str> = std::iter::once(only.as_str()).chain(arguments.iter().copied()).collect();
        let operator = world.operator(name, &arguments)?;
        let key = bystander.key("db");
        world.bao.put(&key, &json!({"password": "0"})).await?;
        bystander.policy("db", "vault", &[("password", &key, "password")], json!({})).await?;
        bystander.wait_data("db", &[("password", "0")]).await?;
        operator.wait_ready().await?;
        let holder = world.lease().await?.holder_identity.context("no operator leads")?;
        Ok(Self { operator, bystander, holder, slowest: Slowest::default() })
    }

    /// Does `attack`, and watches as long as it lasts, and for one more change of the bystander's value.
    ///
    /// # Errors
    /// When the attack cannot be made, or shows an effect on others; the message says which.
    pub async fn during(&mut self, attack: impl Future<Output = Result<()>>) -> Result<()> {
        let probes = async {
            loop {
                self.probe().await?;
                sleep(Duration::from_millis(200)).await;
            }
        };
        let changes = async {
            for number in 1.. {
                self.change(&number.to_string()).await?;
                sleep(Duration::from_millis(500)).await;
            }
            Ok(())
        };
        let watched: Result<()> = tokio::select! {
            result = attack => result,
            result = probes => result,
            result = changes => result,
        };
        watched?;
        self.change("last").await?;
        self.probe().await?;
        self.standing().await
    }

    /// Whether the process lives within its limit, and leads.
    async fn standing(&mut self) -> Result<()> {
        self.operator.alive()?;
        let peak = usage::memory(self.operator.id())?.peak;
        let Slowest { probe, change } = &self.slowest;
        println!("slowest probe {probe:?} ms, slowest change of another namespace {change:?} ms, peak {peak:.0} MiB");
        ensure!(peak < MEMORY, "the operator took {peak:.0} MiB, its limit is {MEMORY} MiB");
        let lease = self.bystander.world.lease().await?;
        ensure!(lease.holder_identity.as_ref() == Some(&self.holder), "the Lease went to {:?}", lease.holder_identity);
        let renewed = lease.renew_time.context("the Lease was never renewed")?.0;
        let silent = k8s_openapi::jiff::Timestamp::now().duration_since(renewed).as_secs();
        ensure!(silent < LEASE, "the Lease was not renewed for {silent} s");
        Ok(())
    }

    async fn probe(&self) -> Result<()> {
        for path in ["/livez", "/readyz"] {
            let start = Instant::now();
            let answer = tokio::time::timeout(PROBE, self.operator.get(path)).await;
            longest(&self.slowest.probe, start);
            let (status, text) = answer.with_context(|| format!("{path} took more than {PROBE:?}"))??;
            ensure!(status == 200, "{path}: {status} {text}");
        }
        Ok(())
    }

    /// A change of the bystander's value is published in time.
    async fn change(&self, value: &str) -> Result<()> {
        let scene = &self.bystander;
        scene.world.bao.put(&scene.key("db"), &json!({"password": value})).await?;
        let start = Instant::now();
        scene.ask_sync("db").await?;
        scene.wait_data("db", &[("password", value)]).await?;
        longest(&self.slowest.change, start);
        ensure!(start.elapsed() < SYNC, "another namespace waited {:?} for its change", start.elapsed());
        Ok(())
    }
}

fn longest(of: &AtomicU64, start: Instant) {
    of.fetch_max(u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
}
