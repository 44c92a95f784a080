//! The gate before a store: how fast it may be asked, and when it is not asked at all.
//!
//! - A token bucket bounds the requests per second. Who would wait longer than a call may take is sent away.
//! - A store that asked us to slow down is left alone for as long as it says, whoever wants something.
//! - A store that did not answer twice in a row is left alone for a short time that grows; then one call tries, and the
//!   others wait for what it finds. The probe of the store's own reconcile always goes through and opens the gate again.
//!
//! What the gate answers itself names no key: callers of different namespaces share it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rekey_api::store::Limits;
use rekey_core::store::{StoreError, StoreErrorKind};
use tokio::time::{Instant, sleep_until};

/// The longest wait for a token: as long as a call may take.
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// So many calls in a row without an answer mean that the store is away, and not one of its keys.
const AWAY: u32 = 2;
/// The first pause of a store that is away; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause of a store that is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The longest pause that a store can ask for.
const LONGEST_ASKED: Duration = Duration::from_mins(5);

/// Who wants to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Somebody who wants a value.
    User,
    /// The store's own reconcile, which finds out whether it is there.
    Probe,
}

/// See the [module documentation](self).
#[derive(Debug)]
pub struct Gate {
    state: Mutex<State>,
    rate: f64,
    burst: f64,
}

#[derive(Debug)]
struct State {
    /// Tokens in the bucket at `filled`; less than none when some are promised.
    tokens: f64,
    filled: Instant,
    /// Calls in a row that got no answer.
    unanswered: u32,
    /// How often in a row a pause had to begin.
    pauses: u32,
    /// Grows with each pause: calls that began before it say nothing new.
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

/// The right to make one call, and the duty to tell how it went.
#[derive(Debug)]
pub struct Pass<'g> {
    gate: &'g Gate,
    epoch: u64,
    trial: bool,
}

impl Gate {
    /// An open gate.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        let burst = f64::from(limits.burst.max(1));
        let state = State {
            tokens: burst,
            filled: Instant::now(),
            unanswered: 0,
            pauses: 0,
            epoch: 0,
            pause: None,
            trying: false,
        };
        Self { state: Mutex::new(state), rate: f64::from(limits.requests_per_second.max(1)), burst }
    }

    /// Why nobody but a probe would get through now, if so.
    #[must_use]
    pub fn closed(&self) -> Option<StoreError> {
        self.state().closed(Instant::now(), Caller::User)
    }

    /// Waits for the right to make a call that costs `requests`.
    ///
    /// # Errors
    /// When the store is left alone, or the wait would be too long.
    pub async fn enter(&self, requests: u32, caller: Caller) -> Result<Pass<'_>, StoreError> {
        let now = Instant::now();
        let (wait, pass) = {
            let mut state = self.state();
            if let Some(error) = state.closed(now, caller) {
                return Err(error);
            }
            let wait = self.draw(&mut state, requests, now)?;
            let trial = caller == Caller::User && state.is_away();
            state.trying |= trial;
            (wait, Pass { gate: self, epoch: state.epoch, trial })
        };
        if let Some(wait) = wait {
            sleep_until(now + wait).await;
        }
        Ok(pass)
    }

    /// Takes tokens out of the bucket; the wait until they are there.
    fn draw(&self, state: &mut State, requests: u32, now: Instant) -> Result<Option<Duration>, StoreError> {
        let since = now.saturating_duration_since(state.filled).as_secs_f64();
        let tokens = (state.tokens + since * self.rate).min(self.burst);
        (state.tokens, state.filled) = (tokens, now);
        let left = tokens - f64::from(requests);
        if left >= 0.0 {
            state.tokens = left;
            return Ok(None);
        }
        let wait = Duration::from_secs_f64(-left / self.rate);
        if wait > LONGEST_WAIT {
            let text = format!(
                "more is wanted of the store than its spec.limits let through ({} requests per second); raise them, or \
                 the refreshInterval of its policies",
                self.rate
            );
            return Err(StoreError::new(StoreErrorKind::Throttled, text).retry_after(Some(wait)));
        }
        state.tokens = left;
        Ok(Some(wait))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_away(&self) -> bool {
        self.unanswered >= AWAY
    }

    fn closed(&self, now: Instant, caller: Caller) -> Option<StoreError> {
        let pause = self.pause.as_ref().filter(|pause| pause.until > now);
        if let Some(pause) = pause
            && pause.asked
        {
            let text = "the store asked us to slow down, and nothing is asked of it until it said we may";
            let wait = pause.until - now;
            return Some(StoreError::new(StoreErrorKind::Throttled, text).retry_after(Some(wait)));
        }
        let away = pause.is_some() || (self.is_away() && self.trying);
        (away && caller == Caller::User).then(|| {
            let text = "the store does not answer; it is tried now and then, and its own status says how that goes";
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
    /// Tells how the call went. True when the store was away and has come back.
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
                | StoreErrorKind::Malformed => state.answered(now),
            },
            None => state.answered(now),
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.trial {
            self.gate.state().trying = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(requests_per_second: u32, burst: u32) -> Gate {
        Gate::new(&Limits { requests_per_second, burst })
    }

    async fn call(gate: &Gate, caller: Caller, failure: Option<StoreError>) -> Result<bool, StoreError> {
        let pass = gate.enter(1, caller).await?;
        Ok(pass.leave(failure.as_ref()))
    }

    fn away() -> StoreError {
        StoreError::new(StoreErrorKind::Unavailable, "nobody answers")
    }

    fn throttled(wait: Option<u64>) -> StoreError {
        let error = StoreError::new(StoreErrorKind::Throttled, "429");
        error.retry_after(wait.map(Duration::from_secs))
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_at_once_and_then_the_rate_holds() {
        let (gate, start) = (gate(10, 5), Instant::now());
        for _ in 0..5 {
            call(&gate, Caller::User, None).await.unwrap();
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        for _ in 0..20 {
            call(&gate, Caller::User, None).await.unwrap();
        }
        assert_eq!(start.elapsed().as_millis() / 10, 200);
    }

    #[tokio::test(start_paused = true)]
    async fn who_would_wait_longer_than_a_call_is_sent_away() {
        let gate = gate(1, 1);
        let waits = futures::future::join_all((0..20).map(|_| call(&gate, Caller::User, None))).await;
        let refused: Vec<&StoreError> = waits.iter().filter_map(|wait| wait.as_ref().err()).collect();
        assert_eq!(refused.len(), 4, "one at once and fifteen in fifteen seconds");
        assert_eq!(refused[0].kind, StoreErrorKind::Throttled);
        assert!(refused[0].text.contains("spec.limits"), "{}", refused[0]);
        assert!(gate.closed().is_none(), "our own limit says nothing about the store");
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_does_not_answer_is_left_alone_and_tried_by_one() {
        let gate = gate(1000, 1000);
        call(&gate, Caller::User, Some(away())).await.unwrap();
        assert!(gate.closed().is_none(), "one call may have met a bad moment");
        call(&gate, Caller::User, Some(away())).await.unwrap();
        for seconds in [2, 4, 8, 16, 30, 30] {
            let refused = call(&gate, Caller::User, None).await.unwrap_err();
            assert_eq!(refused.kind, StoreErrorKind::Unavailable);
            tokio::time::advance(Duration::from_millis(seconds * 1000 - 1)).await;
            assert!(gate.closed().is_some(), "{seconds} s");
            tokio::time::advance(Duration::from_millis(1)).await;
            let trial = gate.enter(1, Caller::User).await.unwrap();
            assert!(gate.closed().is_some(), "one call tries");
            trial.leave(Some(&away()));
        }
        tokio::time::advance(LONGEST_PAUSE).await;
        drop(gate.enter(1, Caller::User).await.unwrap());
        assert!(call(&gate, Caller::User, None).await.unwrap(), "a trial that was given up makes room for another");
        assert!(gate.closed().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_failed_together_are_one_reason_to_pause() {
        let gate = gate(1000, 1000);
        let mut passes = Vec::new();
        for _ in 0..8 {
            passes.push(gate.enter(1, Caller::User).await.unwrap());
        }
        for pass in passes {
            pass.leave(Some(&away()));
        }
        assert!(gate.closed().is_some());
        tokio::time::advance(FIRST_PAUSE).await;
        assert!(gate.closed().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_goes_through_and_opens_again() {
        let gate = gate(1000, 1000);
        for _ in 0..9 {
            call(&gate, Caller::Probe, Some(away())).await.unwrap();
        }
        assert!(gate.closed().is_some());
        assert!(call(&gate, Caller::Probe, None).await.unwrap());
        assert!(!call(&gate, Caller::User, None).await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_that_was_asked_for_is_kept_and_capped() {
        for (asked, seconds) in [(Some(20), 20), (Some(86_400), 300), (Some(0), 1), (None, 1)] {
            let gate = gate(1000, 1000);
            let late = gate.enter(1, Caller::User).await.unwrap();
            call(&gate, Caller::User, Some(throttled(asked))).await.unwrap();
            late.leave(None);
            let refused = call(&gate, Caller::Probe, None).await.unwrap_err();
            assert_eq!(
                (refused.kind, refused.retry_after),
                (StoreErrorKind::Throttled, Some(Duration::from_secs(seconds)))
            );
            tokio::time::advance(Duration::from_secs(seconds)).await;
            call(&gate, Caller::User, None).await.unwrap();
        }
    }
}
