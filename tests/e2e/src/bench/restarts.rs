//! Restarts: many Secrets change at once, each with a Deployment that reads it.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::{api::apps::v1::Deployment, jiff::Timestamp};
use kube::{ResourceExt as _, api::ListParams};
use tokio::time::{Instant, sleep};

use super::{
    bare::Bodies,
    crowd,
    ground::{Ground, Space},
    put,
    report::{Report, ratio},
    sync::memory,
    traffic::{Traffic, seconds},
    usage,
};
use crate::{
    Operator,
    kubelet::Kubelet,
    workloads::{Form, workload},
};

/// Changes while the operator is down.
const DOWN: usize = 50;
/// Longer than the operator gathers changes.
const REST: Duration = Duration::from_secs(6);
const NAME: &str = "restarts";

/// Policies with a Deployment each, and the other watched namespaces.
pub struct Stage<'a> {
    ground: &'a Ground,
    space: Space,
    others: Vec<Space>,
    count: usize,
    _kubelet: Kubelet,
}

impl<'a> Stage<'a> {
    /// Makes them. `others` are namespaces that the operator keeps at the same time.
    ///
    /// # Errors
    /// When an object is refused.
    pub async fn new(ground: &'a Ground, count: usize, others: Vec<Space>) -> Result<Self> {
        put(&format!("{count} policies with a Deployment each, on a node that only pretends to run pods"));
        let kubelet = Kubelet::start(&ground.client).await?;
        let space = ground.space("restarts").await?;
        ground.put(&space, count, "one").await?;
        space.policies(count, "240h", |number| space.key(number)).await?;
        Ok(Self { ground, space, others, count, _kubelet: kubelet })
    }

    /// Measures all of it.
    ///
    /// # Errors
    /// When something does not come to its end.
    pub async fn measure(&self, report: &mut Report, bodies: &Bodies) -> Result<()> {
        report.note(
            "restarts: the pods are bound to a node that says they run; no container does. The API server, the \
                     Deployment and ReplicaSet controllers and the scheduler are real",
        );
        let mut traffic = Traffic::from_now(self.ground).await?;
        let mut operator = self.operator("restarts")?;
        traffic.until(&mut operator, &[("create", "events", self.count)]).await?;
        deployments(&self.space, self.count).await?;
        traffic.until_rest(&mut operator, REST).await?;
        let bare = self.bare(bodies).await?;
        self.at_once(report, &mut operator, bare).await?;
        memory(report, NAME, &operator, None)?;
        self.while_down(&mut operator).await?;
        let mut operator = self.operator("restarts-again")?;
        self.caught(report, &mut operator).await?;
        self.two_changes(report, &mut operator).await?;
        operator.stop()
    }

    fn operator(&self, name: &str) -> Result<Operator> {
        let mut spaces: Vec<&Space> = self.others.iter().collect();
        spaces.push(&self.space);
        self.ground.operator(name, &spaces)
    }

    /// What a bare client needs for the changes (a Secret, a status, an Event for each) and the restarts (a list of pods,
    /// a marker, a status, an Event for each), while another client requests the changes, as with the operator.
    async fn bare(&self, bodies: &Bodies) -> Result<f64> {
        let space = self.ground.space("bare-restarts").await?;
        space.policies(self.count, "240h", |number| space.key(number)).await?;
        deployments(&space, self.count).await?;
        put("the same requests by a bare client");
        let asked = space.ask_sync(0..self.count, "bare");
        let (change, ()) = tokio::try_join!(bodies.sync(self.ground, &space, self.count), asked)?;
        let took = (change + bodies.restart(self.ground, &space, self.count).await?).as_secs_f64();
        put(&format!("    {took:.2} s"));
        // The controllers replace its pods now; that should not slow the next measurement.
        ready(&space, self.count).await?;
        Ok(took)
    }

    async fn at_once(&self, report: &mut Report, operator: &mut Operator, bare: f64) -> Result<()> {
        put(&format!("{} Secrets change at once", self.count));
        let before = generations(&self.space).await?;
        let cpu = usage::cpu(operator.id())?;
        let mut traffic = Traffic::from_now(self.ground).await?;
        self.ground.put(&self.space, self.count, "two").await?;
        self.space.ask_sync(0..self.count, "two").await?;
        traffic.until(operator, &[("patch", "deployments", self.count)]).await?;
        traffic.until_rest(operator, REST).await?;
        ready(&self.space, self.count).await?;
        traffic.until_rest(operator, REST).await?;
        let counts = traffic.counts();
        report.requests(NAME, &counts, self.count);
        let restarted = self.restarted(&before).await?;
        report.row(
            NAME,
            "Deployments that were restarted more than once, or not at all",
            "",
            0.0,
            ratio(u64::try_from(restarted.values().filter(|times| **times != 1).count())?, 1),
        );
        // The change itself: a Secret, a status and an Event for each.
        let change = 3 * u64::try_from(self.count)?;
        report.tell(NAME, "API requests for each change and its restart in all", "", ratio(counts.total(), self.count));
        report.row(
            NAME,
            "API requests for each restart (all but 3 of the change)",
            "",
            4.0,
            ratio(counts.total() - change.min(counts.total()), self.count),
        );
        let Took { all, idle } = took(&traffic)?;
        report.tell(NAME, "time from the first new Secret to the last Event", "s", all);
        report.tell(NAME, "of that, without an answer before the first restart: changes are gathered", "s", idle);
        report.tell(NAME, "the same requests by a bare client", "s", bare);
        report.row(NAME, "time without that wait against the bare client", "times", 1.3, (all - idle) / bare);
        report.tell(NAME, "CPU of the operator", "s", usage::cpu(operator.id())? - cpu);
        Ok(())
    }

    async fn while_down(&self, operator: &mut Operator) -> Result<()> {
        let down = DOWN.min(self.count);
        put(&format!("{down} changes while the operator is down"));
        operator.stop()?;
        crowd::each(down, |number| self.ground.put_one(&self.space, number, "three")).await.map(drop)
    }

    async fn caught(&self, report: &mut Report, operator: &mut Operator) -> Result<()> {
        let down = DOWN.min(self.count);
        let before = generations(&self.space).await?;
        let mut traffic = Traffic::from_now(self.ground).await?;
        let began = Instant::now();
        traffic.until(operator, &[("patch", "deployments", down)]).await?;
        report.tell(
            NAME,
            format!("time from the start to the last of {down} restarts"),
            "s",
            began.elapsed().as_secs_f64(),
        );
        traffic.until_rest(operator, REST).await?;
        let restarted = self.restarted(&before).await?;
        let missed = (0..down).filter(|number| restarted.get(&format!("p{number}")) != Some(&1)).count();
        report.row(
            NAME,
            format!("of {down} changes while it was down, not caught"),
            "",
            0.0,
            ratio(u64::try_from(missed)?, 1),
        );
        let rest = (down..self.count).filter(|number| restarted.get(&format!("p{number}")) != Some(&0)).count();
        report.row(
            NAME,
            "Deployments that were restarted by its start, for no reason",
            "",
            0.0,
            ratio(u64::try_from(rest)?, 1),
        );
        Ok(())
    }

    async fn two_changes(&self, report: &mut Report, operator: &mut Operator) -> Result<()> {
        put("two changes within a second");
        let before = generations(&self.space).await?;
        let mut traffic = Traffic::from_now(self.ground).await?;
        let began = Instant::now();
        for (value, writes) in [("four", 1), ("five", 2)] {
            self.ground.put_one(&self.space, 0, value).await?;
            self.space.ask_sync(0..1, value).await?;
            traffic.until(operator, &[("patch", "secrets", writes)]).await?;
        }
        report.tell(NAME, "time in which the Secret changed twice", "s", began.elapsed().as_secs_f64());
        traffic.until(operator, &[("patch", "deployments", 1)]).await?;
        sleep(REST).await;
        let restarted = self.restarted(&before).await?;
        let times = restarted.get("p0").copied().unwrap_or_default();
        report.row(NAME, "restarts after two changes within a second", "", 1.0, ratio(u64::try_from(times)?, 1));
        Ok(())
    }

    /// How often the pod template of each was changed since.
    async fn restarted(&self, before: &BTreeMap<String, i64>) -> Result<BTreeMap<String, i64>> {
        let now = generations(&self.space).await?;
        ensure!(now.len() == before.len(), "Deployments are missing");
        Ok(now
            .into_iter()
            .map(|(name, at)| (name.clone(), at - before.get(&name).copied().unwrap_or_default()))
            .collect())
    }
}

/// Seconds from the first new Secret to the last Event of a restart.
struct Took {
    all: f64,
    /// Before the first restart, with nothing to do but to wait for further changes.
    idle: f64,
}

fn took(traffic: &Traffic<'_>) -> Result<Took> {
    let at = |verb: &str, subject: &str| {
        let of = traffic.asked.iter().filter(|asked| asked.verb == verb && asked.subject == subject);
        of.map(|asked| asked.at).collect::<Vec<Timestamp>>()
    };
    let (changes, marks, told) = (at("patch", "secrets"), at("patch", "deployments"), at("create", "events"));
    let begin = *changes.iter().min().context("no Secret has changed")?;
    let end = *marks.iter().chain(&told).max().context("nothing was restarted")?;
    let first = at("list", "pods").into_iter().chain(marks).filter(|at| *at > begin).min();
    let first = first.context("nothing was restarted")?;
    let before = traffic.asked.iter().map(|asked| asked.at).filter(|at| *at >= begin && *at < first).max();
    Ok(Took { all: seconds(begin, end), idle: seconds(before.unwrap_or(first), first) })
}

/// Makes the Deployments `p<number>` that read the Secrets of the same names, and waits until they are available.
///
/// # Errors
/// When one is refused, or does not become available.
pub async fn deployments(space: &Space, count: usize) -> Result<()> {
    crowd::each(count, |number| {
        let name = format!("p{number}");
        space.apply(workload("Deployment", &space.name, &name, &name, Form::Env))
    })
    .await?;
    ready(space, count).await
}

/// Waits until all Deployments have their new pods, and those only.
async fn ready(space: &Space, count: usize) -> Result<()> {
    let end = Instant::now() + Duration::from_mins(10);
    loop {
        let all = space.api::<Deployment>().list(&ListParams::default()).await?.items;
        let done = |deployment: &&Deployment| {
            let status = deployment.status.clone().unwrap_or_default();
            status.observed_generation == deployment.metadata.generation
                && (status.updated_replicas, status.available_replicas, status.replicas) == (Some(1), Some(1), Some(1))
        };
        let ready = all.iter().filter(done).count();
        if ready == count {
            return Ok(());
        }
        ensure!(Instant::now() < end, "{ready} of {count} Deployments are available");
        sleep(Duration::from_secs(1)).await;
    }
}

async fn generations(space: &Space) -> Result<BTreeMap<String, i64>> {
    let all = space.api::<Deployment>().list(&ListParams::default()).await?;
    Ok(all.into_iter().map(|one| (one.name_any(), one.metadata.generation.unwrap_or_default())).collect())
}
