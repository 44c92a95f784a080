//! Where templates and expressions are proven and rendered: on threads of their own. It may take seconds, and what runs so
//! long on a thread of the runtime keeps probes, the Lease and everybody else's objects from it.
//!
//! # Guarantees
//! - Namespaces take turns, and each has one thread at most: one tenant's flood delays its own policies only.
//! - A job runs for [`LIMIT`] at most. Then it is stopped, and whoever waits for it is told so.
//! - A job that nobody waits for any more is stopped, or never started.
//! - A job that panics is an error of whoever waits for it; the thread goes on.
//! - No thread keeps the process from ending.
//!
//! # Caveats
//! A thread cannot be ended from outside. A job that does not heed its [`Stop`] keeps its thread, and the turn of its
//! namespace, until it ends; whoever waits for it is told in time all the same, and the others have the other thread. If
//! all threads are lost like that, `/livez` fails as it does for workers that are stuck ([`Pulse::crew`]).

#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rekey_core::{SpecError, render::RenderError, stop::Stop};
use tokio::{sync::oneshot, time::timeout};

use crate::{error::Error, fair::Fair, pulse::Pulse};

/// With one, a tenant's job of [`LIMIT`] would be everybody's wait. More would take more from the runtime, which has as many
/// threads as there are cores, and more memory at once. On one core there are two as well: the system shares it out.
const THREADS: usize = 2;
/// Of one thread, in bytes; only what is used is taken. Nesting is bounded so that 2 MiB are enough.
const STACK: usize = 8 * 1024 * 1024;
/// How long a job may run. The work of a policy is bounded to a part of that; this holds where a bound does not, or where
/// the processor is busy with something else.
pub const LIMIT: Duration = Duration::from_secs(5);
/// How long a job waits for its turn. A round has two jobs at most, so that waiting and running leave half of what a
/// reconcile may take; whoever waited in vain comes again, and gives its worker to others until then.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// The name by which health and logs know the threads.
const NAME: &str = "rendering";

/// See the [module documentation](self).
pub struct Workshop {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// There is a job, or an end.
    changed: Condvar,
    pulse: Arc<Pulse>,
    crew: usize,
}

#[derive(Default)]
struct State {
    waiting: Fair<Job>,
    /// The namespaces whose jobs run.
    running: HashSet<String>,
    /// Threads that were started: none before there is a job.
    threads: usize,
    idle: usize,
    sequence: u64,
    closed: bool,
}

struct Job {
    number: u64,
    namespace: String,
    work: Box<dyn FnOnce() + Send>,
}

/// Whoever waits for a job. When this is dropped, nobody does.
struct Waiter<'w> {
    shared: &'w Shared,
    namespace: &'w str,
    number: u64,
    stop: Stop,
}

impl Workshop {
    /// One without threads; they are started when they are needed.
    #[must_use]
    pub fn new(pulse: &Arc<Pulse>) -> Self {
        let crew = pulse.crew(NAME, THREADS);
        let (state, changed) = (Mutex::default(), Condvar::new());
        Self { shared: Arc::new(Shared { state, changed, pulse: Arc::clone(pulse), crew }) }
    }

    /// Does `work` for an object of `namespace`, when it is its turn.
    ///
    /// # Errors
    /// `RenderError::Stopped` when it takes longer than [`LIMIT`], `Error::Crowded` when its turn does not come, and
    /// `Error::Panic`.
    pub async fn run<T: Send + 'static>(
        &self,
        namespace: &str,
        work: impl FnOnce(&Stop) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (start, has_started) = oneshot::channel();
        let (tell, told) = oneshot::channel();
        let stop = Stop::default();
        let theirs = stop.clone();
        let work = move || {
            let _ = start.send(());
            // The place of a panic is logged by the hook; what it says may hold a value.
            let result = catch_unwind(AssertUnwindSafe(|| work(&theirs)));
            let _ = tell.send(result.map_err(drop));
        };
        let number = Shared::add(&self.shared, namespace, Box::new(work)).map_err(Error::Thread)?;
        let waiter = Waiter { shared: &self.shared, namespace, number, stop };
        if timeout(PATIENCE, has_started).await.is_err() {
            return Err(Error::Crowded { namespace: namespace.to_owned() });
        }
        let result = timeout(LIMIT, told).await;
        drop(waiter);
        match result {
            Ok(Ok(Ok(result))) => Ok(result),
            Ok(Ok(Err(())) | Err(_)) => Err(Error::Panic),
            Err(_) => Err(SpecError::from(RenderError::Stopped).into()),
        }
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        drop(waiting);
        self.shared.changed.notify_all();
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.stop.stop();
        let removed = self.shared.state().waiting.remove(self.namespace, |job| job.number == self.number);
        drop(removed); // what it holds goes outside of the lock
    }
}

impl Shared {
    fn add(this: &Arc<Self>, namespace: &str, work: Box<dyn FnOnce() + Send>) -> io::Result<u64> {
        let mut state = this.state();
        if state.idle == 0 && state.threads < THREADS {
            let (shared, thread) = (Arc::clone(this), state.threads);
            let builder = std::thread::Builder::new().name(format!("{NAME}-{thread}")).stack_size(STACK);
            match builder.spawn(move || shared.work(thread)) {
                Ok(_) => state.threads += 1,
                Err(error) if state.threads == 0 => return Err(error),
                Err(error) => tracing::warn!("a second thread for rendering could not be started: {error}"),
            }
        }
        state.sequence += 1;
        let number = state.sequence;
        state.waiting.push(namespace, Job { number, namespace: namespace.to_owned(), work });
        drop(state);
        this.changed.notify_one();
        Ok(number)
    }

    /// What a thread does.
    fn work(&self, thread: usize) {
        while let Some(Job { namespace, work, .. }) = self.next() {
            let busy = self.pulse.busy(self.crew, thread);
            let start = Instant::now();
            work();
            drop(busy);
            self.state().running.remove(&namespace);
            let took = start.elapsed();
            if took > 2 * LIMIT {
                tracing::error!(namespace, seconds = took.as_secs(), "a rendering did not end when it was stopped");
            }
        }
    }

    /// The next job; `None` at the end.
    fn next(&self) -> Option<Job> {
        let mut state = self.state();
        loop {
            if state.closed {
                return None;
            }
            let State { waiting, running, .. } = &mut *state;
            if let Some(job) = waiting.pop(|namespace| !running.contains(namespace)) {
                state.running.insert(job.namespace.clone());
                return Some(job);
            }
            state.idle += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
