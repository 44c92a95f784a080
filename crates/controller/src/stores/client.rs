//! The client of one store: every call passes its gate and is counted, and reads are shared.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rekey_api::store::Limits;
use rekey_core::store::{Locator, Pin, Probe, RemoteValue, Respelling, Search, Store, StoreError, StoreErrorKind};

use super::{
    budget::{Budget, Room},
    gate::{Caller, Gate, Pass},
    reads::Reads,
};
use crate::metrics::Metrics;

/// See the [module documentation](self).
pub struct Client {
    pub(super) reads: Reads,
    pub(super) gate: Gate,
    /// Whether a call has found that the store is back.
    pub(super) came_back: AtomicBool,
    /// Where values are kept for others.
    pub(super) budget: Arc<Budget>,
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
}

impl Client {
    /// Of an open store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, limits: &Limits, metrics: Arc<Metrics>, budget: Arc<Budget>) -> Self {
        let came_back = AtomicBool::new(false);
        Self { reads: Reads::default(), gate: Gate::new(limits), came_back, budget, store, metrics }
    }

    /// Makes one call on behalf of `namespace`. It counts as one request.
    ///
    /// # Errors
    /// When the gate is closed, or the call fails.
    pub async fn call<'s, T, F>(
        &'s self,
        operation: &'static str,
        namespace: &'s str,
        work: impl FnOnce(&'s dyn Store) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let pass = self.gate.enter(1, Caller::User(namespace)).await?;
        let answer = work(&*self.store).await;
        self.count(operation, answer.as_ref().err());
        self.leave(pass, answer.as_ref().err());
        answer
    }

    /// Finds out whether the store is there.
    ///
    /// # Errors
    /// As [`Store::probe`].
    pub async fn probe(&self) -> Result<Probe, StoreError> {
        let pass = self.gate.enter(1, Caller::Probe).await?;
        let answer = self.store.probe().await;
        self.count("probe", answer.as_ref().err());
        self.leave(pass, answer.as_ref().err());
        answer
    }

    /// Searches. The lists it takes, and what it looks at of each key, take tokens as they are made.
    ///
    /// # Errors
    /// As [`Client::call`]; `Throttled` when it takes more requests than the limits let through in the time of a call.
    pub(super) async fn find(&self, search: &Search, room: &Room) -> Result<Vec<String>, StoreError> {
        let mut pass = self.gate.enter(1, Caller::User(room.namespace())).await?;
        pass.count(room.allowance());
        let answer = pass.pace(self.store.find(search, room.allowance())).await;
        self.count("find", answer.as_ref().map_or_else(Some, |answer| answer.as_ref().err()));
        match answer {
            Ok(answer) => {
                self.leave(pass, answer.as_ref().err());
                answer
            }
            Err(limited) => {
                let text = format!("{}, or search below a longer find.path", limited.text);
                Err(StoreError { text, ..limited })
            }
        }
    }

    /// Reads distinct keys with as few requests as the store allows. `begun` is set when it is the store's turn.
    pub(super) async fn fetch(
        &self,
        locators: &[Locator],
        room: &Room,
        begun: &AtomicBool,
    ) -> Vec<Result<RemoteValue, StoreError>> {
        let alone = locators.iter().filter(|locator| locator.pin == Pin::Metadata).count();
        let requests = alone + (locators.len() - alone).div_ceil(self.store.values_per_request().max(1));
        let requests = u32::try_from(requests).unwrap_or(u32::MAX);
        let mut pass = match self.gate.enter(requests, Caller::User(room.namespace())).await {
            Ok(pass) => pass,
            Err(error) => return locators.iter().map(|_| Err(error.clone())).collect(),
        };
        begun.store(true, Ordering::Release);
        pass.count(room.allowance());
        let answers = self.store.read_all(locators, room.allowance()).await;
        for answer in &answers {
            self.count("read", answer.as_ref().err());
        }
        if pass.made() > 0 {
            self.leave(pass, verdict(&answers));
        }
        answers
    }

    /// Other ways to write a key.
    pub(super) fn respellings(&self, key: &str) -> Vec<Respelling> {
        self.store.respellings(key)
    }

    fn leave(&self, pass: Pass<'_>, failure: Option<&StoreError>) {
        if pass.leave(failure) {
            self.came_back.store(true, Ordering::Relaxed);
        }
    }

    fn count(&self, operation: &'static str, error: Option<&StoreError>) {
        let result = match error.map(|error| error.kind) {
            None => "ok",
            Some(StoreErrorKind::NotFound) => "not_found",
            Some(StoreErrorKind::Denied) => "denied",
            Some(StoreErrorKind::Throttled) => "throttled",
            Some(StoreErrorKind::Unavailable) => "unavailable",
            Some(StoreErrorKind::Conflict) => "conflict",
            Some(StoreErrorKind::Invalid | StoreErrorKind::InvalidKey | StoreErrorKind::NotSupported { .. }) => {
                "invalid"
            }
            Some(StoreErrorKind::Malformed) => "malformed",
            Some(StoreErrorKind::TooMuch) => "too_much",
        };
        self.metrics.store_request(operation, result);
    }
}

/// What a batch says about the store: to slow down if it said so anywhere, to be away if it gave no answer at all.
fn verdict(answers: &[Result<RemoteValue, StoreError>]) -> Option<&StoreError> {
    let of_kind = |kind| answers.iter().filter_map(|answer| answer.as_ref().err()).find(|error| error.kind == kind);
    let unanswered =
        answers.iter().all(|answer| answer.as_ref().is_err_and(|error| error.kind == StoreErrorKind::Unavailable));
    of_kind(StoreErrorKind::Throttled).or_else(|| of_kind(StoreErrorKind::Unavailable).filter(|_| unanswered))
}
