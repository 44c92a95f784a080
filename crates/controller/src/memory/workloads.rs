//! What is known of workloads: what a look at their pods has shown, and which marker was written.

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Utc};
use rekey_api::SecretPolicyStatus;
use rekey_core::{
    policy,
    rollout::{self, Before, Input, Look, Settled, TemplateChange, Wait},
    workload::{Progress, Workload},
};

/// A marker that another tool removes is written once more, and then left: two that disagree would restart the workload
/// without end.
pub const MARKS: u32 = 2;

/// See the [module documentation](self).
#[derive(Default)]
pub struct WorkloadMemory(Mutex<Remembered>);

#[derive(Default)]
struct Remembered {
    /// The last marker written on a workload, by uid.
    marked: HashMap<String, Marked>,
    /// What a look at the pods has shown, by workload uid and Secret.
    looked: HashMap<(String, String), Looked>,
    /// When a workload was last seen on its way, by uid.
    moving: HashMap<String, DateTime<Utc>>,
    /// Workloads, by uid, whose references to a Secret another tool puts back.
    put_back: HashSet<(String, String)>,
    /// Since when a workload was seen incomplete, by uid.
    incomplete: HashMap<String, DateTime<Utc>>,
    /// What the restart of a workload waits for, by uid.
    waits: HashMap<String, Wait>,
    /// Changes of a workload that have no answer, or have met a conflict, by uid.
    asked: HashMap<String, Asked>,
    /// Since when a workload that goes back waits for other values to go back with it, by uid.
    sets: HashMap<String, DateTime<Utc>>,
}

struct Asked {
    /// The resourceVersion that it was decided on.
    version: String,
    /// Since when.
    since: DateTime<Utc>,
}

struct Looked {
    look: Look,
    /// What the workload was like.
    stand: Stand,
    /// Whether a look at this value has shown it settled: it stays so.
    settled: Settled,
}

struct Marked {
    change: TemplateChange,
    /// How often it was written, one after the other.
    times: u32,
    /// Whether it was reported that another tool removes it.
    told: bool,
    /// Whether the workload was healthy before the change that led to it. It stays so, however pods come and go.
    before: Before,
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

impl WorkloadMemory {
    /// The last look at the pods of a workload.
    #[must_use]
    pub fn look(&self, uid: &str, secret: &str) -> Option<Look> {
        self.state().looked.get(&(uid.to_owned(), secret.to_owned())).map(|looked| looked.look.clone())
    }

    /// Whether the workload was seen to run steadily on what `input` is about: by this process, or by what the `status` of its
    /// policy says.
    #[must_use]
    pub fn settled_on(&self, workload: &Workload, input: &Input, status: Option<&SecretPolicyStatus>) -> Settled {
        let before = status.map_or(Settled::NotYet, |at| policy::settled(at, &input.published, &workload.id));
        self.settled(&workload.uid, &input.secret, input.edge(), before)
    }

    /// Whether the workload was seen to run steadily on what is published since `edge`: by this process, or, where it
    /// has not restarted the workload, by the one `before` it.
    #[must_use]
    fn settled(&self, uid: &str, secret: &str, edge: Option<DateTime<Utc>>, before: Settled) -> Settled {
        let state = self.state();
        let looked = state.looked.get(&(uid.to_owned(), secret.to_owned())).filter(|looked| looked.look.edge == edge);
        match looked.map(|looked| looked.settled) {
            Some(Settled::Yes) => Settled::Yes,
            Some(Settled::NotYet) | None if state.marked.contains_key(uid) => Settled::NotYet,
            Some(Settled::NotYet) | None => before,
        }
    }

    /// The last look, if the workload has not changed since.
    #[must_use]
    pub fn still_shows(&self, workload: &Workload, secret: &str) -> Option<Look> {
        let state = self.state();
        let looked = state.looked.get(&(workload.uid.clone(), secret.to_owned()))?;
        (looked.stand == Stand::from(workload)).then(|| looked.look.clone())
    }

    /// Remembers a look. Returns whether it is news.
    pub fn set_look(&self, workload: &Workload, secret: &str, look: Look) -> bool {
        let key = (workload.uid.clone(), secret.to_owned());
        let mut state = self.state();
        let before = state.looked.remove(&key);
        let settled = before.as_ref().filter(|before| before.look.edge == look.edge).map(|before| before.settled);
        let settled = if settled == Some(Settled::Yes) { Settled::Yes } else { look.settled() };
        let news = !before.is_some_and(|before| before.look.says_what(&look));
        state.looked.insert(key, Looked { look, stand: Stand::from(workload), settled });
        news
    }

    /// When the workload was last seen on its way.
    #[must_use]
    pub fn moving(&self, uid: &str) -> Option<DateTime<Utc>> {
        self.state().moving.get(uid).copied()
    }

    /// Remembers how far the workload is.
    pub fn note_progress(&self, workload: &Workload, now: DateTime<Utc>) {
        let mut state = self.state();
        match workload.progress {
            Progress::Underway(_) | Progress::Stuck(_) => {
                state.incomplete.entry(workload.uid.clone()).or_insert(now);
            }
            Progress::Complete | Progress::Waiting(_) => drop(state.incomplete.remove(&workload.uid)),
        }
    }

    /// Whether the workload was healthy before what it consumes changed last.
    #[must_use]
    pub fn before(&self, workload: &Workload, input: &Input) -> Before {
        let state = self.state();
        let marked = state.marked.get(&workload.uid).filter(|last| last.change.is_in_place(workload));
        let at_restart = marked.map(|last| last.before).unwrap_or_default();
        at_restart.max(rollout::before(workload, input, state.incomplete.get(&workload.uid).copied()))
    }

    /// Remembers that the workload is on its way; `None`: it has arrived.
    pub fn set_moving(&self, uid: &str, now: Option<DateTime<Utc>>) {
        let mut state = self.state();
        match now {
            Some(now) => state.moving.insert(uid.to_owned(), now),
            None => state.moving.remove(uid),
        };
    }

    /// What the restart of the workload was last seen to wait for.
    #[must_use]
    pub fn waits(&self, uid: &str) -> Option<Wait> {
        self.state().waits.get(uid).cloned()
    }

    /// Remembers what it waits for. Returns whether it is news.
    pub fn set_waits(&self, uid: &str, wait: Option<&Wait>) -> bool {
        let mut state = self.state();
        let before = match wait {
            Some(wait) => state.waits.insert(uid.to_owned(), wait.clone()),
            None => state.waits.remove(uid),
        };
        before.as_ref() != wait
    }

    /// Since when a change of the workload has no answer, if it still is what that was decided on.
    #[must_use]
    pub fn asked(&self, workload: &Workload) -> Option<DateTime<Utc>> {
        self.state().open(workload).map(|asked| asked.since)
    }

    /// Remembers that a change of the workload is about to be requested: it may be made though no answer comes.
    pub fn ask(&self, workload: &Workload, now: DateTime<Utc>) {
        let since = self.asked(workload).unwrap_or(now);
        let asked = Asked { version: workload.resource_version.clone(), since };
        self.state().asked.insert(workload.uid.clone(), asked);
    }

    /// What was requested is made, or was refused.
    pub fn set_answered(&self, uid: &str) {
        self.state().asked.remove(uid);
    }

    /// How often this marker was written on the workload, one after the other.
    #[must_use]
    pub fn marks(&self, uid: &str, change: &TemplateChange) -> u32 {
        self.state().marked.get(uid).filter(|last| last.change == *change).map_or(0, |last| last.times)
    }

    /// Remembers that a marker was written.
    pub fn count_mark(&self, uid: &str, change: &TemplateChange, before: Before) {
        let times = self.marks(uid, change) + 1;
        self.state().marked.insert(uid.to_owned(), Marked { change: change.clone(), times, told: false, before });
    }

    /// Whether it has to be reported that another tool removes this marker. True once.
    #[must_use]
    pub fn tell_reverted(&self, uid: &str, change: &TemplateChange) -> bool {
        let mut state = self.state();
        let last = state.marked.get_mut(uid).filter(|last| last.change == *change);
        last.is_some_and(|last| !std::mem::replace(&mut last.told, true))
    }

    /// Since when a workload that goes back waits for other values to go back with it.
    pub fn waits_for_set(&self, uid: &str, now: DateTime<Utc>) -> DateTime<Utc> {
        *self.state().sets.entry(uid.to_owned()).or_insert(now)
    }

    /// It waits for none.
    pub fn set_alone(&self, uid: &str) {
        self.state().sets.remove(uid);
    }

    /// Forgets what pods have shown of these Secrets: the workload has just been brought onto their values, perhaps once more.
    pub fn forget_looks<'a>(&self, uid: &str, secrets: impl Iterator<Item = &'a String>) {
        let mut state = self.state();
        for secret in secrets {
            state.looked.remove(&(uid.to_owned(), secret.clone()));
        }
    }

    /// Whether the change that was written last on the workload, for the Secret too, is not written again, since another
    /// tool takes it back.
    #[must_use]
    pub fn is_reverted(&self, workload: &Workload, secret: &str) -> bool {
        let state = self.state();
        if state.put_back.contains(&(workload.uid.clone(), secret.to_owned())) {
            return true;
        }
        let Some(Marked { change, times, .. }) = state.marked.get(&workload.uid) else {
            return false;
        };
        let marked = change.marker.as_ref().and_then(|marker| marker.0.get(secret));
        *times >= MARKS && marked.is_some() && marked != workload.marker.0.get(secret)
    }

    /// Whether another tool puts the references of the workload to this Secret back.
    #[must_use]
    pub fn is_put_back(&self, uid: &str, secret: &str) -> bool {
        self.state().put_back.contains(&(uid.to_owned(), secret.to_owned()))
    }

    /// Remembers that it does.
    pub fn set_put_back(&self, uid: &str, secret: &str) {
        self.state().put_back.insert((uid.to_owned(), secret.to_owned()));
    }

    /// Forgets that another tool puts its references back: they are moved again.
    pub fn try_again(&self, uid: &str) {
        let mut state = self.state();
        if state.marked.get(uid).is_some_and(|last| !last.change.moves.is_empty()) {
            state.marked.remove(uid);
        }
        state.put_back.retain(|(of, _)| of != uid);
    }

    pub fn forget(&self, uid: &str) {
        let mut state = self.state();
        state.marked.remove(uid);
        state.moving.remove(uid);
        state.put_back.retain(|(of, _)| of != uid);
        state.sets.remove(uid);
        state.waits.remove(uid);
        state.asked.remove(uid);
        state.incomplete.remove(uid);
        state.looked.retain(|(of, _), _| of != uid);
    }

    fn state(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remembered {
    /// What was requested of the workload as it is known.
    fn open(&self, workload: &Workload) -> Option<&Asked> {
        self.asked.get(&workload.uid).filter(|asked| asked.version == workload.resource_version)
    }
}
