//! Signs of life: what [`health`](rekey_core::health) judges by, gathered from the watches, the workers and the Lease.
//!
//! A watch says nothing while nothing changes, and is opened again every few minutes all the same. So what is noted of
//! it is each answer of the API server, where answers pass: in the client for watches.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rekey_core::health::{Crew, Duty, Election, Fault, Moment, Vitals, Watch};
use tokio::time::Instant;

/// See the [module documentation](self).
pub struct Pulse {
    begin: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    duty: Duty,
    election: Option<Election>,
    /// By path of the API; with the number of the one that is there now.
    watches: HashMap<String, (u64, Watch)>,
    crews: Vec<Crew>,
    sequence: u64,
}

/// A watch that is running. It counts no longer when this is dropped.
pub struct Running {
    pulse: Arc<Pulse>,
    path: String,
    number: u64,
}

/// A worker at an object. It is free again when this is dropped.
pub struct Busy<'p> {
    pulse: &'p Pulse,
    crew: usize,
    worker: usize,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { begin: Instant::now(), state: Mutex::default() }
    }
}

impl Pulse {
    /// Whether this replica could do its work now.
    ///
    /// # Errors
    /// What keeps it from that.
    pub fn ready(&self) -> Result<(), Fault> {
        self.vitals().ready(self.now())
    }

    /// Whether this replica makes progress, or will as soon as others let it.
    ///
    /// # Errors
    /// Why it never will.
    pub fn live(&self) -> Result<(), Fault> {
        self.vitals().live(self.now())
    }

    /// What this replica is about from now on.
    pub fn duty(&self, duty: Duty) {
        self.state().duty = duty;
    }

    /// The Lease is being tried.
    pub fn tried(&self) {
        let now = self.now();
        let mut state = self.state();
        let answered = state.election.and_then(|election| election.answered);
        state.election = Some(Election { tried: now, answered });
    }

    /// The API server has answered an attempt to take or renew the Lease.
    pub fn answered_lease(&self) {
        let now = self.now();
        self.state().election = Some(Election { tried: now, answered: Some(now) });
    }

    /// The API server has let a list or a watch of this path start.
    pub fn answered(&self, path: &str) {
        let now = self.now();
        if let Some((_, watch)) = self.state().watches.get_mut(path) {
            watch.answered = now;
        }
    }

    /// A watch starts. `first`: nothing starts before its first list.
    pub(crate) fn watch(self: &Arc<Self>, path: &str, kind: &'static str, first: bool) -> Running {
        let watch = Watch { kind, first, listed: false, answered: self.now() };
        let mut state = self.state();
        state.sequence += 1;
        let number = state.sequence;
        state.watches.insert(path.to_owned(), (number, watch));
        drop(state);
        Running { pulse: Arc::clone(self), path: path.to_owned(), number }
    }

    /// So many workers of a kind start. Returns their number for [`Pulse::busy`].
    pub(crate) fn crew(&self, kind: &'static str, workers: usize) -> usize {
        let mut state = self.state();
        state.crews.push(Crew { kind, since: vec![None; workers] });
        state.crews.len() - 1
    }

    /// A worker of a crew starts with an object.
    pub(crate) fn busy(&self, crew: usize, worker: usize) -> Busy<'_> {
        self.set(crew, worker, Some(self.now()));
        Busy { pulse: self, crew, worker }
    }

    fn set(&self, crew: usize, worker: usize, since: Option<Moment>) {
        let mut state = self.state();
        if let Some(at) = state.crews.get_mut(crew).and_then(|crew| crew.since.get_mut(worker)) {
            *at = since;
        }
    }

    fn vitals(&self) -> Vitals {
        let state = self.state();
        Vitals {
            duty: state.duty,
            election: state.election,
            watches: state.watches.values().map(|(_, watch)| watch.clone()).collect(),
            crews: state.crews.clone(),
        }
    }

    fn now(&self) -> Moment {
        self.begin.elapsed()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// Its list is complete.
    pub(crate) fn listed(&self) {
        let mut state = self.pulse.state();
        if let Some((number, watch)) = state.watches.get_mut(&self.path)
            && *number == self.number
        {
            watch.listed = true;
        }
    }

    /// We have no right to it and can do without: nothing waits for it.
    pub(crate) fn refused(&self) {
        self.forget();
    }

    fn forget(&self) {
        let mut state = self.pulse.state();
        // The next watch of the same path may have started already.
        if state.watches.get(&self.path).is_some_and(|(number, _)| *number == self.number) {
            state.watches.remove(&self.path);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.forget();
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.pulse.set(self.crew, self.worker, None);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rekey_core::health::{QUIET, STUCK, UNANSWERED};

    use super::*;

    const PATH: &str = "/apis/rekey.dev/v1alpha1/secretpolicies";
    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_leader_is_ready_while_its_watches_are_answered() {
        let pulse = Arc::new(Pulse::default());
        pulse.duty(Duty::Leading);
        let running = pulse.watch(PATH, "SecretPolicy", true);
        assert_eq!(pulse.ready(), Err(Fault::Unlisted("SecretPolicy")));
        running.listed();
        assert_eq!(pulse.ready(), Ok(()));
        tokio::time::advance(QUIET).await;
        pulse.answered(PATH);
        pulse.answered("/api/v1/secrets"); // nobody's
        tokio::time::advance(QUIET).await;
        assert_eq!(pulse.ready(), Ok(()));
        tokio::time::advance(SECOND).await;
        assert_eq!(pulse.ready(), Err(Fault::Quiet("SecretPolicy")));
        assert_eq!(pulse.live(), Ok(()), "a restart would not bring the API server back");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_counts_until_it_ends_or_is_refused_and_no_longer() {
        let pulse = Arc::new(Pulse::default());
        pulse.duty(Duty::Leading);
        let own = pulse.watch(PATH, "SecretPolicy", true);
        own.listed();
        let path = "/api/v1/namespaces/shop/secrets";
        let before = pulse.watch(path, "Secret", false);
        let after = pulse.watch(path, "Secret", false);
        drop(before);
        tokio::time::advance(QUIET + SECOND).await;
        pulse.answered(PATH);
        assert_eq!(pulse.ready(), Err(Fault::Quiet("Secret")), "the end of an earlier watch is not that of the next");
        drop(after);
        assert_eq!(pulse.ready(), Ok(()));
        pulse.watch(path, "Secret", false).refused();
        tokio::time::advance(QUIET).await;
        assert_eq!(pulse.ready(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn workers_that_never_end_are_seen() {
        let pulse = Pulse::default();
        let crew = pulse.crew("SecretPolicy", 2);
        let (one, two) = (pulse.busy(crew, 0), pulse.busy(crew, 1));
        tokio::time::advance(STUCK + SECOND).await;
        assert_eq!(pulse.live(), Err(Fault::Stuck("SecretPolicy")));
        drop(one);
        assert_eq!(pulse.live(), Ok(()));
        drop(two);
    }

    #[tokio::test(start_paused = true)]
    async fn a_candidate_is_ready_while_it_is_answered() {
        let pulse = Pulse::default();
        pulse.duty(Duty::Waiting);
        pulse.tried();
        assert_eq!(pulse.ready(), Err(Fault::Unanswered));
        pulse.answered_lease();
        assert_eq!(pulse.ready(), Ok(()));
        tokio::time::advance(UNANSWERED + SECOND).await;
        pulse.tried();
        assert_eq!(pulse.ready(), Err(Fault::Unanswered), "trying is not enough");
        assert_eq!(pulse.live(), Ok(()));
    }
}
