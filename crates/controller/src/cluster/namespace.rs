//! Which namespaces are opened to the operator.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{task::AbortHandle, time::Instant};

/// Lists that must be complete before a namespace counts as open. A kind that this cluster does not have counts as
/// listed when that is known.
const PER_NAMESPACE: usize = 9;

/// Whether a namespace is opened to the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceAccess {
    /// It has not been asked about yet, or its first lists are under way.
    Pending,
    /// The operator has no rights there.
    Closed,
    /// Its Secrets and workloads are known.
    Open,
}

/// What is known of the namespaces that hold objects of ours, and the watches there.
#[derive(Default)]
pub struct Namespaces {
    state: Mutex<HashMap<String, Entry>>,
    wake: tokio::sync::Notify,
    /// Lists of our own kinds that are complete, by scope and kind.
    own: Mutex<BTreeSet<(Option<String>, &'static str)>>,
}

struct Entry {
    access: NamespaceAccess,
    checked: Instant,
    /// Kinds whose first list is complete.
    listed: BTreeSet<&'static str>,
    tasks: Vec<AbortHandle>,
}

impl Namespaces {
    /// How far `namespace` is.
    #[must_use]
    pub fn access(&self, namespace: &str) -> NamespaceAccess {
        self.state().get(namespace).map_or(NamespaceAccess::Pending, |entry| entry.access)
    }

    /// A new object came: look soon whether its namespace is watched.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits for the next [`Namespaces::wake`].
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Whether to ask whether `namespace` is opened: nobody has, or it was closed `recheck` ago.
    #[must_use]
    pub fn is_due(&self, namespace: &str, recheck: Duration) -> bool {
        let state = self.state();
        state
            .get(namespace)
            .is_none_or(|entry| entry.access == NamespaceAccess::Closed && entry.checked.elapsed() >= recheck)
    }

    /// The API server has said now whether it is opened.
    pub fn asked(&self, namespace: &str, access: NamespaceAccess) {
        let entry = Entry { access, checked: Instant::now(), listed: BTreeSet::new(), tasks: Vec::new() };
        self.state().insert(namespace.to_owned(), entry);
    }

    /// These watches are its own, and end with it.
    pub fn follow(&self, namespace: &str, tasks: Vec<AbortHandle>) {
        if let Some(entry) = self.state().get_mut(namespace) {
            entry.tasks = tasks;
        }
    }

    /// Forgets all but these, and returns which.
    pub fn retire(&self, wanted: &BTreeSet<String>) -> Vec<String> {
        let mut state = self.state();
        let gone: Vec<String> = state.keys().filter(|name| !wanted.contains(*name)).cloned().collect();
        for entry in gone.iter().filter_map(|name| state.remove(name)) {
            entry.tasks.into_iter().for_each(|task| task.abort());
        }
        gone
    }

    /// A list of a namespace is complete. True when it was the last one to be waited for.
    pub fn listed(&self, namespace: &str, kind: &'static str) -> bool {
        let mut state = self.state();
        let Some(entry) = state.get_mut(namespace) else {
            return false;
        };
        entry.listed.insert(kind); // a watch may fail and list again before the others have listed once
        let complete = entry.listed.len() == PER_NAMESPACE && entry.access == NamespaceAccess::Pending;
        if complete {
            entry.access = NamespaceAccess::Open;
        }
        complete
    }

    /// A list of one of our own kinds is complete.
    pub fn listed_own(&self, scope: Option<&str>, kind: &'static str) {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.insert((scope.map(str::to_owned), kind));
        drop(own);
        self.wake();
    }

    /// Whether all our own kinds have been listed: before, an object that is not known may exist all the same.
    #[must_use]
    pub fn own_known(&self, watches: usize) -> bool {
        // Nothing waits for the cluster-scoped kind: who gives the operator no right to it can do without.
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.iter().filter(|(_, kind)| *kind != "ClusterRemoteStore").count() >= watches
    }

    /// A right there was refused: it is not opened any more, and its watches end.
    pub fn close(&self, namespace: &str) {
        if let Some(entry) = self.state().get_mut(namespace) {
            entry.access = NamespaceAccess::Closed;
            entry.tasks.drain(..).for_each(|task| task.abort());
        }
        self.wake();
    }

    /// Takes it as opened.
    #[cfg(test)]
    pub fn set_open(&self, namespace: &str) {
        self.asked(namespace, NamespaceAccess::Open);
    }

    fn state(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use rekey_core::workload::Kind;

    use super::*;

    #[test]
    fn a_namespace_is_open_when_every_kind_of_consumer_is_known() {
        let namespaces = Namespaces::default();
        namespaces.asked("shop", NamespaceAccess::Pending);
        let usual = [Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet, Kind::CronJob, Kind::Ingress];
        for kind in usual.into_iter().chain([Kind::ServiceAccount, Kind::Gateway]) {
            assert!(!namespaces.listed("shop", kind.as_str()));
        }
        assert!(!namespaces.listed("shop", "Secret"));
        assert_eq!(namespaces.access("shop"), NamespaceAccess::Pending, "a Rollout that is named may exist");
        assert!(namespaces.listed("shop", Kind::Rollout.as_str()));
        assert_eq!(namespaces.access("shop"), NamespaceAccess::Open);
        assert!(!namespaces.listed("shop", Kind::Rollout.as_str()), "it is told once");
    }
}
