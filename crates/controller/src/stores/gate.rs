//! The gate before a store: how fast it may be asked, and when it is not asked at all.
//!
//! - A token bucket bounds the requests per second, and namespaces take turns at it ([`bucket`]). A caller that would
//!   wait longer than a call may take is sent away: `rate-limited` by what its own namespace asks for.
//! - A store that asked us to slow down is left alone for as long as it says, whoever calls.
//! - A store that was not responding twice in a row is left alone for a short time that grows; then one call tries, and
//!   the others wait for what it finds. The probe of the store's own reconcile always goes through and opens the gate
//!   again.
//!
//! What the gate answers itself names no key: callers of different namespaces share it.

mod bucket;
#[cfg(test)]
mod tests;

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use rekey_api::store::Limits;
use rekey_core::store::{Allowance, StoreError, StoreErrorKind};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until},
};

use self::bucket::{Answer, Bucket, LONGEST_WAIT};

/// So many calls in a row without an answer mean that the store is away, and not one of its keys.
const AWAY: u32 = 2;
/// The first pause of a store that is away; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause of a store that is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The longest pause that a store can ask for.
const LONGEST_ASKED: Duration = Duration::from_mins(5);

/// Who asks to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller<'a> {
    /// An object of this namespace.
    User(&'a str),
    /// The store's own reconcile, which finds out whether it is there.
    Probe,
}

impl<'a> Caller<'a> {
    /// Whose turn it takes.
    fn namespace(self) -> &'a str {
        match self {
            Self::User(namespace) => namespace,
            Self::Probe => "",
        }
    }
}

/// See the [module documentation](self).
pub struct Gate(Mutex<State>);

struct State {
    bucket: Bucket,
    /// Calls in a row that got no answer.
    unanswered: u32,
    /// How often in a row a pause had to start.
    pauses: u32,
    /// Grows with each pause: calls that started before it say nothing new.
    epoch: u64,
    pause: Option<Pause>,
    /// Whether a call is under way that finds out about a store that is away.
    trying: bool,
}

#[derive(Debug)]
struct Pause {
    until: Instant,
    asked: bool,
}

/// The right to make one call, and the duty to say how it went. What was taken for it is corrected by what it has made
/// when this is dropped, also if the call was given up.
pub struct Pass<'g> {
    gate: &'g Gate,
    namespace: &'g str,
    /// How many it was taken for.
    requests: u32,
    made: Option<Meter>,
    epoch: u64,
    trial: bool,
}

/// Where requests are counted as they are made, and how many were before.
struct Meter {
    allowance: Allowance,
    before: usize,
}

impl Gate {
    /// An open gate.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        let bucket = Bucket::new(limits.requests_per_second, limits.burst);
        Self(Mutex::new(State { bucket, unanswered: 0, pauses: 0, epoch: 0, pause: None, trying: false }))
    }

    /// Why only a probe would get through now, if so.
    #[must_use]
    pub fn closed(&self) -> Option<StoreError> {
        self.state().closed(Instant::now(), Caller::User(""))
    }

    /// Waits for the right to make a call of so many requests.
    ///
    /// # Errors
    /// When the store is left alone, or the wait would be too long.
    pub async fn enter<'g>(&'g self, requests: u32, caller: Caller<'g>) -> Result<Pass<'g>, StoreError> {
        let now = Instant::now();
        let namespace = caller.namespace();
        let (turn, pass) = {
            let mut state = self.state();
            if let Some(error) = state.closed(now, caller) {
                return Err(error);
            }
            let turn = match state.bucket.take(namespace, requests, now) {
                Answer::Now => None,
                Answer::Later(turn) => Some(turn),
                Answer::Never(wait) => return Err(state.limited(wait)),
            };
            let trial = caller != Caller::Probe && state.is_away();
            state.trying |= trial;
            (turn, Pass { gate: self, namespace, requests, made: None, epoch: state.epoch, trial })
        };
        if let Some(turn) = turn {
            self.wait(turn, now + LONGEST_WAIT).await?;
        }
        Ok(pass)
    }

    /// Waits for a turn, and serves all who wait meanwhile.
    async fn wait(&self, mut turn: oneshot::Receiver<()>, end: Instant) -> Result<(), StoreError> {
        loop {
            let now = Instant::now();
            let next = self.state().bucket.serve(now);
            if turn.try_recv().is_ok() {
                return Ok(());
            }
            if now >= end {
                return Err(self.state().limited(LONGEST_WAIT));
            }
            tokio::select! {
                _ = &mut turn => return Ok(()),
                () = sleep_until(next.min(end)) => {}
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_away(&self) -> bool {
        self.unanswered >= AWAY
    }

    fn limited(&self, wait: Duration) -> StoreError {
        let text = format!(
            "rate-limited: this namespace asks for more requests than its share of the store's spec.limits ({} per \
             second for all namespaces); raise them, or the refreshInterval of its policies",
            self.bucket.rate()
        );
        StoreError::new(StoreErrorKind::Throttled, text).retry_after(Some(wait))
    }

    fn closed(&self, now: Instant, caller: Caller<'_>) -> Option<StoreError> {
        let pause = self.pause.as_ref().filter(|pause| pause.until > now);
        if let Some(pause) = pause
            && pause.asked
        {
            let text = "rate-limited: the store asked Rekey to slow down, so Rekey leaves it alone for that time";
            let wait = pause.until - now;
            return Some(StoreError::new(StoreErrorKind::Throttled, text).retry_after(Some(wait)));
        }
        let away = pause.is_some() || (self.is_away() && self.trying);
        (away && caller != Caller::Probe).then(|| {
            let text = "the store is not responding; Rekey retries now and then, and the store's own status says why";
            StoreError::new(StoreErrorKind::Unavailable, text)
        })
    }

    fn answered(&mut self, now: Instant) -> bool {
        let was_away = self.is_away();
        self.unanswered = 0;
        // Who asked for a pause gets it, also if another call was still answered.
        if self.pause.as_ref().is_none_or(|pause| !pause.asked || pause.until <= now) {
            self.pauses = 0;
            self.pause = None;
        }
        was_away
    }

    fn failed(&mut self, now: Instant, epoch: u64, error: &StoreError) {
        let throttled = error.kind == StoreErrorKind::Throttled;
        if !throttled {
            self.unanswered = self.unanswered.saturating_add(1);
        }
        if epoch == self.epoch {
            self.epoch += 1;
            self.pauses = self.pauses.saturating_add(1);
        }
        if !throttled && !self.is_away() {
            return;
        }
        let grown = FIRST_PAUSE.saturating_mul(1 << self.pauses.clamp(1, 6).saturating_sub(1)).min(LONGEST_PAUSE);
        let length =
            if throttled { error.retry_after.unwrap_or(grown).clamp(FIRST_PAUSE, LONGEST_ASKED) } else { grown };
        let until = now + length;
        match &mut self.pause {
            Some(pause) if pause.until > until => pause.asked |= throttled,
            pause => *pause = Some(Pause { until, asked: throttled }),
        }
    }
}

impl Pass<'_> {
    /// Has the requests counted that the allowance counts from now on.
    pub fn count(&mut self, allowance: &Allowance) {
        self.made = Some(Meter { allowance: allowance.clone(), before: allowance.requests() });
    }

    /// How many requests the call has made.
    #[must_use]
    pub fn made(&self) -> usize {
        self.made.as_ref().map_or(0, |meter| meter.allowance.requests().saturating_sub(meter.before))
    }

    /// Makes a call that does not know how many requests it takes: it goes on when tokens for those that it has made
    /// have come.
    ///
    /// # Errors
    /// When that would take longer than a call may. It says nothing about the store, and the call is given up.
    pub async fn pace<T>(
        &mut self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<Result<T, StoreError>, StoreError> {
        let (mut call, start, mut has_waited) = (pin!(call), Instant::now(), false);
        loop {
            let step = poll_fn(|context| match call.as_mut().poll(context) {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                Poll::Pending if self.unpaid() > 0 => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            match step.await {
                // The time of the call is over, and waiting has taken some of it.
                Some(Err(error))
                    if has_waited && error.kind == StoreErrorKind::Unavailable && start.elapsed() >= LONGEST_WAIT =>
                {
                    return Err(self.gate.state().limited(LONGEST_WAIT));
                }
                Some(answer) => return Ok(answer),
                None => has_waited |= self.pay(start + LONGEST_WAIT).await?,
            }
        }
    }

    fn unpaid(&self) -> u32 {
        u32::try_from(self.made()).unwrap_or(u32::MAX).saturating_sub(self.requests)
    }

    /// Takes tokens for what was made; whether that meant to wait.
    async fn pay(&mut self, end: Instant) -> Result<bool, StoreError> {
        let (requests, now) = (self.unpaid(), Instant::now());
        let turn = {
            let mut state = self.gate.state();
            match state.bucket.take(self.namespace, requests, now) {
                Answer::Now => None,
                Answer::Later(turn) => Some(turn),
                Answer::Never(wait) => return Err(state.limited(wait)),
            }
        };
        let waits = turn.is_some();
        if let Some(turn) = turn {
            self.gate.wait(turn, end).await?;
        }
        self.requests += requests;
        Ok(waits)
    }

    /// Says how the call went. True when the store was away and has come back.
    pub fn leave(self, failure: Option<&StoreError>) -> bool {
        let now = Instant::now();
        let mut state = self.gate.state();
        match failure {
            Some(error) => match error.kind {
                StoreErrorKind::Unavailable | StoreErrorKind::Throttled => {
                    state.failed(now, self.epoch, error);
                    false
                }
                // It answers, whatever it says.
                StoreErrorKind::NotFound
                | StoreErrorKind::Denied
                | StoreErrorKind::Conflict
                | StoreErrorKind::Invalid
                | StoreErrorKind::InvalidKey
                | StoreErrorKind::NotSupported { .. }
                | StoreErrorKind::Malformed
                | StoreErrorKind::TooMuch => state.answered(now),
            },
            None => state.answered(now),
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        if self.made.is_some() {
            let made = u32::try_from(self.made()).unwrap_or(u32::MAX);
            state.bucket.settle(self.namespace, self.requests, made, Instant::now());
        }
        if self.trial {
            state.trying = false;
        }
    }
}
