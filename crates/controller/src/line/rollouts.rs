//! Rollouts of ours that are under way, over all policies, and the workloads that wait until one of them ends. Each round
//! of a workload says whether its rollout is under way; what is kept here spares looks at all the others.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rekey_core::{
    rollout::{Budget, Limits, Place, Rank, UnderWay},
    workload::WorkloadId,
};

use crate::metrics::Metrics;

/// See the [module documentation](self).
pub struct Rollouts {
    limits: Limits,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
}

/// How the rollout of a workload stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// It is under way.
    UnderWay,
    /// It waits until another one ends.
    Waits,
    /// Neither.
    Rests,
}

#[derive(Default)]
struct State {
    /// Namespaces of which every workload was looked at.
    surveyed: HashSet<String>,
    under_way: Workloads,
    waiting: BTreeMap<String, BTreeSet<Place>>,
    /// They are about to ask again: a place is kept for them.
    called: Workloads,
    /// The namespace that was called last: namespaces take turns.
    last: String,
}

/// By namespace, with their count.
#[derive(Default)]
struct Workloads {
    by_namespace: HashMap<String, HashSet<WorkloadId>>,
    count: usize,
}

impl Workloads {
    fn insert(&mut self, id: &WorkloadId) {
        let is_new = self.by_namespace.entry(id.namespace.clone()).or_default().insert(id.clone());
        self.count += usize::from(is_new);
    }

    fn remove(&mut self, id: &WorkloadId) {
        let Some(all) = self.by_namespace.get_mut(&id.namespace) else { return };
        self.count -= usize::from(all.remove(id));
        if all.is_empty() {
            self.by_namespace.remove(&id.namespace);
        }
    }

    fn contains(&self, id: &WorkloadId) -> bool {
        self.by_namespace.get(&id.namespace).is_some_and(|all| all.contains(id))
    }

    fn of(&self, namespace: &str) -> usize {
        self.by_namespace.get(namespace).map_or(0, HashSet::len)
    }

    fn forget(&mut self, namespace: &str) {
        self.count -= self.by_namespace.remove(namespace).map_or(0, |all| all.len());
    }
}

impl Rollouts {
    /// None is known yet.
    #[must_use]
    pub fn new(limits: Limits, metrics: Arc<Metrics>) -> Self {
        Self { limits, metrics, state: Mutex::default() }
    }

    /// Whether all workloads of the namespace were looked at before: who decides first looks at them.
    #[must_use]
    pub fn is_surveyed(&self, namespace: &str) -> bool {
        self.state().surveyed.contains(namespace)
    }

    /// They were.
    pub fn set_surveyed(&self, namespace: &str) {
        self.state().surveyed.insert(namespace.to_owned());
    }

    /// A rollout is to start, whatever the limits say.
    pub fn start(&self, workload: &WorkloadId) {
        self.change(|state| {
            state.leave(workload);
            state.called.remove(workload);
            state.under_way.insert(workload);
        });
    }

    /// The same within the limits; otherwise the workload waits, for what is returned.
    pub fn take(&self, place: &Place) -> Option<Budget> {
        self.change(|state| {
            state.leave(&place.id);
            state.called.remove(&place.id);
            if state.under_way.contains(&place.id) {
                return None;
            }
            let reached = self.limits.reached(state.under_way(&place.id.namespace));
            match reached {
                Some(_) => drop(state.waiting.entry(place.id.namespace.clone()).or_default().insert(place.clone())),
                None => state.under_way.insert(&place.id),
            }
            reached
        })
    }

    /// The workload was looked at. Returns those that are to ask again, since there is room for them.
    pub fn note(&self, workload: &WorkloadId, stand: Stand) -> Vec<WorkloadId> {
        self.change(|state| {
            state.called.remove(workload);
            match stand {
                Stand::UnderWay => {
                    state.leave(workload);
                    state.under_way.insert(workload);
                }
                Stand::Waits => state.under_way.remove(workload),
                Stand::Rests => {
                    state.leave(workload);
                    state.under_way.remove(workload);
                }
            }
            state.call(self.limits)
        })
    }

    /// Nothing of the namespace is seen any more. Returns those that are to ask again.
    pub fn forget(&self, namespace: &str) -> Vec<WorkloadId> {
        self.change(|state| {
            state.surveyed.remove(namespace);
            state.under_way.forget(namespace);
            state.called.forget(namespace);
            state.waiting.remove(namespace);
            state.call(self.limits)
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let changed = change(&mut state);
        let waiting = state.waiting.values().map(BTreeSet::len).sum::<usize>() + state.called.count;
        self.metrics.rollouts(state.under_way.count, waiting);
        changed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What is under way, or will be at once.
    fn under_way(&self, namespace: &str) -> UnderWay {
        UnderWay {
            namespace: self.under_way.of(namespace) + self.called.of(namespace),
            cluster: self.under_way.count + self.called.count,
        }
    }

    fn leave(&mut self, workload: &WorkloadId) {
        let Some(places) = self.waiting.get_mut(&workload.namespace) else { return };
        for rank in Rank::ALL {
            places.remove(&Place { rank, id: workload.clone() });
        }
        if places.is_empty() {
            self.waiting.remove(&workload.namespace);
        }
    }

    /// As many as there is room for, one of each namespace after the other.
    fn call(&mut self, limits: Limits) -> Vec<WorkloadId> {
        let mut called = Vec::new();
        while let Some(namespace) = self.next(limits) {
            let places = self.waiting.get_mut(&namespace);
            let Some(place) = places.and_then(BTreeSet::pop_first) else { break };
            self.leave(&place.id); // an empty line goes
            self.called.insert(&place.id);
            self.last = namespace;
            called.push(place.id);
        }
        called
    }

    /// The next namespace with somebody that may start.
    fn next(&self, limits: Limits) -> Option<String> {
        let has_room = |namespace: &&String| limits.reached(self.under_way(namespace)).is_none();
        let after = (Bound::Excluded(self.last.as_str()), Bound::Unbounded);
        let mut names = self.waiting.range::<str, _>(after).chain(self.waiting.iter()).map(|(name, _)| name);
        names.find(has_room).cloned()
    }
}

#[cfg(test)]
mod tests {
    use rekey_core::workload::Kind;

    use super::*;

    fn id(namespace: &str, name: &str) -> WorkloadId {
        WorkloadId { kind: Kind::Deployment, namespace: namespace.to_owned(), name: name.to_owned() }
    }

    fn place(namespace: &str, name: &str) -> Place {
        Place { rank: Rank::Usual, id: id(namespace, name) }
    }

    fn rollouts(namespace: usize, cluster: usize) -> Rollouts {
        Rollouts::new(Limits { namespace, cluster }, Arc::default())
    }

    #[test]
    fn who_ends_calls_as_many_as_there_is_room_for() {
        let rollouts = rollouts(2, 3);
        assert_eq!(rollouts.take(&place("a", "1")), None);
        assert_eq!(rollouts.take(&place("a", "1")), None, "it has its place already");
        assert_eq!(rollouts.take(&place("a", "2")), None);
        assert_eq!(rollouts.take(&place("a", "3")), Some(Budget::Namespace(2)));
        assert_eq!(rollouts.take(&place("b", "1")), None);
        assert_eq!(rollouts.take(&place("b", "2")), Some(Budget::Cluster(3)));
        assert_eq!(rollouts.note(&id("b", "1"), Stand::Rests), [id("b", "2")], "a has no room");
        assert_eq!(rollouts.take(&place("c", "1")), Some(Budget::Cluster(3)), "the place is kept for who was called");
        assert_eq!(rollouts.take(&place("b", "2")), None);
        assert_eq!(rollouts.note(&id("a", "1"), Stand::Rests), [id("c", "1")], "namespaces take turns");
        assert_eq!(rollouts.note(&id("c", "1"), Stand::Rests), [id("a", "3")], "it does not take its place");
        assert!(rollouts.note(&id("a", "3"), Stand::Waits).is_empty(), "the round of one that waits changes nothing");
    }

    #[test]
    fn nobody_is_called_twice_and_nobody_is_forgotten() {
        let rollouts = rollouts(1, 50);
        let names: Vec<String> = (0..200).map(|index| format!("{index:03}")).collect();
        let waiting = names.iter().filter(|name| rollouts.take(&place("shop", name)).is_some()).count();
        assert_eq!(waiting, 199);
        let mut next = vec![id("shop", "000")];
        let mut order = Vec::new();
        while let [at] = next.as_slice() {
            assert_eq!(rollouts.take(&Place { rank: Rank::Usual, id: at.clone() }), None);
            assert!(rollouts.note(at, Stand::UnderWay).is_empty(), "it is under way");
            order.push(at.name.clone());
            next = rollouts.note(at, Stand::Rests);
        }
        assert_eq!(order, names);
    }

    #[test]
    fn a_leak_starts_beyond_the_limits_and_counts() {
        let rollouts = rollouts(1, 50);
        rollouts.start(&id("shop", "a"));
        rollouts.start(&id("shop", "b"));
        assert_eq!(rollouts.take(&place("shop", "c")), Some(Budget::Namespace(1)));
        assert!(rollouts.note(&id("shop", "a"), Stand::Rests).is_empty());
        assert_eq!(rollouts.note(&id("shop", "b"), Stand::Rests), [id("shop", "c")]);
    }

    #[test]
    fn a_namespace_that_is_not_seen_any_more_gives_its_places_back() {
        let rollouts = rollouts(5, 1);
        rollouts.set_surveyed("a");
        assert_eq!(rollouts.take(&place("a", "1")), None);
        assert_eq!(rollouts.take(&place("a", "2")), Some(Budget::Cluster(1)));
        assert_eq!(rollouts.take(&place("b", "1")), Some(Budget::Cluster(1)));
        assert_eq!(rollouts.forget("a"), [id("b", "1")]);
        assert!(!rollouts.is_surveyed("a"));
    }
}
