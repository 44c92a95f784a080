//! Reads of many keys with few calls.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use futures::future::join_all;
use rekey_core::store::{Allowance, Locator, RemoteValue, Store, StoreError, StoreErrorKind};
use tokio::time::{Instant, timeout_at};

use crate::http::{DEADLINE, Failure, with_allowance};

/// How many single reads go out at once.
const ABREAST: usize = 8;

/// What a batch has answered, by what was asked.
pub(super) type Answers = BTreeMap<Locator, Result<RemoteValue, StoreError>>;

/// A service that can give several values in one answer.
#[async_trait]
pub(super) trait Batches: Store {
    /// The most it gives at once.
    const MOST: usize;

    /// Where it is, for texts.
    fn place(&self) -> &str;

    /// Whether this can be asked together with others now.
    fn is_batchable(&self, locator: &Locator) -> bool;

    /// Asks for these at once, and for no further page once the values are larger than `left` bytes. What the answer
    /// leaves open is read singly.
    async fn batch(&self, locators: &[&Locator], left: usize) -> Answers;
}

/// Reads all, each key once, within one deadline. An answer has left nothing but its values before the next is asked for.
pub(super) async fn read_all<B: Batches>(
    store: &B,
    locators: &[Locator],
    allowance: &Allowance,
) -> Vec<Result<RemoteValue, StoreError>> {
    let deadline = Instant::now() + DEADLINE;
    let distinct: BTreeSet<&Locator> = locators.iter().collect();
    let (together, mut singly): (Vec<&Locator>, Vec<&Locator>) =
        distinct.into_iter().partition(|locator| store.is_batchable(locator));
    let mut answers = Answers::new();
    let keep = |(locator, answer): (Locator, Result<RemoteValue, StoreError>)| {
        (locator, answer.and_then(|value| value.within(allowance)))
    };
    let read = |locator| async move { store.read(locator).await?.within(allowance) };
    for some in together.chunks(B::MOST).take_while(|_| !allowance.is_over()) {
        if some.len() > 1 && some.iter().all(|locator| store.is_batchable(locator)) {
            let batch = with_allowance(allowance, store.batch(some, allowance.left()));
            let Ok(found) = timeout_at(deadline, batch).await else { break };
            answers.extend(found.into_iter().map(keep));
        }
        singly.extend(some.iter().filter(|locator| !answers.contains_key(locator)));
    }
    for some in singly.chunks(ABREAST).take_while(|_| !allowance.is_over()) {
        let reads = with_allowance(allowance, join_all(some.iter().map(|locator| read(locator))));
        let Ok(found) = timeout_at(deadline, reads).await else { break };
        answers.extend(some.iter().map(|locator| (*locator).clone()).zip(found));
    }
    let unread = || Err(allowance.check().err().unwrap_or_else(|| Failure::Timeout.error(store.place())));
    locators.iter().map(|locator| answers.get(locator).cloned().unwrap_or_else(unread)).collect()
}

/// How large the values are together.
pub(super) fn size(answers: &Answers) -> usize {
    answers.values().flatten().map(|value| value.bytes.len()).sum()
}

/// The same error for all.
pub(super) fn same(locators: &[&Locator], error: &StoreError) -> Answers {
    locators.iter().map(|locator| ((*locator).clone(), Err(error.clone()))).collect()
}

/// What the failure of a whole batch means for each of its keys: nothing, where asking for it alone may do better.
pub(super) fn of_failure(locators: &[&Locator], error: &StoreError) -> Answers {
    if is_general(error.kind) { same(locators, error) } else { Answers::new() }
}

/// Whether a failure says the same about every key, so that asking for each would only add to it.
fn is_general(kind: StoreErrorKind) -> bool {
    match kind {
        StoreErrorKind::Throttled | StoreErrorKind::Unavailable | StoreErrorKind::TooMuch => true,
        StoreErrorKind::NotFound
        | StoreErrorKind::Denied
        | StoreErrorKind::Conflict
        | StoreErrorKind::Invalid
        | StoreErrorKind::InvalidKey
        | StoreErrorKind::NotSupported { .. }
        | StoreErrorKind::Malformed => false,
    }
}
