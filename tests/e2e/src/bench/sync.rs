//! Syncs: the first, the idle round, a change of every key; then the same with a crowd of other Secrets around.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};
use kube::{Api, ResourceExt as _, api::ListParams};
use rekey_api::SecretPolicy;
use rekey_testkit::bao::Mark;
use tokio::time::sleep;

use super::{
    bare::Bodies,
    crowd,
    ground::{Ground, Space},
    put,
    report::{Report, ratio},
    settings::Settings,
    traffic::{Traffic, seconds},
    usage,
};
use crate::Operator;

/// A moment without requests: all work is done.
const REST: Duration = Duration::from_secs(3);

/// The namespaces with the policies, and the operator that keeps them.
pub struct Stage<'a> {
    /// The ground.
    pub ground: &'a Ground,
    /// How big it is.
    pub settings: &'a Settings,
    /// Policies with a key each.
    pub many: Space,
    /// Other Secrets, and one policy, so that the namespace is watched.
    pub crowd: Space,
}

impl<'a> Stage<'a> {
    /// Makes the namespaces and policies. Nothing keeps them yet.
    ///
    /// # Errors
    /// When an object is refused.
    pub async fn new(ground: &'a Ground, settings: &'a Settings) -> Result<Self> {
        let (many, crowd) = (ground.space("many").await?, ground.space("crowd").await?);
        put(&format!("making {} policies", settings.policies));
        ground.put(&many, settings.policies, "one").await?;
        let interval = format!("{}s", settings.interval);
        many.policies(settings.policies, &interval, |number| many.key(number)).await?;
        ground.put(&crowd, 1, "one").await?;
        crowd.policies(1, "240h", |number| crowd.key(number)).await?;
        Ok(Self { ground, settings, many, crowd })
    }

    /// The first sync, against the same writes by a bare client before and after it.
    ///
    /// # Errors
    /// When it does not come to its end.
    pub async fn first(&self, report: &mut Report, bodies: &Bodies) -> Result<Operator> {
        let count = self.settings.policies;
        let before = self.bare(bodies).await?;
        put(&format!("first sync of {count} policies"));
        let mut traffic = Traffic::from_now(self.ground).await?;
        let (store, began) = (self.ground.bao.mark()?, Timestamp::now());
        let mut operator = self.ground.operator("first", &[&self.many, &self.crowd])?;
        self.synced(&mut traffic, &mut operator).await?;
        let took = seconds(began, traffic.last_write().context("nothing was written")?);
        traffic.until_rest(&mut operator, REST).await?;
        let cpu = usage::cpu(operator.id())?;
        let after = self.bare(bodies).await?;
        let bare = f64::midpoint(before, after);
        let counts = traffic.counts();
        let name = "first sync";
        report.requests(name, &counts, count + 1);
        report.row(name, "API requests for each policy", "", 3.1, ratio(counts.total(), count + 1));
        report.tell(name, "time from the start of the process", "s", took);
        report.tell(name, "the same writes by a bare client (mean of before and after)", "s", bare);
        report.row(name, "time against the bare client", "times", 1.3, took / bare);
        report.tell(name, "CPU of the operator", "s", cpu);
        let reads = reads(self.ground, &self.many, store)?;
        // The first rounds of some start before the last first syncs end.
        report.tell(name, "store reads for each key, mean", "", ratio(reads.values().sum(), count));
        memory(report, name, &operator, None)?;
        self.verify("one").await?;
        Ok(operator)
    }

    async fn bare(&self, bodies: &Bodies) -> Result<f64> {
        let count = self.settings.policies.min(1000);
        let space = self.ground.space("bare").await?;
        space.policies(count, "240h", |number| space.key(number)).await?;
        put(&format!("the same writes for {count} policies by a bare client"));
        let before = usage::cpu(std::process::id())?;
        let took = bodies.sync(self.ground, &space, count).await?.as_secs_f64();
        put(&format!("    {took:.2} s, CPU of the client {:.2} s", usage::cpu(std::process::id())? - before));
        Ok(took * ratio(u64::try_from(self.settings.policies)?, count))
    }

    async fn synced(&self, traffic: &mut Traffic<'_>, operator: &mut Operator) -> Result<()> {
        let count = self.settings.policies + 1;
        let wanted =
            [("patch", "secrets", count), ("patch", "secretpolicies/status", count), ("create", "events", count)];
        traffic.until(operator, &wanted).await
    }

    /// A round in which nothing is new.
    ///
    /// # Errors
    /// When the audit logs cannot be read.
    pub async fn idle(&self, report: &mut Report, operator: &mut Operator) -> Result<()> {
        let (name, interval) = ("idle round", self.settings.interval);
        put(&format!("an idle round of {interval} s"));
        let mut traffic = Traffic::from_now(self.ground).await?;
        let (store, cpu) = (self.ground.bao.mark()?, usage::cpu(operator.id())?);
        sleep(Duration::from_secs(interval)).await;
        let (used, reads) = (usage::cpu(operator.id())? - cpu, reads(self.ground, &self.many, store)?);
        operator.alive()?;
        traffic.read()?;
        let counts = traffic.counts();
        report.requests(name, &counts, self.settings.policies);
        report.row(
            name,
            "API requests in all (without watches that are renewed)",
            "",
            0.0,
            ratio(counts.besides_watches(), 1),
        );
        report.row(
            name,
            "store reads for each key, mean",
            "",
            1.01,
            ratio(reads.values().sum(), self.settings.policies),
        );
        report.row(name, "CPU of the operator", "s", 0.5, used);
        memory(report, name, operator, None)
    }

    /// Every key changes in the store.
    ///
    /// # Errors
    /// When a change does not arrive.
    pub async fn change(&self, report: &mut Report, operator: &mut Operator) -> Result<()> {
        let (name, count) = ("change", self.settings.policies);
        put(&format!("every one of {count} keys changes"));
        let mut traffic = Traffic::from_now(self.ground).await?;
        let cpu = usage::cpu(operator.id())?;
        let changed: Vec<(String, Timestamp)> = crowd::each(count, |number| async move {
            self.ground.put_one(&self.many, number, "two").await?;
            Ok((format!("p{number}"), Timestamp::now()))
        })
        .await?;
        let wanted =
            [("patch", "secrets", count), ("patch", "secretpolicies/status", count), ("create", "events", count)];
        traffic.until(operator, &wanted).await?;
        traffic.until_rest(operator, REST).await?;
        let counts = traffic.counts();
        let slowest = slowest(&traffic, &changed);
        report.requests(name, &counts, count);
        report.row(name, "writes for each changed object, Events too", "", 3.0, ratio(counts.writes(), count));
        #[expect(clippy::cast_precision_loss, reason = "an interval in seconds")]
        let target = self.settings.interval as f64 + 2.0;
        report.row(name, "slowest from the change in the store to the Secret", "s", target, slowest);
        report.tell(name, "CPU of the operator", "s", usage::cpu(operator.id())? - cpu);
        memory(report, name, operator, None)?;
        self.verify("two").await
    }

    /// Many Secrets of other owners in the same namespaces: while the operator runs, and when it starts.
    ///
    /// # Errors
    /// When the operator does not come to rest.
    pub async fn crowded(&self, report: &mut Report, operator: &mut Operator) -> Result<Operator> {
        let (name, count) = ("20,000 others", self.settings.unmanaged);
        put(&format!("{count} Secrets of 8 KiB that no policy refers to"));
        let cpu = usage::cpu(operator.id())?;
        self.many.unmanaged(count / 2).await?;
        self.crowd.unmanaged(count - count / 2).await?;
        sleep(REST).await;
        report.tell(name, "CPU of the operator while they are made", "s", usage::cpu(operator.id())? - cpu);
        memory(report, name, operator, Some("they came while it ran"))?;
        operator.stop()?;
        let mut traffic = Traffic::from_now(self.ground).await?;
        let store = self.ground.bao.mark()?;
        let mut next = self.ground.operator("crowded", &[&self.many, &self.crowd])?;
        let all = self.settings.policies;
        while reads(self.ground, &self.many, store)?.len() < all {
            next.alive()?;
            sleep(Duration::from_millis(200)).await;
        }
        traffic.until_rest(&mut next, REST).await?;
        let counts = traffic.counts();
        report.requests(name, &counts, all);
        report.row(name, "writes after a start at which nothing is new", "", 0.0, ratio(counts.writes(), 1));
        report.tell(name, "CPU of a start", "s", usage::cpu(next.id())?);
        memory(report, name, &next, Some("after a start"))?;
        Ok(next)
    }

    /// Every Secret holds its value, and every policy says so.
    async fn verify(&self, value: &str) -> Result<()> {
        let params = ListParams::default().labels("app.kubernetes.io/managed-by=rekey");
        let secrets: Api<Secret> = self.many.api();
        let held: BTreeMap<String, Vec<u8>> = secrets
            .list(&params)
            .await?
            .into_iter()
            .filter_map(|secret| Some((secret.name_any(), secret.data?.remove("password")?.0)))
            .collect();
        for number in 0..self.settings.policies {
            let held = held.get(&format!("p{number}")).with_context(|| format!("there is no Secret p{number}"))?;
            ensure!(*held == format!("{value}-{number}").into_bytes(), "p{number} does not hold {value}");
        }
        for policy in self.many.api::<SecretPolicy>().list(&ListParams::default()).await? {
            let conditions = policy.status.clone().unwrap_or_default().conditions;
            let ready = conditions.iter().any(|at| at.type_ == "Ready" && at.status == "True");
            ensure!(ready, "{} is not ready: {conditions:?}", policy.name_any());
        }
        Ok(())
    }
}

/// Many policies that read the same key.
///
/// # Errors
/// When the audit logs cannot be read.
pub async fn same(ground: &Ground, settings: &Settings, report: &mut Report) -> Result<()> {
    let (name, space) = ("same key", ground.space("same").await?);
    put(&format!("{} policies on one key, rounds of 10 s", settings.policies));
    ground.put(&space, 1, "one").await?;
    space.policies(settings.policies, "10s", |_| space.key(0)).await?;
    let mut traffic = Traffic::from_now(ground).await?;
    let store = ground.bao.mark()?;
    let mut operator = ground.operator("same", &[&space])?;
    traffic.until(&mut operator, &[("create", "events", settings.policies)]).await?;
    let first: u64 = reads(ground, &space, store)?.values().sum();
    report.tell(name, "store reads of the first sync", "", ratio(first, 1));
    traffic.until_rest(&mut operator, REST).await?;
    let (store, cpu) = (ground.bao.mark()?, usage::cpu(operator.id())?);
    sleep(Duration::from_secs(30)).await;
    let read: u64 = reads(ground, &space, store)?.values().sum();
    report.row(name, "store reads a round", "", 1.01, ratio(read, 3));
    report.tell(name, "CPU of the operator a round", "s", (usage::cpu(operator.id())? - cpu) / 3.0);
    operator.stop()
}

/// How often each key of the space was read since the mark.
///
/// # Errors
/// When the audit log cannot be read.
pub fn reads(ground: &Ground, space: &Space, mark: Mark) -> Result<BTreeMap<String, u64>> {
    let prefix = format!("secret/data/{}/", space.name);
    let mut counts = BTreeMap::new();
    for request in ground.bao.requests_since(mark)?.into_iter().filter(|request| request.operation == "read") {
        if let Some(key) = request.path.strip_prefix(&prefix) {
            *counts.entry(key.to_owned()).or_default() += 1;
        }
    }
    Ok(counts)
}

fn slowest(traffic: &Traffic<'_>, changed: &[(String, Timestamp)]) -> f64 {
    let writes = traffic.asked.iter().filter(|asked| asked.verb == "patch" && asked.subject == "secrets");
    let written: BTreeMap<&str, Timestamp> =
        writes.filter_map(|asked| Some((asked.name.as_deref()?, asked.at))).collect();
    let delays = changed.iter().filter_map(|(name, at)| Some(seconds(*at, *written.get(name.as_str())?)));
    delays.fold(0.0, f64::max)
}

/// Reports how much memory the operator has.
///
/// # Errors
/// When it is gone.
pub fn memory(report: &mut Report, scenario: &'static str, operator: &Operator, when: Option<&str>) -> Result<()> {
    let memory = usage::memory(operator.id())?;
    let when = when.map(|when| format!(", {when}")).unwrap_or_default();
    report.row(scenario, format!("resident memory{when}"), "MiB", 40.0, memory.now);
    report.tell(scenario, format!("resident memory, peak until then{when}"), "MiB", memory.peak);
    Ok(())
}
