//! What is the same for every kind: workers that take keys, guard against malformed objects, panics and calls that
//! never end, and turn failures into conditions, Events, metrics and waiting times.

use std::{fmt::Display, future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt as _;
use rekey_api::condition::Class;
use rekey_core::health::RECONCILE;
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use super::{
    Key, Queue,
    failures::{Failures, Word},
};
use crate::{error::Error, metrics::Metrics, pulse::Pulse};

/// A refusal that could not be written into the status is retried after this time: nothing else would bring it up.
const UNTOLD: Duration = Duration::from_secs(30);

/// When to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// When something changes.
    Change,
    /// At once: there is a next step.
    Now,
    /// After this time, or when something changes.
    After(Duration),
}

impl Next {
    /// The same, after this time at the latest.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        match self {
            Self::Change => Self::After(limit),
            Self::Now => Self::Now,
            Self::After(time) => Self::After(time.min(limit)),
        }
    }
}

/// A kind of key and what is done with it.
pub trait Reconcile: Send + Sync + 'static {
    type Key: Key + Display + Sync;

    /// The kind, for logs and metrics.
    const KIND: &'static str;

    fn queue(&self) -> &Queue<Self::Key>;

    /// One round: observe, plan, apply, settle.
    fn ensure(&self, key: &Self::Key) -> impl Future<Output = Result<Next, Error>> + Send;

    /// Reports a failure to the user.
    fn failed(&self, key: &Self::Key, error: &Error) -> impl Future<Output = Result<(), Error>> + Send;
}

/// What workers are counted and watched by.
#[derive(Clone)]
pub struct Crew {
    /// Workers of one kind.
    pub size: usize,
    /// Signs of life.
    pub pulse: Arc<Pulse>,
    /// Rounds are counted.
    pub metrics: Arc<Metrics>,
}

/// Starts the workers of one kind.
pub fn workers<R: Reconcile>(reconciler: R, crew: &Crew) -> Vec<JoinHandle<()>> {
    let (reconciler, failures) = (Arc::new(reconciler), Arc::new(Failures::default()));
    let number = crew.pulse.crew(R::KIND, crew.size);
    (0..crew.size)
        .map(|worker| {
            let (reconciler, failures, crew) = (Arc::clone(&reconciler), Arc::clone(&failures), crew.clone());
            tokio::spawn(async move {
                loop {
                    let key = reconciler.queue().next().await;
                    let busy = crew.pulse.busy(number, worker);
                    let delay = round(&*reconciler, &key, &failures, &crew.metrics).await;
                    drop(busy);
                    reconciler.queue().done(&key, delay);
                    // Rounds that wait for nothing give their thread back now and then: to timers, watches, the Lease.
                    tokio::task::consume_budget().await;
                }
            })
        })
        .collect()
}

async fn round<R: Reconcile>(
    reconciler: &R,
    key: &R::Key,
    failures: &Failures<R::Key>,
    metrics: &Metrics,
) -> Option<Duration> {
    let span = tracing::info_span!("reconcile", kind = R::KIND, object = %key);
    let started = tokio::time::Instant::now();
    let work = tokio::time::timeout(RECONCILE, reconciler.ensure(key)).instrument(span.clone());
    let result = match AssertUnwindSafe(work).catch_unwind().await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(Error::Deadline(RECONCILE)),
        Err(_) => Err(Error::Panic),
    };
    let seconds = started.elapsed().as_secs_f64();
    match result {
        Ok(next) => {
            failures.clear(key);
            metrics.reconciled(R::KIND, "ok", seconds);
            match next {
                Next::Change => None,
                Next::Now => Some(Duration::ZERO),
                Next::After(delay) => Some(delay),
            }
        }
        Err(error) => {
            metrics.reconciled(R::KIND, error.reason().as_str(), seconds);
            let count = failures.count(key);
            let delay = error.delay(count);
            let place = Word::about(&error, count);
            let told = report(reconciler, key, &error, delay, place).instrument(span).await;
            if told { delay } else { delay.or(Some(UNTOLD)) }
        }
    }
}

/// False when the failure could not be reported.
async fn report<R: Reconcile>(
    reconciler: &R,
    key: &R::Key,
    error: &Error,
    delay: Option<Duration>,
    word: Word,
) -> bool {
    let (reason, retry) = (error.reason(), delay.map(|delay| delay.as_secs_f64()));
    match error.class() {
        Class::Bug => tracing::error!(%reason, retry, "{error}"),
        Class::Outcome | Class::Spec | Class::Data | Class::Denied | Class::Transient if word == Word::Status => {
            tracing::warn!(%reason, retry, "{error}");
        }
        Class::Conflict | Class::Outcome | Class::Spec | Class::Data | Class::Denied | Class::Transient => {
            tracing::debug!(%reason, retry, "{error}");
        }
    }
    if word == Word::Status
        && let Err(second) = reconciler.failed(key, error).await
    {
        tracing::warn!("the status could not be written: {second}");
        return false;
    }
    true
}
