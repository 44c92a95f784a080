//! When which key changed last.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use litemap::LiteMap;
use serde::{Deserialize, Serialize};

use super::{format, parse};
use crate::{
    digest::Digests,
    packed::{self, NAMED, NameHash, Packed},
    workload::Keys,
};

/// Times by key, in the form of the digests: by name (RFC 3339), or in the same room whatever the length of names
/// (milliseconds). What was packed once stays so, since names that are gone cannot be had back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Times {
    Named(LiteMap<String, String>),
    Packed(Packed<TIME>),
}

/// Bytes of a time.
const TIME: usize = 6;
/// Keys that are gone are remembered for those who still ask for them, the latest ones only.
const GONE: usize = 64;

impl Default for Times {
    fn default() -> Self {
        Self::Named(LiteMap::new())
    }
}

impl Times {
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Named(times) => times.is_empty(),
            Self::Packed(times) => times.is_empty(),
        }
    }

    /// Whether they can be of our making.
    pub fn are_ours(&self) -> bool {
        match self {
            Self::Named(times) => times.len() <= NAMED,
            Self::Packed(_) => true,
        }
    }

    /// The last of the times of these keys.
    pub fn last(&self, of: &Keys) -> Option<DateTime<Utc>> {
        match (self, of) {
            (Self::Named(times), _) => {
                times.iter().filter(|(key, _)| of.contains(key)).filter_map(|(_, time)| parse(time)).max()
            }
            (Self::Packed(times), Keys::All) => times.iter().filter_map(|(_, time)| unpack(*time)).max(),
            (Self::Packed(times), Keys::Some(keys)) => {
                let times = keys.iter().flat_map(|key| times.of(packed::hash(key)));
                times.filter_map(|(_, time)| unpack(*time)).max()
            }
        }
    }

    /// The times after content with `before` digests was replaced by content with `after` digests, and whether a key
    /// was added or removed.
    pub fn next(&self, before: &Digests, after: &Digests, now: DateTime<Utc>) -> (Self, bool) {
        let (old, new) = match (self, before.named(), after.named()) {
            (Self::Named(times), Some(old), Some(new)) => {
                let (old, new): (BTreeSet<_>, BTreeSet<_>) = (old.collect(), new.collect());
                let mut times = times.clone();
                for name in old.union(&new).filter(|name| before.differs(after, name)) {
                    times.insert((*name).clone(), format(now));
                }
                forget_named(&mut times, &new);
                return (Self::Named(times), old != new);
            }
            (Self::Named(_) | Self::Packed(_), _, _) => (before.packed(), after.packed()),
        };
        let names = |digests: &Packed<_>| digests.iter().map(|(name, _)| *name).collect::<BTreeSet<_>>();
        let (old_names, new_names) = (names(&old), names(&new));
        let changed: BTreeSet<&NameHash> =
            old_names.union(&new_names).filter(|name| old.of(**name) != new.of(**name)).collect();
        let kept = self.packed().into_iter().filter(|(name, _)| !changed.contains(name));
        let times = kept.chain(changed.iter().map(|name| (**name, pack(now)))).collect();
        (Self::Packed(forget_packed(times, &new_names)), old_names != new_names)
    }

    /// Characters that are added at most until every key of `digests` has changed.
    pub fn growth(&self, digests: &Digests) -> usize {
        match self {
            // Few and short keys: their times take about as much as their digests.
            Self::Named(_) if digests.named().is_some() => 0,
            Self::Named(_) => Packed::<TIME>::text_len(digests.len() + GONE),
            Self::Packed(times) => {
                let most = Packed::<TIME>::text_len(digests.len() + GONE);
                most.saturating_sub(Packed::<TIME>::text_len(times.len()))
            }
        }
    }

    /// In the form that does not depend on the length of names.
    pub fn packed(&self) -> Vec<(NameHash, [u8; TIME])> {
        match self {
            Self::Named(times) => {
                times.iter().filter_map(|(name, time)| Some((packed::hash(name), pack(parse(time)?)))).collect()
            }
            Self::Packed(times) => times.iter().copied().collect(),
        }
    }
}

fn forget_named(times: &mut LiteMap<String, String>, present: &BTreeSet<&String>) {
    let gone = times.iter().filter(|(name, _)| !present.contains(name));
    let mut gone: Vec<(String, String)> = gone.map(|(name, time)| (time.clone(), name.clone())).collect();
    gone.sort();
    for (_, name) in gone.iter().rev().skip(GONE) {
        times.remove(name);
    }
}

fn forget_packed(times: Vec<(NameHash, [u8; TIME])>, present: &BTreeSet<NameHash>) -> Packed<TIME> {
    let (there, mut gone): (Vec<_>, Vec<_>) = times.into_iter().partition(|(name, _)| present.contains(name));
    gone.sort_unstable_by_key(|(name, time)| std::cmp::Reverse((*time, *name)));
    there.into_iter().chain(gone.into_iter().take(GONE)).collect()
}

fn pack(time: DateTime<Utc>) -> [u8; TIME] {
    packed::short(u64::try_from(time.timestamp_millis()).unwrap_or_default())
}

fn unpack(time: [u8; TIME]) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(i64::try_from(packed::long(time)).ok()?)
}
