//! Which Deployments roll at the same time, as anybody sees it who watches them: by their templates and their own
//! controller's word, and not by anything that the operator says.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use futures::StreamExt as _;
use k8s_openapi::{api::apps::v1::Deployment, jiff::Timestamp};
use kube::{
    Api, Client, ResourceExt as _,
    runtime::watcher::{self, Event, watcher},
};
use tokio::task::JoinHandle;

/// A rollout: from the change of a template until the new pods have run for some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// When the changed template was seen.
    pub began: Timestamp,
    /// When it was seen complete, since which it has stayed so.
    complete: Option<Timestamp>,
}

impl Rollout {
    /// When it is stable, if it stays complete.
    #[must_use]
    pub fn ends(&self, stable_for: Duration) -> Option<Timestamp> {
        self.complete.and_then(|at| at.checked_add(stable_for).ok())
    }
}

/// What was seen of one Deployment.
#[derive(Debug)]
struct Seen {
    template: String,
    /// How often the template has changed.
    changes: usize,
    rollouts: Vec<Rollout>,
}

/// What was seen of all.
#[derive(Debug)]
pub struct Rolling {
    stable_for: Duration,
    each: BTreeMap<(String, String), Seen>,
}

impl Rolling {
    /// Nothing yet. A rollout ends when it has been complete for `stable_for`.
    #[must_use]
    pub fn new(stable_for: Duration) -> Self {
        Self { stable_for, each: BTreeMap::new() }
    }

    /// A Deployment was seen.
    ///
    /// # Errors
    /// When it has no template.
    pub fn see(&mut self, deployment: &Deployment, at: Timestamp) -> Result<()> {
        let spec = deployment.spec.as_ref().context("a Deployment without spec")?;
        let template = serde_json::to_string(&spec.template)?;
        self.look(
            (deployment.namespace().unwrap_or_default(), deployment.name_any()),
            template,
            is_complete(deployment),
            at,
        );
        Ok(())
    }

    fn look(&mut self, key: (String, String), template: String, is_complete: bool, at: Timestamp) {
        let stable_for = self.stable_for;
        let is_over = |rollout: &Rollout| rollout.ends(stable_for).is_some_and(|end| end <= at);
        let Some(seen) = self.each.get_mut(&key) else {
            self.each.insert(key, Seen { template, changes: 0, rollouts: Vec::new() });
            return;
        };
        if seen.template != template {
            seen.template = template;
            seen.changes += 1;
            match seen.rollouts.last_mut().filter(|last| !is_over(last)) {
                Some(last) => last.complete = None,
                None => seen.rollouts.push(Rollout { began: at, complete: None }),
            }
            return;
        }
        let Some(last) = seen.rollouts.last_mut().filter(|last| !is_over(last)) else { return };
        last.complete = if is_complete { last.complete.or(Some(at)) } else { None };
    }

    /// How often the template of each has changed.
    #[must_use]
    pub fn changes(&self) -> Vec<usize> {
        self.each.values().map(|seen| seen.changes).collect()
    }

    /// The last rollout of each that had one, by namespace and name, if it is over by now.
    #[must_use]
    pub fn done(&self, now: Timestamp) -> BTreeMap<&(String, String), (Rollout, Timestamp)> {
        let last = |seen: &Seen| {
            let rollout = seen.rollouts.last()?;
            Some((*rollout, rollout.ends(self.stable_for).filter(|end| *end <= now)?))
        };
        self.each.iter().filter_map(|(key, seen)| Some((key, last(seen)?))).collect()
    }

    /// The most that were under way at one moment, in all namespaces together.
    #[must_use]
    pub fn most(&self) -> usize {
        let mut edges = BTreeSet::new();
        for (number, rollout) in self.each.values().flat_map(|seen| &seen.rollouts).enumerate() {
            edges.insert((rollout.began, true, number));
            // One that ends at the moment at which another one begins is over: false comes before true.
            edges.extend(rollout.ends(self.stable_for).map(|end| (end, false, number)));
        }
        let (mut now, mut most) = (0_usize, 0);
        for (_, begins, _) in edges {
            now = if begins { now + 1 } else { now.saturating_sub(1) };
            most = most.max(now);
        }
        most
    }
}

/// Whether all pods are of the template and available, as the Deployment's own controller says.
fn is_complete(deployment: &Deployment) -> bool {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas);
    let status = deployment.status.clone().unwrap_or_default();
    status.observed_generation == deployment.metadata.generation
        && [status.updated_replicas, status.available_replicas, status.replicas].iter().all(|count| *count == wanted)
}

/// Watches Deployments. It ends when it is dropped.
pub struct Watch {
    rolling: Arc<Mutex<Rolling>>,
    task: JoinHandle<Result<()>>,
}

impl Watch {
    /// Starts, for the Deployments of these namespaces.
    #[must_use]
    pub fn start(client: &Client, namespaces: BTreeSet<String>, stable_for: Duration) -> Self {
        let rolling = Arc::new(Mutex::new(Rolling::new(stable_for)));
        let task = tokio::spawn(follow(Api::all(client.clone()), namespaces, Arc::clone(&rolling)));
        Self { rolling, task }
    }

    /// What was seen until now.
    ///
    /// # Errors
    /// When the watch has ended: something may be missing.
    pub fn seen(&self) -> Result<MutexGuard<'_, Rolling>> {
        ensure!(!self.task.is_finished(), "the watch of Deployments was interrupted, so not everything was seen");
        Ok(lock(&self.rolling))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(api: Api<Deployment>, namespaces: BTreeSet<String>, rolling: Arc<Mutex<Rolling>>) -> Result<()> {
    let mut events = watcher(api, watcher::Config::default()).boxed();
    let mut lists = 0;
    while let Some(event) = events.next().await {
        let at = Timestamp::now();
        match event? {
            Event::Init if lists > 0 => bail!("listed again"),
            Event::Init => lists += 1,
            Event::Apply(deployment) | Event::InitApply(deployment) => {
                if deployment.metadata.namespace.as_ref().is_some_and(|of| namespaces.contains(of)) {
                    lock(&rolling).see(&deployment, at)?;
                }
            }
            Event::InitDone | Event::Delete(_) => {}
        }
    }
    Ok(())
}

fn lock(rolling: &Mutex<Rolling>) -> MutexGuard<'_, Rolling> {
    rolling.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STABLE: Duration = Duration::from_secs(1);

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(milliseconds).unwrap()
    }

    /// Sees `(name, template, complete, milliseconds)`.
    fn seen(all: &[(&str, &str, bool, i64)]) -> Rolling {
        let mut rolling = Rolling::new(STABLE);
        for (name, template, complete, milliseconds) in all {
            let key = ("shop".to_owned(), (*name).to_owned());
            rolling.look(key, (*template).to_owned(), *complete, at(*milliseconds));
        }
        rolling
    }

    fn ends(rolling: &Rolling, now: i64) -> Vec<(&str, i64)> {
        let done = rolling.done(at(now));
        done.into_iter().map(|(key, (_, end))| (key.1.as_str(), end.as_millisecond())).collect()
    }

    #[test]
    fn one_rolls_from_the_change_of_its_template_until_it_has_been_complete_for_long_enough() {
        let base = [("a", "1", true, 0), ("a", "2", false, 100), ("a", "2", false, 300)];
        let rolling = seen(&base);
        assert_eq!((rolling.most(), rolling.changes(), ends(&rolling, 9000)), (1, vec![1], vec![]), "not complete");
        let rolling = seen(&[&base[..], &[("a", "2", true, 500)]].concat());
        assert_eq!(ends(&rolling, 1499), vec![], "complete, and not for long enough");
        assert_eq!(ends(&rolling, 1500), vec![("a", 1500)]);
        let flaps = [("a", "2", true, 500), ("a", "2", false, 1400), ("a", "2", true, 2000)];
        assert_eq!(
            ends(&seen(&[&base[..], &flaps].concat()), 9000),
            vec![("a", 3000)],
            "it counts from the start again"
        );
        let later = [("a", "2", true, 500), ("a", "2", false, 1600)];
        assert_eq!(ends(&seen(&[&base[..], &later].concat()), 9000), vec![("a", 1500)], "it was over by then");
        let rolling = seen(&[("a", "1", true, 0), ("a", "1", false, 100), ("a", "1", true, 200)]);
        assert_eq!((rolling.most(), rolling.changes()), (0, vec![0]), "no change of a template");
    }

    #[test]
    fn those_count_together_whose_times_overlap() {
        let three = |begins: [i64; 3], complete: [i64; 3]| {
            let names = ["a", "b", "c"];
            let mut all: Vec<_> = names.map(|name| (name, "1", true, 0)).into();
            all.extend(std::iter::zip(names, begins).map(|(name, at)| (name, "2", false, at)));
            all.extend(std::iter::zip(names, complete).map(|(name, at)| (name, "2", true, at)));
            seen(&all).most()
        };
        assert_eq!(three([100, 200, 300], [400, 500, 600]), 3);
        assert_eq!(three([100, 200, 1400], [400, 500, 1600]), 2, "the first one is over at 1400");
        assert_eq!(three([100, 200, 1399], [400, 500, 1600]), 3);
        assert_eq!(three([100, 1400, 2800], [400, 1700, 3000]), 1);
    }

    #[test]
    fn a_second_change_during_a_rollout_makes_it_longer() {
        let rolling = seen(&[
            ("a", "1", true, 0),
            ("a", "2", false, 100),
            ("a", "2", true, 200),
            ("a", "3", false, 900),
            ("a", "3", true, 1000),
        ]);
        assert_eq!((rolling.most(), rolling.changes(), ends(&rolling, 9000)), (1, vec![2], vec![("a", 2000)]));
    }
}
