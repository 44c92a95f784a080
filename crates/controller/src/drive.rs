//! What is the same for every kind: workers that take keys, guard against malformed objects, panics and calls that
//! never end, and turn failures into conditions, Events, metrics and waiting times.

use std::{
    collections::HashMap,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::FutureExt as _;
use rekey_core::health::RECONCILE;
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use crate::{
    context::Context,
    error::{Class, Error},
    queue::{Key, Queue},
};

/// A refusal that could not be written into the status is tried again after this time: nothing else would bring it up.
const UNTOLD: Duration = Duration::from_secs(30);

/// What passes by itself, a crowd at a store for example, and has not for so many attempts in a row, is reported like any
/// other failure: with the pauses between them that is about a minute.
const LASTING: u32 = 15;

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

/// A kind of key and what is done with it.
pub trait Reconcile: Send + Sync + 'static {
    /// The key.
    type Key: Key + std::fmt::Display + Sync;

    /// The kind, for logs and metrics.
    const KIND: &'static str;

    /// The queue.
    fn queue(ctx: &Context) -> &Queue<Self::Key>;

    /// One round: observe, plan, apply, settle.
    fn ensure(ctx: &Context, key: &Self::Key) -> impl Future<Output = Result<Next, Error>> + Send;

    /// Tells the user of a failure.
    fn failed(ctx: &Context, key: &Self::Key, error: &Error) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Starts the workers of one kind.
pub fn workers<R: Reconcile>(ctx: &Arc<Context>) -> Vec<JoinHandle<()>> {
    let failures = Arc::new(Failures(Mutex::new(HashMap::new())));
    let crew = ctx.pulse.crew(R::KIND, ctx.settings.concurrency);
    (0..ctx.settings.concurrency)
        .map(|worker| {
            let (ctx, failures) = (Arc::clone(ctx), Arc::clone(&failures));
            tokio::spawn(async move {
                loop {
                    let key = R::queue(&ctx).next().await;
                    let busy = ctx.pulse.busy(crew, worker);
                    let delay = round::<R>(&ctx, &key, &failures).await;
                    drop(busy);
                    R::queue(&ctx).done(&key, delay);
                    // Rounds that wait for nothing give their thread back now and then: to timers, watches, the Lease.
                    tokio::task::consume_budget().await;
                }
            })
        })
        .collect()
}

struct Failures<K>(Mutex<HashMap<K, u32>>);

impl<K: Key> Failures<K> {
    fn count(&self, key: &K) -> u32 {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(key.clone()).or_default();
        *count = count.saturating_add(1);
        *count
    }

    fn clear(&self, key: &K) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

async fn round<R: Reconcile>(ctx: &Context, key: &R::Key, failures: &Failures<R::Key>) -> Option<Duration> {
    let span = tracing::info_span!("reconcile", kind = R::KIND, object = %key);
    let started = tokio::time::Instant::now();
    let work = tokio::time::timeout(RECONCILE, R::ensure(ctx, key)).instrument(span.clone());
    let result = match AssertUnwindSafe(work).catch_unwind().await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(Error::Deadline(RECONCILE)),
        Err(_) => Err(Error::Panic),
    };
    let seconds = started.elapsed().as_secs_f64();
    match result {
        Ok(next) => {
            failures.clear(key);
            ctx.metrics.reconciled(R::KIND, "ok", seconds);
            match next {
                Next::Change => None,
                Next::Now => Some(Duration::ZERO),
                Next::After(delay) => Some(delay),
            }
        }
        Err(error) => {
            ctx.metrics.reconciled(R::KIND, error.reason().as_str(), seconds);
            let count = failures.count(key);
            let delay = error.delay(count);
            let place = Word::about(&error, count);
            let told = report::<R>(ctx, key, &error, delay, place).instrument(span).await;
            if told { delay } else { delay.or(Some(UNTOLD)) }
        }
    }
}

/// Where a failure is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// In the log, at debug: it passes by itself.
    Log,
    /// In status and Event, too.
    Status,
}

impl Word {
    /// About a failure that came so often in a row.
    fn about(error: &Error, count: u32) -> Self {
        if error.is_quiet() && count < LASTING { Self::Log } else { Self::Status }
    }
}

/// False when the user could not be told.
async fn report<R: Reconcile>(ctx: &Context, key: &R::Key, error: &Error, delay: Option<Duration>, word: Word) -> bool {
    let (reason, retry) = (error.reason(), delay.map(|delay| delay.as_secs_f64()));
    match error.class() {
        Class::Bug => tracing::error!(%reason, retry, "{error}"),
        Class::Spec | Class::Data | Class::Denied | Class::Transient if word == Word::Status => {
            tracing::warn!(%reason, retry, "{error}");
        }
        Class::Conflict | Class::Spec | Class::Data | Class::Denied | Class::Transient => {
            tracing::debug!(%reason, retry, "{error}");
        }
    }
    if word == Word::Status
        && let Err(second) = R::failed(ctx, key, error).await
    {
        tracing::warn!("the status could not be written: {second}");
        return false;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_should_pass_and_does_not_is_reported() {
        let busy = Error::StoreBusy { store: "RemoteStore/vault".to_owned() };
        let words: Vec<Word> = (1..=LASTING).map(|count| Word::about(&busy, count)).collect();
        assert_eq!(words.iter().filter(|word| **word == Word::Log).count(), 14);
        assert_eq!(words.last(), Some(&Word::Status));
        let waited: Duration = (1..LASTING).filter_map(|count| busy.delay(count)).sum();
        assert!((Duration::from_secs(30)..Duration::from_mins(2)).contains(&waited), "{waited:?}");
        assert_eq!(Word::about(&Error::Panic, 1), Word::Status);
    }
}
