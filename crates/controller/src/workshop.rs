//! Where templates and expressions are proven and rendered: on threads of their own. It may take seconds, and what runs
//! so long on a thread of the runtime keeps probes, the Lease and all other objects from it.
//!
//! # Guarantees
//! - Namespaces take turns, and each has one thread at most: one tenant's flood delays its own policies only. One that
//!   waits in vain keeps its place ([`pool`](crate::pool)).
//! - A job runs for [`LIMIT`] at most. Then it is stopped, and its caller gets an error.
//! - A job that is not waited for any more is stopped, or never started.
//! - A job that panics is an error of its caller; the thread goes on.
//! - No thread keeps the process from ending.
//!
//! # Caveats
//! A thread cannot be ended from outside. A job that does not heed its [`Stop`] keeps its thread, and the turn of its
//! namespace, until it ends; its caller gets the error in time all the same, and the others have the other thread. If
//! all threads are lost like that, `/livez` fails as it does for workers that are stuck ([`Pulse::crew`]).

#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rekey_core::{SpecError, render::RenderError, stop::Stop};
use tokio::{sync::oneshot, time::timeout};

use crate::{
    error::Error,
    pool::{Pool, Rules},
    pulse::Pulse,
};

/// With one, a tenant's job of [`LIMIT`] would hold all others up. More would take more from the runtime, which has as
/// many threads as there are cores, and more memory at once. On one core there are two as well: the system shares it
/// out.
const THREADS: usize = 2;
/// Of one thread, in bytes; only what is used is taken. Nesting is bounded so that 2 MiB are enough.
const STACK: usize = 8 * 1024 * 1024;
/// How long a job may run. The work of a policy is bounded to a part of that; this holds where a bound does not, or
/// where the processor is busy with something else.
pub const LIMIT: Duration = Duration::from_secs(5);
/// How long a job waits for its turn. A round has two jobs at most, so that waiting and running leave half of what a
/// reconcile may take; an object that waited in vain comes again, and leaves its worker to others until then.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// The name by which health and logs know the threads.
const NAME: &str = "rendering";

/// See the [module documentation](self).
pub struct Workshop {
    turns: Arc<Pool>,
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
    /// Of those whose turn it is: no more than there are threads.
    jobs: VecDeque<Job>,
    /// Threads that were started: none before there is a job.
    threads: usize,
    idle: usize,
    closed: bool,
}

struct Job {
    namespace: String,
    work: Box<dyn FnOnce() + Send>,
}

/// The caller that waits for a job, until this is dropped.
struct Waiter(Stop);

impl Workshop {
    /// One without threads; they are started when they are needed.
    #[must_use]
    pub fn new(pulse: &Arc<Pulse>) -> Self {
        let crew = pulse.crew(NAME, THREADS);
        let (state, changed) = (Mutex::default(), Condvar::new());
        let (rest, hold) = (Duration::ZERO, Duration::ZERO);
        let rules = Rules { size: THREADS, share: 1, waiters: usize::MAX, patience: PATIENCE, rest, hold };
        Self { turns: Pool::new(rules), shared: Arc::new(Shared { state, changed, pulse: Arc::clone(pulse), crew }) }
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
        let crowded = || Error::Crowded { namespace: namespace.to_owned() };
        let turn = self.turns.take(namespace, 1, usize::MAX).await.ok_or_else(crowded)?;
        let (start, has_started) = oneshot::channel();
        let (tell, told) = oneshot::channel();
        let waiter = Waiter(Stop::default());
        let theirs = waiter.0.clone();
        let work = move || {
            if !theirs.is_stopped() {
                let _ = start.send(());
                // The place of a panic is logged by the hook; what it says may hold a value.
                let result = catch_unwind(AssertUnwindSafe(|| work(&theirs)));
                drop(turn);
                let _ = tell.send(result.map_err(drop));
            }
        };
        Shared::add(&self.shared, namespace, Box::new(work)).map_err(Error::Thread)?;
        // At once, unless a thread could not be started.
        if timeout(PATIENCE, has_started).await.is_err() {
            return Err(crowded());
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
        let jobs = std::mem::take(&mut state.jobs);
        drop(state);
        drop(jobs);
        self.shared.changed.notify_all();
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Shared {
    fn add(this: &Arc<Self>, namespace: &str, work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
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
        state.jobs.push_back(Job { namespace: namespace.to_owned(), work });
        drop(state);
        this.changed.notify_one();
        Ok(())
    }

    /// What a thread does.
    fn work(&self, thread: usize) {
        while let Some(Job { namespace, work }) = self.next() {
            let busy = self.pulse.busy(self.crew, thread);
            let start = Instant::now();
            work();
            drop(busy);
            let took = start.elapsed();
            if took > 2 * LIMIT {
                tracing::error!(namespace, seconds = took.as_secs(), "a rendering did not end when Rekey stopped it");
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
            if let Some(job) = state.jobs.pop_front() {
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
