//! Which namespaces are opened to the operator.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{task::AbortHandle, time::Instant};

use super::{extensions::Extensions, wide::Wide};
use crate::error::Right;

/// Lists that must be complete before a namespace counts as open. A kind that this cluster does not have counts as
/// listed when that is known.
const PER_NAMESPACE: usize = 9;
/// A binding has come or gone: the authorizer knows it within this time.
const HINT: Duration = Duration::from_secs(5);
/// Until then it is asked this often.
const EAGER: Duration = Duration::from_millis(500);

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
    /// Namespaces whose bindings have changed, and when.
    hints: Mutex<HashMap<String, (Hint, Instant)>>,
    /// What is watched in all namespaces at once.
    pub wide: Wide,
    /// Which kinds there are that not every cluster has.
    pub extensions: Extensions,
}

/// What has become of a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// It is there.
    Bound,
    /// It is gone.
    Unbound,
}

struct Entry {
    access: NamespaceAccess,
    /// Why it is closed, if it is not for want of [`Right::FIRST`].
    missing: Option<Right>,
    /// When it was opened or closed.
    since: Instant,
    checked: Instant,
    /// Whether the answer may be another one by now.
    doubted: bool,
    /// Whether a watch was refused there, and nobody has asked since which right is missing.
    refused: bool,
    /// Kinds whose first list is complete.
    listed: BTreeSet<&'static str>,
    /// Its own watches, by kind.
    watches: BTreeMap<&'static str, AbortHandle>,
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

    /// Whether to ask whether `namespace` is opened: it was not asked about yet, it was closed `recheck` ago, or there
    /// is reason to think that this has changed.
    #[must_use]
    pub fn is_due(&self, namespace: &str, recheck: Duration) -> bool {
        let hint = self.hint(namespace);
        let state = self.state();
        let Some(entry) = state.get(namespace) else { return true };
        let expected = match entry.access {
            NamespaceAccess::Closed => Hint::Bound,
            NamespaceAccess::Pending | NamespaceAccess::Open => Hint::Unbound,
        };
        let asked = entry.checked.elapsed();
        let old = entry.access == NamespaceAccess::Closed && asked >= recheck;
        old || entry.doubted || (hint == Some(expected) && asked >= EAGER)
    }

    /// A binding has come or gone.
    pub fn hinted(&self, namespace: &str, hint: Hint) {
        self.hints().insert(namespace.to_owned(), (hint, Instant::now()));
        self.wake();
    }

    fn hint(&self, namespace: &str) -> Option<Hint> {
        let hints = self.hints();
        hints.get(namespace).filter(|(_, at)| at.elapsed() < HINT).map(|(hint, _)| *hint)
    }

    /// When to look again: after `round`, or sooner while bindings change. Forgets the changes that the authorizer
    /// knows by now.
    #[must_use]
    pub fn pause(&self, round: Duration) -> Duration {
        let mut hints = self.hints();
        hints.retain(|_, (_, at)| at.elapsed() < HINT);
        if hints.is_empty() { round } else { EAGER }
    }

    /// The API server has said now that this right is missing there, or none. True when it is closed since now, or for
    /// another reason than before.
    pub fn answered(&self, namespace: &str, missing: Option<Right>) -> bool {
        let (closed, reason) = (missing.is_some(), missing.filter(|right| *right != Right::FIRST));
        let mut state = self.state();
        match state.get_mut(namespace) {
            Some(entry) if closed == (entry.access == NamespaceAccess::Closed) => {
                (entry.checked, entry.doubted) = (Instant::now(), false);
                let is_new = std::mem::take(&mut entry.refused) && closed;
                std::mem::replace(&mut entry.missing, reason) != reason || is_new
            }
            Some(_) | None => {
                let access = if closed { NamespaceAccess::Closed } else { NamespaceAccess::Pending };
                if let Some(old) = state.insert(namespace.to_owned(), Entry { missing: reason, ..Entry::new(access) }) {
                    old.end();
                    self.wide.forget(namespace);
                }
                closed
            }
        }
    }

    /// Whether one right alone does not tell whether it is opened: another one is missing there, or may be.
    #[must_use]
    pub fn is_in_question(&self, namespace: &str) -> bool {
        let state = self.state();
        state.get(namespace).is_some_and(|entry| entry.missing.is_some() || entry.doubted || entry.refused)
    }

    /// What is missing in a namespace that is opened in part, and so closed.
    #[must_use]
    pub fn missing(&self, namespace: &str) -> Option<Right> {
        self.state().get(namespace)?.missing
    }

    /// Namespaces that are not closed.
    #[must_use]
    pub fn followed(&self) -> BTreeSet<String> {
        let state = self.state();
        let followed = state.iter().filter(|(_, entry)| entry.access != NamespaceAccess::Closed);
        followed.map(|(namespace, _)| namespace.clone()).collect()
    }

    /// Whether it is one of them.
    #[must_use]
    pub fn is_followed(&self, namespace: &str) -> bool {
        self.state().get(namespace).is_some_and(|entry| entry.access != NamespaceAccess::Closed)
    }

    /// Whether it has a watch of its own for the kind.
    #[must_use]
    pub fn has_watch(&self, namespace: &str, kind: &str) -> bool {
        self.state().get(namespace).is_some_and(|entry| entry.watches.contains_key(kind))
    }

    /// The namespaces for which the watch of all answers alone. Where a kind has a watch of its own, that one answers:
    /// it says what is there and what has gone, while the list of all may be older, or may have passed the namespace
    /// already.
    #[must_use]
    pub fn covered(&self, kind: &str) -> BTreeSet<String> {
        let mut covered = self.wide.covered(kind);
        let state = self.state();
        covered.retain(|namespace| !state.get(namespace).is_some_and(|entry| entry.hears(kind)));
        covered
    }

    /// This watch is its own, and ends with it.
    pub fn follow(&self, namespace: &str, kind: &'static str, task: AbortHandle) {
        match self.state().get_mut(namespace) {
            Some(entry) => drop(entry.watches.insert(kind, task)),
            None => task.abort(),
        }
    }

    /// Ends its own watch of the kind, if it has been open for so long.
    pub fn unfollow(&self, namespace: &str, kind: &str, since: Duration) {
        if let Some(entry) = self.state().get_mut(namespace)
            && entry.access == NamespaceAccess::Open
            && entry.since.elapsed() >= since
            && let Some(task) = entry.watches.remove(kind)
        {
            task.abort();
        }
    }

    /// A call there was refused: it is asked about again, unless that was less than `since` ago.
    pub fn refused(&self, namespace: &str, since: Duration) {
        if let Some(entry) = self.state().get_mut(namespace)
            && entry.checked.elapsed() >= since
        {
            entry.doubted = true;
            self.wake.notify_one();
        }
    }

    /// A right that counts for all namespaces has gone: each is asked about again.
    pub fn doubt(&self) {
        self.state().values_mut().for_each(|entry| entry.doubted = true);
    }

    /// Forgets all but these, and returns which.
    pub fn retire(&self, wanted: &BTreeSet<String>) -> Vec<String> {
        let mut state = self.state();
        let gone: Vec<String> = state.keys().filter(|name| !wanted.contains(*name)).cloned().collect();
        for name in &gone {
            self.wide.forget(name);
            state.remove(name).into_iter().for_each(Entry::end);
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
            (entry.access, entry.since) = (NamespaceAccess::Open, Instant::now());
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
            // Asked again at once, unless it was asked just now: a refusal may pass.
            let closed = Entry { checked: entry.checked, refused: true, ..Entry::new(NamespaceAccess::Closed) };
            std::mem::replace(entry, closed).end();
        }
        self.wide.forget(namespace);
        self.wide.doubt();
        self.wake();
    }

    /// Takes it as opened.
    #[cfg(test)]
    pub fn set_open(&self, namespace: &str) {
        self.state().insert(namespace.to_owned(), Entry::new(NamespaceAccess::Open));
    }

    fn hints(&self) -> MutexGuard<'_, HashMap<String, (Hint, Instant)>> {
        self.hints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn new(access: NamespaceAccess) -> Self {
        let now = Instant::now();
        Self {
            access,
            missing: None,
            since: now,
            checked: now,
            doubted: false,
            refused: false,
            listed: BTreeSet::new(),
            watches: BTreeMap::new(),
        }
    }

    /// Whether a watch of its own runs for the kind. That of a kind which is not there has ended.
    fn hears(&self, kind: &str) -> bool {
        self.watches.get(kind).is_some_and(|task| !task.is_finished())
    }

    fn end(self) {
        self.watches.into_values().for_each(|task| task.abort());
    }
}

#[cfg(test)]
mod tests {
    use rekey_core::workload::Kind;

    use super::*;

    #[test]
    fn a_namespace_is_open_when_every_kind_of_consumer_is_known() {
        let namespaces = Namespaces::default();
        namespaces.answered("shop", None);
        let usual = [Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet, Kind::CronJob, Kind::Ingress];
        for kind in usual.into_iter().chain([Kind::ServiceAccount, Kind::Gateway]) {
            assert!(!namespaces.listed("shop", kind.as_str()));
        }
        assert!(!namespaces.listed("shop", "Secret"));
        assert_eq!(namespaces.access("shop"), NamespaceAccess::Pending, "a Rollout that is named may exist");
        assert!(namespaces.listed("shop", Kind::Rollout.as_str()));
        assert_eq!(namespaces.access("shop"), NamespaceAccess::Open);
        assert!(!namespaces.listed("shop", Kind::Rollout.as_str()), "it is reported once");
    }

    #[tokio::test(start_paused = true)]
    async fn what_bindings_have_told_is_soon_forgotten_also_where_no_namespace_is_asked_about() {
        let (namespaces, round) = (Namespaces::default(), Duration::from_secs(2));
        for number in 0..1000 {
            namespaces.hinted(&format!("other-{number}"), Hint::Bound);
        }
        assert_eq!(namespaces.pause(round), EAGER);
        tokio::time::advance(HINT).await;
        assert_eq!((namespaces.pause(round), namespaces.hints().len()), (round, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_namespace_is_asked_about_when_its_binding_changes_and_else_after_a_while() {
        let (namespaces, recheck) = (Namespaces::default(), Duration::from_secs(30));
        let is_due = || namespaces.is_due("shop", recheck);
        assert!(is_due(), "nobody has asked");
        namespaces.answered("shop", Some(Right::FIRST));
        assert!(!is_due());
        namespaces.hinted("shop", Hint::Unbound);
        tokio::time::advance(EAGER).await;
        assert!(!is_due(), "it is closed already");
        namespaces.hinted("shop", Hint::Bound);
        assert!(is_due());
        namespaces.answered("shop", Some(Right::FIRST));
        assert!(!is_due());
        tokio::time::advance(EAGER).await;
        assert!(is_due(), "the authorizer may know of it later");
        namespaces.answered("shop", Some(Right::FIRST));
        tokio::time::advance(HINT).await;
        assert!(!is_due(), "it was another binding");
        tokio::time::advance(recheck).await;
        assert!(is_due());
        namespaces.answered("shop", None);
        tokio::time::advance(recheck).await;
        assert!(!is_due(), "an open one is not asked about");
        namespaces.hinted("shop", Hint::Unbound);
        assert!(is_due());
        namespaces.answered("shop", None);
        assert!(!is_due());
        namespaces.doubt();
        assert!(is_due());
        assert!(namespaces.answered("shop", Some(Right::FIRST)), "now it is");
        assert!(!namespaces.is_followed("shop") && namespaces.followed().is_empty());
    }
}
