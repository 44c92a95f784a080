//! Savings of work. Nothing here matters: after a restart it is found out again.

mod refusals;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use rekey_core::{
    policy::{EngineCall, Look},
    published::Published,
    rotation::Effect,
    store::Answer,
    workload::{Marker, Progress, Workload},
};

use tokio::time::Instant;

use self::refusals::Refusals;
use crate::{
    cluster::{ObjectName, Version},
    pool::Share,
    stores::{ROUND, SMALL},
};

/// A marker that another tool removes is written once more, and then left: two that disagree would restart the workload
/// without end.
pub const MARKS: u32 = 2;

/// See the [module documentation](self).
#[derive(Default)]
pub struct Memory {
    state: Mutex<Remembered>,
}

#[derive(Default)]
struct Remembered {
    /// Secrets whose content is known to be as we wrote it.
    verified: HashMap<ObjectName, Verified>,
    /// What was last seen published by a Secret.
    published: HashMap<ObjectName, Arc<Published>>,
    /// Answers of engines that have not been published yet, by policy uid: asking again would make another one.
    issued: HashMap<String, Issued>,
    /// Last successful read by policy uid, and when the next one was planned.
    fetched: HashMap<String, Read>,
    /// How many bytes a round of a policy needs, by uid; not for those that need little.
    needs: HashMap<String, usize>,
    /// The last marker written on a workload, by uid.
    marked: HashMap<String, Marked>,
    /// The last effect of a schedule.
    effects: HashMap<ObjectName, Tried>,
    /// Servers that have refused the new credential of a rotation.
    refusals: Refusals,
    /// What a look at the pods has shown, by workload uid and Secret, and what the workload was like at that time.
    looked: HashMap<(String, String), (Look, Stand)>,
}

/// A Secret in a version whose content is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub version: Version,
    /// Whether it is immutable in it.
    pub immutable: bool,
    /// Its type.
    pub kind: Arc<str>,
}

struct Tried {
    effect: Effect,
    times: u32,
    /// Not again before this.
    next: DateTime<Utc>,
}

struct Marked {
    marker: Marker,
    /// How often it was written, one after the other.
    times: u32,
    /// Whether it was reported that another tool removes it.
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
#[derive(Debug)]
pub struct Issued {
    /// What was asked.
    pub call: EngineCall,
    pub at: DateTime<Utc>,
    /// What was answered.
    pub answer: Answer,
    /// What it takes of the budget.
    pub _share: Share,
}

/// A successful read of a policy's values.
#[derive(Clone, Copy, Debug)]
pub struct Read {
    pub at: DateTime<Utc>,
    /// The same as `at`, by a clock that is never set.
    pub moment: Instant,
    /// When the next one was planned.
    pub next: Option<DateTime<Utc>>,
}

impl Memory {
    /// What is known of the Secret, if its content in this version is known to be ours.
    #[must_use]
    pub fn verified(&self, secret: &ObjectName, version: &Version) -> Option<Verified> {
        self.state().verified.get(secret).filter(|known| known.version == *version).cloned()
    }

    /// Forgets a Secret that is gone.
    pub fn forget_verified(&self, secret: &ObjectName) {
        self.state().verified.remove(secret);
    }

    /// Remembers that the content of a version is ours.
    pub fn verify(&self, secret: &ObjectName, verified: Verified) {
        self.state().verified.insert(secret.clone(), verified);
    }

    /// What was last seen published, also after the Secret is gone.
    #[must_use]
    pub fn published(&self, secret: &ObjectName) -> Option<Arc<Published>> {
        self.state().published.get(secret).cloned()
    }

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

    pub fn set_fetched(&self, uid: &str, read: Read) {
        let mut state = self.state();
        state.fetched.insert(uid.to_owned(), read);
        state.issued.remove(uid); // it has been published
    }

    /// How many bytes the policy's round is likely to read: a quarter more than the last time.
    #[must_use]
    pub fn need(&self, uid: &str) -> usize {
        self.state().needs.get(uid).map_or(SMALL, |bytes| bytes.saturating_add(bytes / 4).min(ROUND))
    }

    /// Remembers how many bytes a round has read.
    pub fn set_need(&self, uid: &str, bytes: usize) {
        let mut state = self.state();
        if bytes.saturating_add(bytes / 4) > SMALL {
            state.needs.insert(uid.to_owned(), bytes);
        } else {
            state.needs.remove(uid);
        }
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

    pub fn forget_policy(&self, uid: &str, secret: &ObjectName) {
        let mut state = self.state();
        state.fetched.remove(uid);
        state.issued.remove(uid);
        state.needs.remove(uid);
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

    /// Whether it has to be reported that another tool removes this marker. True once.
    #[must_use]
    pub fn tell_reverted(&self, uid: &str, marker: &Marker) -> bool {
        let mut state = self.state();
        let last = state.marked.get_mut(uid).filter(|last| last.marker == *marker);
        last.is_some_and(|last| !std::mem::replace(&mut last.told, true))
    }

    /// Whether the marker that was written last on the workload, for the Secret too, is not written again, since
    /// another tool removes it.
    #[must_use]
    pub fn is_reverted(&self, uid: &str, secret: &str, marker: &Marker) -> bool {
        let state = self.state();
        let Some(Marked { marker: last, times, .. }) = state.marked.get(uid) else {
            return false;
        };
        *times >= MARKS && last.0.contains_key(secret) && last.0.get(secret) != marker.0.get(secret)
    }

    /// How long to wait before this effect is tried: not at all unless it is the one that was tried last. One that has
    /// to be done again has changed nothing that could be seen, so that its time doubles, from a second to a minute.
    #[must_use]
    pub fn pause(&self, schedule: &ObjectName, effect: &Effect, now: DateTime<Utc>) -> Duration {
        let state = self.state();
        let tried = state.effects.get(schedule).filter(|tried| tried.effect == *effect);
        tried.and_then(|tried| (tried.next - now).to_std().ok()).unwrap_or_default()
    }

    /// Remembers that an effect is tried.
    pub fn count_effect(&self, schedule: &ObjectName, effect: &Effect, now: DateTime<Utc>) {
        let mut state = self.state();
        let before = state.effects.get(schedule).filter(|tried| tried.effect == *effect).map_or(0, |tried| tried.times);
        let pause = TimeDelta::seconds((1 << before.min(6)).min(60));
        let tried = Tried { effect: effect.clone(), times: before.saturating_add(1), next: now + pause };
        state.effects.insert(schedule.clone(), tried);
    }

    /// Forgets the effects of a schedule: there is none to do.
    pub fn forget_effect(&self, schedule: &ObjectName) {
        self.state().effects.remove(schedule);
    }

    /// Forgets a schedule that is gone.
    pub fn forget_schedule(&self, schedule: &ObjectName) {
        let mut state = self.state();
        state.effects.remove(schedule);
        state.refusals.forget(schedule);
    }

    /// Why the new credential of this rotation was refused, while it is too early to try it again.
    #[must_use]
    pub fn refusal(&self, schedule: &ObjectName, rotation: &str, now: DateTime<Utc>) -> Option<String> {
        self.state().refusals.get(schedule, rotation, now)
    }

    /// Remembers that it was refused.
    pub fn set_refusal(&self, schedule: &ObjectName, rotation: &str, text: &str, now: DateTime<Utc>) {
        self.state().refusals.set(schedule, rotation, text, now);
    }

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

    #[test]
    fn an_effect_that_changes_nothing_is_tried_ever_more_seldom() {
        let memory = Memory::default();
        let mut now = DateTime::UNIX_EPOCH;
        let (drop, release) =
            (Effect::DropPending { name: "p".to_owned(), uid: "u".to_owned() }, Effect::RemoveFinalizer);
        let [schedule, other] = ["db", "other"].map(|name| ObjectName::new("shop", name));
        let mut pauses = Vec::new();
        for _ in 0..8 {
            assert_eq!(memory.pause(&schedule, &drop, now), Duration::ZERO);
            memory.count_effect(&schedule, &drop, now);
            let pause = memory.pause(&schedule, &drop, now);
            pauses.push(pause.as_secs());
            now += TimeDelta::from_std(pause).unwrap();
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        memory.count_effect(&schedule, &drop, now);
        assert_eq!(memory.pause(&schedule, &release, now), Duration::ZERO, "another effect");
        assert_eq!(memory.pause(&other, &drop, now), Duration::ZERO, "another schedule");
        memory.forget_effect(&schedule);
        assert_eq!(memory.pause(&schedule, &drop, now), Duration::ZERO);
    }
}
