//! Kinds that one watch follows in all namespaces, where the operator may, and for which namespaces each answers.
//!
//! A watch answers for the namespaces that were wanted when its list started, and for those that were added while it
//! follows changes: what such a namespace held before, a watch of its own brings, which ends once both have met. Until
//! then that one counts: see [`Namespaces::covered`](super::Namespaces::covered).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{task::AbortHandle, time::Instant};

/// See the [module documentation](self).
#[derive(Default)]
pub struct Wide {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When the API server was asked what may be watched so.
    asked: Option<Instant>,
    watches: BTreeMap<&'static str, Watch>,
}

#[derive(Default)]
struct Watch {
    task: Option<AbortHandle>,
    /// The namespaces it answers for.
    covered: BTreeSet<String>,
    /// Since when its list is complete.
    following: Option<Instant>,
}

impl Wide {
    /// How long ago the API server was asked what may be watched so; `None`: not yet, or what it said is doubted.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.state().asked.map(|asked| asked.elapsed())
    }

    /// The API server has been asked now.
    pub fn asked(&self) {
        self.state().asked = Some(Instant::now());
    }

    /// A right was refused: ask again.
    pub fn doubt(&self) {
        self.state().asked = None;
    }

    /// Whether the kind is watched so.
    #[must_use]
    pub fn has(&self, kind: &str) -> bool {
        self.state().watches.contains_key(kind)
    }

    /// A watch of the kind starts, for these namespaces.
    pub fn start(&self, kind: &'static str, covered: BTreeSet<String>) {
        self.state().watches.insert(kind, Watch { covered, ..Watch::default() });
    }

    /// This task is the watch.
    pub fn follow(&self, kind: &'static str, task: AbortHandle) {
        match self.state().watches.get_mut(kind) {
            Some(watch) => watch.task = Some(task),
            None => task.abort(),
        }
    }

    /// The watch of the kind ends. Whether there was one.
    pub fn end(&self, kind: &str) -> bool {
        let watch = self.state().watches.remove(kind);
        watch.as_ref().and_then(|watch| watch.task.as_ref()).inspect(|task| task.abort());
        watch.is_some()
    }

    /// A list starts, which answers for these namespaces.
    pub fn lists(&self, kind: &str, covered: BTreeSet<String>) {
        if let Some(watch) = self.state().watches.get_mut(kind) {
            (watch.covered, watch.following) = (covered, None);
        }
    }

    /// The list is complete.
    pub fn listed(&self, kind: &str) {
        if let Some(watch) = self.state().watches.get_mut(kind) {
            watch.following = Some(Instant::now());
        }
    }

    /// The kind is not there any more; the watch goes on when it is.
    pub fn pauses(&self, kind: &str) {
        if let Some(watch) = self.state().watches.get_mut(kind) {
            watch.following = None;
        }
    }

    /// The namespaces that the watch answers for, whether or not they have watches of their own.
    #[must_use]
    pub fn covered(&self, kind: &str) -> BTreeSet<String> {
        self.state().watches.get(kind).map(|watch| watch.covered.clone()).unwrap_or_default()
    }

    /// Whether the watch answers for the namespace.
    #[must_use]
    pub fn covers(&self, kind: &str, namespace: &str) -> bool {
        self.state().watches.get(kind).is_some_and(|watch| watch.covered.contains(namespace))
    }

    /// Whether it does, and has followed changes for so long.
    #[must_use]
    pub fn has_met(&self, kind: &str, namespace: &str, since: Duration) -> bool {
        let state = self.state();
        let Some(watch) = state.watches.get(kind) else { return false };
        watch.covered.contains(namespace) && watch.following.is_some_and(|began| began.elapsed() >= since)
    }

    /// From now on a namespace is wanted, and followed from what a watch of its own brings.
    pub fn add(&self, kind: &str, namespace: &str) {
        if let Some(watch) = self.state().watches.get_mut(kind)
            && watch.following.is_some()
        {
            watch.covered.insert(namespace.to_owned());
        }
    }

    /// The namespace is not wanted any more.
    pub fn forget(&self, namespace: &str) {
        for watch in self.state().watches.values_mut() {
            watch.covered.remove(namespace);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_watch_answers_for_a_namespace_that_came_while_it_followed_and_not_while_it_listed() {
        let wide = Wide::default();
        wide.add("Secret", "a"); // there is no watch
        wide.start("Secret", ["a".to_owned()].into());
        wide.add("Secret", "b");
        assert!(wide.covers("Secret", "a") && !wide.covers("Secret", "b"), "its list may have passed b already");
        assert!(!wide.has_met("Secret", "a", Duration::ZERO), "it has reported nothing yet");
        wide.listed("Secret");
        wide.add("Secret", "c");
        tokio::time::advance(SECOND).await;
        assert!(wide.has_met("Secret", "a", SECOND) && wide.has_met("Secret", "c", SECOND));
        assert!(!wide.has_met("Secret", "b", SECOND));
        wide.lists("Secret", ["b".to_owned()].into());
        assert!(wide.covers("Secret", "b") && !wide.covers("Secret", "c"));
        wide.forget("b");
        assert_eq!(wide.covered("Secret"), BTreeSet::new());
        assert!(wide.end("Secret") && !wide.end("Secret") && !wide.has("Secret"));
    }
}
