//! Savings of work. Nothing here matters: after a restart it is found out again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Utc};
use rekey_core::{
    policy::{EngineCall, Look},
    published::Published,
    store::Answer,
    workload::{Marker, Progress, Workload},
};

use tokio::time::Instant;

use crate::{rows::Version, table::ObjectName};

/// A marker that is taken off is written once more, and then left: two that disagree would restart it without end.
pub const MARKS: u32 = 2;

/// See the [module documentation](self).
#[derive(Default)]
pub struct Memory {
    state: Mutex<Remembered>,
}

#[derive(Default)]
struct Remembered {
    /// Secrets whose content is known to be as we wrote it, in this version.
    verified: HashMap<ObjectName, (Version, bool)>,
    /// What was last seen published by a Secret.
    published: HashMap<ObjectName, Arc<Published>>,
    /// Answers of engines that have not been published yet, by policy uid: asking again would make another one.
    issued: HashMap<String, Issued>,
    /// Last successful read by policy uid, and when the next one was planned.
    fetched: HashMap<String, Read>,
    /// The last marker written on a workload, by uid.
    marked: HashMap<String, Marked>,
    /// What a look at the pods has shown, by workload uid and Secret, and what the workload was like at that time.
    looked: HashMap<(String, String), (Look, Stand)>,
}

struct Marked {
    marker: Marker,
    /// How often it was written, one after the other.
    times: u32,
    /// Whether it was told that somebody takes it off.
    told: bool,
}

/// What a look at the pods of a workload may depend on: while it stays, no pod has been replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stand {
    generation: i64,
    progress: Progress,
}

impl From<&Workload> for Stand {
    fn from(workload: &Workload) -> Self {
        Self { generation: workload.generation, progress: workload.progress.clone() }
    }
}

/// An answer of an engine that waits to be published.
#[derive(Clone, Debug)]
pub struct Issued {
    /// What was asked.
    pub call: EngineCall,
    /// When.
    pub at: DateTime<Utc>,
    /// What was answered.
    pub answer: Answer,
}

/// A successful read of a policy's values.
#[derive(Clone, Copy, Debug)]
pub struct Read {
    /// When.
    pub at: DateTime<Utc>,
    /// The same, by a clock that is never set.
    pub moment: Instant,
    /// When the next one was planned.
    pub next: Option<DateTime<Utc>>,
}

impl Memory {
    /// Whether the Secret is immutable, if its content in this version is known to be ours.
    #[must_use]
    pub fn verified(&self, secret: &ObjectName, version: &Version) -> Option<bool> {
        let state = self.state();
        let (known, immutable) = state.verified.get(secret)?;
        (known == version).then_some(*immutable)
    }

    /// Remembers that the content of this version is ours.
    pub fn verify(&self, secret: &ObjectName, version: &Version, immutable: bool) {
        self.state().verified.insert(secret.clone(), (version.clone(), immutable));
    }

    /// What was last seen published, also after the Secret is gone.
    #[must_use]
    pub fn published(&self, secret: &ObjectName) -> Option<Arc<Published>> {
        self.state().published.get(secret).cloned()
    }

    /// Remembers what is published.
    pub fn set_published(&self, secret: &ObjectName, published: &Arc<Published>) {
        let mut state = self.state();
        if !state.published.get(secret).is_some_and(|known| Arc::ptr_eq(known, published)) {
            state.published.insert(secret.clone(), Arc::clone(published));
        }
    }

    /// The answer to this call that has not been published yet, if it is good for some time still.
    #[must_use]
    pub fn issued(&self, uid: &str, call: &EngineCall, now: DateTime<Utc>) -> Option<Answer> {
        let state = self.state();
        let issued = state.issued.get(uid).filter(|issued| issued.call == *call)?;
        let age = (now - issued.at).to_std().unwrap_or_default();
        let is_good = issued.answer.lifetime.is_none_or(|lifetime| age < lifetime / 2);
        is_good.then(|| issued.answer.clone())
    }

    /// Remembers an answer until it is published.
    pub fn set_issued(&self, uid: &str, issued: Issued) {
        self.state().issued.insert(uid.to_owned(), issued);
    }

    /// When the policy's values were last read.
    #[must_use]
    pub fn fetched(&self, uid: &str) -> Option<Read> {
        self.state().fetched.get(uid).copied()
    }

    /// Remembers a read.
    pub fn set_fetched(&self, uid: &str, read: Read) {
        let mut state = self.state();
        state.fetched.insert(uid.to_owned(), read);
        state.issued.remove(uid); // it has been published
    }

    /// The last look at the pods of a workload.
    #[must_use]
    pub fn look(&self, uid: &str, secret: &str) -> Option<Look> {
        self.state().looked.get(&(uid.to_owned(), secret.to_owned())).map(|(look, _)| *look)
    }

    /// Whether the last look has shown this, and the workload has not changed since.
    #[must_use]
    pub fn still_shows(&self, workload: &Workload, secret: &str, look: Look) -> bool {
        let key = (workload.uid.clone(), secret.to_owned());
        self.state().looked.get(&key) == Some(&(look, Stand::from(workload)))
    }

    /// Remembers a look. Returns whether it is news.
    pub fn set_look(&self, workload: &Workload, secret: &str, look: Look) -> bool {
        let key = (workload.uid.clone(), secret.to_owned());
        let before = self.state().looked.insert(key, (look, Stand::from(workload)));
        before.map(|(look, _)| look) != Some(look)
    }

    /// Forgets a policy.
    pub fn forget_policy(&self, uid: &str, secret: &ObjectName) {
        let mut state = self.state();
        state.fetched.remove(uid);
        state.issued.remove(uid);
        state.verified.remove(secret);
        state.published.remove(secret);
    }

    /// How often this marker was written on the workload, one after the other.
    #[must_use]
    pub fn marks(&self, uid: &str, marker: &Marker) -> u32 {
        self.state().marked.get(uid).filter(|last| last.marker == *marker).map_or(0, |last| last.times)
    }

    /// Remembers that a marker was written.
    pub fn count_mark(&self, uid: &str, marker: &Marker) {
        let times = self.marks(uid, marker) + 1;
        self.state().marked.insert(uid.to_owned(), Marked { marker: marker.clone(), times, told: false });
    }

    /// Whether it is still to be told that somebody takes this marker off. True once.
    #[must_use]
    pub fn tell_reverted(&self, uid: &str, marker: &Marker) -> bool {
        let mut state = self.state();
        let last = state.marked.get_mut(uid).filter(|last| last.marker == *marker);
        last.is_some_and(|last| !std::mem::replace(&mut last.told, true))
    }

    /// Whether the marker that was written last on the workload, for the Secret too, was taken off for good: it is not
    /// written again.
    #[must_use]
    pub fn is_reverted(&self, uid: &str, secret: &str, marker: &Marker) -> bool {
        let state = self.state();
        let Some(Marked { marker: last, times, .. }) = state.marked.get(uid) else {
            return false;
        };
        *times >= MARKS && last.0.contains_key(secret) && last.0.get(secret) != marker.0.get(secret)
    }

    /// Forgets a workload.
    pub fn forget_workload(&self, uid: &str) {
        self.state().marked.remove(uid);
        self.state().looked.retain(|(of, _), _| of != uid);
    }

    fn state(&self) -> MutexGuard<'_, Remembered> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::Deployment;
    use rekey_core::workload::Project as _;

    use super::*;

    #[test]
    fn a_look_holds_while_the_workload_stays_as_it_was() {
        let before = Deployment::default().project();
        let memory = Memory::default();
        let look = Look { changed: None, current: false };
        assert!(memory.set_look(&before, "db", look) && !memory.set_look(&before, "db", look));
        assert!(memory.still_shows(&before, "db", look));
        assert!(!memory.still_shows(&before, "cache", look));
        assert!(!memory.still_shows(&before, "db", Look { changed: Some(DateTime::UNIX_EPOCH), ..look }));
        let restarted = Workload { generation: 2, ..before.clone() };
        assert!(!memory.still_shows(&restarted, "db", look), "by hand");
        let replacing = Workload { progress: Progress::Underway("0 of 1".to_owned()), ..before };
        assert!(!memory.still_shows(&replacing, "db", look), "pods come and go");
    }

    #[test]
    fn a_marker_that_is_taken_off_is_told_once() {
        let memory = Memory::default();
        let marker = |digest: &str| Marker::parse(Some(&format!("db={digest}")));
        assert!(!memory.tell_reverted("u", &marker("a")), "it was not written");
        memory.count_mark("u", &marker("a"));
        memory.count_mark("u", &marker("a"));
        assert!(memory.tell_reverted("u", &marker("a")));
        assert!(!memory.tell_reverted("u", &marker("a")));
        memory.count_mark("u", &marker("b"));
        assert!(memory.tell_reverted("u", &marker("b")), "another marker is another matter");
    }
}
