//! Many Deployments that are due at once, where few may roll at the same time: what waits, waits in line.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::jiff::Timestamp;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{
    crowd,
    ground::{Ground, Space},
    put,
    report::{Report, ratio},
    restarts::deployments,
    rolling::{Rolling, Watch},
    traffic::{Traffic, seconds},
};
use crate::{Operator, kubelet::Kubelet};

/// `--rollouts-per-namespace` and `--rollouts`.
const BUDGET: usize = 5;
/// `rollout.stableFor`
const STABLE_FOR: Duration = Duration::from_secs(1);
/// Longer than the operator gathers changes.
const REST: Duration = Duration::from_secs(6);
/// Nothing takes longer.
const PATIENCE: Duration = Duration::from_mins(20);

/// Measures it with all of them in one namespace, and then spread over ten.
///
/// # Errors
/// When something does not come to its end.
pub async fn measure(ground: &Ground, count: usize, report: &mut Report) -> Result<()> {
    report
        .note("budget: the watch of Deployments says what rolls, not the operator; the node only pretends to run pods");
    let _kubelet = Kubelet::start(&ground.client).await?;
    for (spaces, name) in [(1, "one namespace"), (10, "ten namespaces")] {
        Stage::new(ground, spaces, count / spaces, name).await?.measure(report).await?;
    }
    Ok(())
}

/// Policies with a Deployment each.
struct Stage<'a> {
    ground: &'a Ground,
    spaces: Vec<Space>,
    /// In each namespace.
    each: usize,
    /// The scenario.
    name: &'static str,
}

impl<'a> Stage<'a> {
    async fn new(ground: &'a Ground, spaces: usize, each: usize, name: &'static str) -> Result<Self> {
        put(&format!(
            "{} policies with a Deployment each in {name}, of which {BUDGET} may roll at once",
            spaces * each
        ));
        let more = json!({"rollout": {"stableFor": format!("{}s", STABLE_FOR.as_secs())}});
        let mut made = Vec::new();
        for _ in 0..spaces {
            let space = ground.space("budget").await?;
            ground.put(&space, each, "one").await?;
            space.policies_with(each, "240h", |number| space.key(number), &more).await?;
            made.push(space);
        }
        Ok(Self { ground, spaces: made, each, name })
    }

    fn count(&self) -> usize {
        self.spaces.len() * self.each
    }

    async fn measure(&self, report: &mut Report) -> Result<()> {
        let mut traffic = Traffic::from_now(self.ground).await?;
        let spaces: Vec<&Space> = self.spaces.iter().collect();
        let mut operator = self.ground.limited(&self.name.replace(' ', "-"), &spaces, BUDGET)?;
        traffic.until(&mut operator, &[("create", "events", self.count())]).await?;
        for space in &self.spaces {
            deployments(space, self.each).await?;
        }
        traffic.until_rest(&mut operator, REST).await?;
        let names = self.spaces.iter().map(|space| space.name.clone()).collect();
        let watch = Watch::start(&self.ground.client, names, STABLE_FOR);
        while watch.seen()?.changes().len() < self.count() {
            sleep(Duration::from_millis(100)).await;
        }
        let mut traffic = Traffic::from_now(self.ground).await?;
        let changed = self.change().await?;
        self.until_done(&watch, &mut operator).await?;
        traffic.until_rest(&mut operator, REST).await?;
        self.report(report, &*watch.seen()?, &changed)?;
        let counts = traffic.counts();
        report.requests(self.name, &counts, self.count());
        report.tell(
            self.name,
            "API requests for each change and its restart in all",
            "",
            ratio(counts.total(), self.count()),
        );
        operator.stop()
    }

    /// Every key gets another value. When the store took it, by namespace and name.
    async fn change(&self) -> Result<BTreeMap<(String, String), Timestamp>> {
        let changed = crowd::each(self.count(), |number| async move {
            let (space, number) = (&self.spaces[number / self.each], number % self.each);
            self.ground.put_one(space, number, "two").await?;
            Ok(((space.name.clone(), format!("p{number}")), Timestamp::now()))
        })
        .await?;
        for space in &self.spaces {
            space.ask_sync(0..self.each, "two").await?;
        }
        Ok(changed.into_iter().collect())
    }

    async fn until_done(&self, watch: &Watch, operator: &mut Operator) -> Result<()> {
        let (end, mut told) = (Instant::now() + PATIENCE, Instant::now());
        loop {
            let done = watch.seen()?.done(Timestamp::now()).len();
            if done == self.count() {
                return Ok(());
            }
            operator.alive()?;
            ensure!(Instant::now() < end, "{done} of {} Deployments are done after {PATIENCE:?}", self.count());
            if told.elapsed() > Duration::from_secs(30) {
                put(&format!("    {done} of {} are done", self.count()));
                told = Instant::now();
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    fn report(
        &self,
        report: &mut Report,
        seen: &Rolling,
        changed: &BTreeMap<(String, String), Timestamp>,
    ) -> Result<()> {
        let name = self.name;
        let done = seen.done(Timestamp::now());
        let wrong = seen.changes().into_iter().filter(|times| *times != 1).count();
        let mut waits = Vec::new();
        for (key, at) in changed {
            let (_, end) = done.get(key).with_context(|| format!("{key:?} is not done"))?;
            waits.push(seconds(*at, *end));
        }
        let mut rollouts: Vec<f64> = done.values().map(|(rollout, end)| seconds(rollout.began, *end)).collect();
        let first = *changed.values().min().context("nothing has changed")?;
        let last = done.values().map(|(_, end)| *end).max().context("nothing is done")?;
        let most = ratio(u64::try_from(seen.most())?, 1);
        report.row(
            name,
            format!("Deployments that rolled at once, with a budget of {BUDGET}"),
            "",
            ratio(u64::try_from(BUDGET)?, 1),
            most,
        );
        report.row(
            name,
            "Deployments restarted more than once, or not at all",
            "",
            0.0,
            ratio(u64::try_from(wrong)?, 1),
        );
        report.tell(name, "time from the first change to the last one done", "s", seconds(first, last));
        report.tell(name, "from the change in the store until done, median", "s", share(&mut waits, 50)?);
        report.tell(name, "from the change in the store until done, p99", "s", share(&mut waits, 99)?);
        report.tell(name, "one rollout, until it is stable, median", "s", share(&mut rollouts, 50)?);
        report.tell(name, "one rollout, until it is stable, p99", "s", share(&mut rollouts, 99)?);
        Ok(())
    }
}

/// The smallest of the values that at least so many percent of them do not exceed.
fn share(values: &mut [f64], percent: usize) -> Result<f64> {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() * percent).div_ceil(100).max(1);
    values.get(rank - 1).copied().context("no values")
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let mut values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        let found = [50, 99, 100].map(|percent| share(&mut values, percent).unwrap());
        assert_eq!(found.map(f64::round).map(|value| value.to_string()), ["100", "198", "200"].map(str::to_owned));
        assert!(share(&mut [], 99).is_err());
    }
}
