//! When the store is read, and what for.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use rekey_api::reference::StoreRef;
use sha2::{Digest as _, Sha256};

use super::{Policy, Seen, SeenSecret};
use crate::store::Locator;

/// One read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// From which store.
    pub store: StoreRef,
    /// What.
    pub locator: Locator,
}

/// The distinct reads of a policy.
pub type Requests = BTreeSet<Request>;

/// Whether to read now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// Read these.
    Due(Requests),
    /// Everything known is fresh until then.
    NotBefore(DateTime<Utc>),
}

/// Whether the policy's values are due to be read. They are at first sight, when the spec changed, when somebody
/// asked, when the Secret is not as it was published, when a rotation waits to be published, and at each round.
#[must_use]
pub fn fetch(policy: &Policy, seen: &Seen, now: DateTime<Utc>) -> Fetch {
    let requests = || {
        let all = policy.items.iter().map(|item| Request { store: item.store.clone(), locator: item.locator.clone() });
        Fetch::Due(all.collect())
    };
    let Some(last) = seen.last_fetch else {
        return requests();
    };
    let asked = policy.sync_requested.is_some() && policy.sync_requested != seen.status.last_handled_sync;
    let changed = seen.status.observed_generation != Some(policy.generation);
    let unpublished = seen.rotation.as_ref().is_some_and(|rotation| !rotation.is_published(&seen.status));
    let astray = match &seen.secret {
        SeenSecret::Absent | SeenSecret::Foreign { .. } => true,
        SeenSecret::Going => false,
        SeenSecret::Ours { published, content, dressed, .. } => {
            // A content that we have not reported may be an old one that somebody put back with its annotations.
            content.is_some() || !dressed || seen.status.revision.as_ref() != Some(&published.revision)
        }
    };
    let next = next_round(policy, last);
    if asked || changed || unpublished || astray || now >= next { requests() } else { Fetch::NotBefore(next) }
}

/// The first round of reads after `last`. Rounds of equal intervals are shifted by a hash of store and key: work spreads, and
/// those who read the same key read it together.
#[must_use]
pub fn next_round(policy: &Policy, last: DateTime<Utc>) -> DateTime<Utc> {
    let interval = policy.interval.num_milliseconds().max(1);
    let identity = policy.items.first().map(|item| format!("{:?}\0{}", item.store, item.locator.key));
    let hash = Sha256::digest(identity.unwrap_or_default());
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    let shift = i64::try_from(u64::from_be_bytes(first) % interval.unsigned_abs()).unwrap_or(0);
    let since = (last.timestamp_millis() - shift).rem_euclid(interval);
    last + TimeDelta::milliseconds(interval - since)
}
