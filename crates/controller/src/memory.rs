//! Savings of work. Nothing here matters: after a restart it is found out again.

mod clearings;
mod collected;
mod conflicts;
mod kept;
mod lost;
mod plains;
mod refusals;
mod workloads;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use rekey_core::{policy::EngineCall, published::Published, rotation::Effect, store::Answer};

use tokio::time::Instant;

use self::{
    clearings::Clearings, collected::Collections, conflicts::Conflicts, kept::KeptValues, lost::LostWrites,
    plains::Plains, refusals::Refusals, workloads::WorkloadMemory,
};
pub use self::{
    collected::{Collected, Publication},
    workloads::MARKS,
};
use crate::{
    cluster::{ObjectName, Version},
    pool::Share,
    stores::{ROUND, SMALL},
};

/// See the [module documentation](self).
#[derive(Default)]
pub struct Memory {
    state: Mutex<Remembered>,
    /// What is known of workloads.
    pub workloads: WorkloadMemory,
    /// When versions were looked at last.
    pub collected: Collections,
    /// Since when nobody refers to a Secret.
    pub clearings: Clearings,
    /// Plain Secrets beside versions.
    pub plains: Plains,
    /// Earlier values.
    pub kept: KeptValues,
    /// Secrets that may hold something else than what is known of them.
    pub lost: LostWrites,
    /// Objects that have changed since what is known of them.
    pub conflicts: Conflicts,
}

#[derive(Default)]
struct Remembered {
    /// Secrets whose content is known to be as we wrote it.
    verified: HashMap<ObjectName, Verified>,
    /// Secrets of other tools that versions were made of.
    copied: HashMap<ObjectName, Copied>,
    /// What was last seen published by a Secret.
    published: HashMap<ObjectName, Arc<Published>>,
    /// What was tried to publish.
    attempted: HashMap<ObjectName, Arc<Published>>,
    /// When a Secret was seen to go.
    gone: HashMap<ObjectName, Instant>,
    /// Answers of engines that have not been published yet, by policy uid: asking again would make another one.
    issued: HashMap<String, Issued>,
    /// Last successful read by policy uid, and when the next one was planned.
    fetched: HashMap<String, Read>,
    /// How many bytes a round of a policy needs, by uid; not for those that need little.
    needs: HashMap<String, usize>,
    /// The last effect of a schedule.
    effects: HashMap<ObjectName, Tried>,
    /// Credentials that servers have refused.
    refusals: Refusals,
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

/// Which version of another tool's Secret holds the value of which revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The version that was read.
    pub version: Version,
    /// The revision that was made of it.
    pub revision: String,
}

struct Tried {
    effect: Effect,
    times: u32,
    /// Not again before this.
    next: DateTime<Utc>,
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
        self.lost.forget(secret);
        let mut state = self.state();
        state.verified.remove(secret);
        state.copied.remove(secret);
    }

    /// Whether the Secret of another tool is known to hold just this.
    #[must_use]
    pub fn is_copied(&self, secret: &ObjectName, copied: &Copied) -> bool {
        self.state().copied.get(secret) == Some(copied)
    }

    /// Remembers what was made of the Secret of another tool.
    pub fn set_copied(&self, secret: &ObjectName, copied: Copied) {
        self.state().copied.insert(secret.clone(), copied);
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

    /// What was tried to publish last, if nothing has told so far whether it is.
    #[must_use]
    pub fn attempted(&self, secret: &ObjectName) -> Option<Arc<Published>> {
        self.state().attempted.get(secret).cloned()
    }

    /// Before a write, whose answer may be lost.
    pub fn set_attempted(&self, secret: &ObjectName, published: Published) {
        self.state().attempted.insert(secret.clone(), Arc::new(published));
    }

    /// The write has succeeded.
    pub fn succeeded(&self, secret: &ObjectName) {
        let mut state = self.state();
        if let Some(published) = state.attempted.remove(secret) {
            state.published.insert(secret.clone(), published);
        }
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

    /// When the Secret was seen to go; `None`: it was not, or it is there.
    #[must_use]
    pub fn gone(&self, secret: &ObjectName) -> Option<Instant> {
        self.state().gone.get(secret).copied()
    }

    /// Remembers that a Secret has gone or come.
    pub fn set_gone(&self, secret: &ObjectName, at: Option<Instant>) {
        let mut state = self.state();
        match at {
            Some(at) => state.gone.insert(secret.clone(), at),
            None => state.gone.remove(secret),
        };
    }

    pub fn forget_policy(&self, uid: &str, secret: &ObjectName) {
        self.clearings.forget(secret);
        self.plains.forget(secret);
        let mut state = self.state();
        state.fetched.remove(uid);
        state.issued.remove(uid);
        state.needs.remove(uid);
        state.verified.remove(secret);
        state.published.remove(secret);
        state.attempted.remove(secret);
        state.gone.remove(secret);
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

    /// Why a server has refused this credential, while it is too early to try it again.
    #[must_use]
    pub fn refusal(&self, schedule: &ObjectName, credential: &str, now: DateTime<Utc>) -> Option<String> {
        self.state().refusals.get(schedule, credential, now)
    }

    /// What was refused is another credential by now.
    pub fn forget_refusal(&self, schedule: &ObjectName, credential: &str) {
        self.state().refusals.forget_one(schedule, credential);
    }

    /// Remembers that it was refused.
    pub fn set_refusal(&self, schedule: &ObjectName, credential: &str, text: &str, now: DateTime<Utc>) {
        self.state().refusals.set(schedule, credential, text, now);
    }

    fn state(&self) -> MutexGuard<'_, Remembered> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
