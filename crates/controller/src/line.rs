//! Which workload is restarted next: workloads that wait for other consumers of the same Secret, and decisions that
//! wait for one another. A workload whose rollout ends calls those that come next; the rest need not ask.

mod rollouts;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use rekey_core::{
    rollout::{Place, Rank},
    workload::WorkloadId,
};
use tokio::sync::OwnedMutexGuard;

pub use self::rollouts::{Rollouts, Stand};
use crate::{cluster::ObjectName, locks::Locks};

/// See the [module documentation](self). If it is lost, every workload is looked at again.
pub struct RestartLine {
    /// Those of all policies.
    pub rollouts: Rollouts,
    lines: Mutex<HashMap<ObjectName, Line>>,
    deciding: Locks,
}

/// Who waits for one Secret.
#[derive(Default)]
struct Line {
    waiting: BTreeSet<Place>,
    /// They are about to ask again.
    called: BTreeSet<WorkloadId>,
}

impl RestartLine {
    /// Nobody waits.
    #[must_use]
    pub fn new(rollouts: Rollouts) -> Self {
        Self { rollouts, lines: Mutex::default(), deciding: Locks::default() }
    }

    /// One restart decision at a time for each of these Secrets, so that those who restart for the same one keep to
    /// `rollout.concurrency`. Workloads without a common Secret do not wait for each other: a restart is a request to
    /// the API server, and hundreds in a namespace may be due at once.
    pub async fn decide(&self, secrets: &BTreeSet<ObjectName>) -> Vec<OwnedMutexGuard<()>> {
        self.deciding.hold(secrets).await
    }

    /// `workload` waits for its turn with `secret`. Say so before asking whose turn it is: a rollout may end in
    /// between.
    pub fn wait(&self, secret: &ObjectName, place: Place) {
        let mut lines = self.state();
        let line = lines.entry(secret.clone()).or_default();
        line.called.remove(&place.id);
        line.leave(&place.id);
        line.waiting.insert(place);
    }

    /// It waits no longer.
    pub fn leave(&self, secret: &ObjectName, workload: &WorkloadId) {
        self.change(secret, |line| line.leave(workload));
    }

    /// Calls the next ones, as many as are `allowed` to be on their way; the rest stay in line.
    pub fn call(&self, secret: &ObjectName, allowed: usize) -> Vec<WorkloadId> {
        self.change(secret, |line| {
            let free = allowed.saturating_sub(line.called.len());
            let next = std::iter::from_fn(|| line.waiting.pop_first().map(|place| place.id));
            let next: Vec<WorkloadId> = next.take(free).collect();
            line.called.extend(next.iter().cloned());
            next
        })
        .unwrap_or_default()
    }

    /// `workload` was looked at. The Secrets for which it had been called and does not wait any more: the next ones
    /// have to be called, whether it has taken its turn or not.
    pub fn answered(&self, workload: &WorkloadId) -> Vec<ObjectName> {
        let mut lines = self.state();
        let of = lines.iter_mut().filter_map(|(secret, line)| {
            (secret.namespace == workload.namespace && line.called.remove(workload)).then(|| secret.clone())
        });
        let secrets = of.collect();
        lines.retain(|_, line| !line.is_empty());
        secrets
    }

    fn change<T>(&self, secret: &ObjectName, change: impl FnOnce(&mut Line) -> T) -> Option<T> {
        let mut lines = self.state();
        let line = lines.get_mut(secret)?;
        let changed = change(line);
        if line.is_empty() {
            lines.remove(secret);
        }
        Some(changed)
    }

    fn state(&self) -> MutexGuard<'_, HashMap<ObjectName, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn leave(&mut self, workload: &WorkloadId) {
        for rank in Rank::ALL {
            self.waiting.remove(&Place { rank, id: workload.clone() });
        }
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.called.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rekey_core::{rollout::Limits, workload::Kind};

    use super::*;

    fn line() -> RestartLine {
        RestartLine::new(Rollouts::new(Limits { namespace: 10, cluster: 50 }, Arc::default()))
    }

    fn id(name: &str) -> WorkloadId {
        WorkloadId { kind: Kind::Deployment, namespace: "shop".to_owned(), name: name.to_owned() }
    }

    fn healthy(name: &str) -> Place {
        Place { rank: Rank::Usual, id: id(name) }
    }

    #[test]
    fn who_was_unhealthy_before_is_called_last() {
        let (turns, db) = (line(), ObjectName::new("shop", "db"));
        turns.wait(&db, Place { rank: Rank::Last, id: id("a") });
        turns.wait(&db, healthy("b"));
        turns.wait(&db, healthy("c"));
        assert_eq!(turns.call(&db, 2), [id("b"), id("c")]);
        turns.wait(&db, Place { rank: Rank::Last, id: id("b") });
        turns.wait(&db, healthy("a"));
        assert_eq!(turns.call(&db, 3), [id("a"), id("b")], "each has one place");
    }

    #[test]
    fn as_many_as_are_allowed_are_called_and_the_rest_stay_in_line() {
        let turns = line();
        let (db, cache) = (ObjectName::new("shop", "db"), ObjectName::new("shop", "cache"));
        for (secret, name) in [(&db, "c"), (&db, "b"), (&db, "a"), (&db, "d"), (&cache, "a")] {
            turns.wait(secret, healthy(name));
        }
        assert_eq!(turns.call(&db, 1), [id("a")]);
        assert!(turns.call(&db, 1).is_empty(), "it has not answered yet");
        assert_eq!(turns.call(&db, 2), [id("b")]);
        turns.leave(&db, &id("c"));
        assert_eq!(turns.answered(&id("a")), std::slice::from_ref(&db));
        turns.wait(&db, healthy("b"));
        assert!(turns.answered(&id("b")).is_empty(), "another was faster: that one calls it again");
        assert_eq!(turns.call(&db, 3), [id("b"), id("d")]);
        turns.answered(&id("b"));
        turns.answered(&id("d"));
        turns.leave(&cache, &id("a"));
        assert!(turns.state().is_empty());
    }

    /// 200 wait, one is restarted at a time: each is called once.
    #[test]
    fn nobody_is_called_without_need() {
        let turns = line();
        let db = ObjectName::new("shop", "db");
        (0..200).for_each(|index| turns.wait(&db, healthy(&format!("app-{index}"))));
        let mut calls = 0;
        while let [next] = turns.call(&db, 1).as_slice() {
            calls += 1;
            assert_eq!(turns.answered(next), std::slice::from_ref(&db));
        }
        assert_eq!(calls, 200);
    }
}
