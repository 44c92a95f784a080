//! Times in which a Secret did not hold its value, though the value itself has not changed: another tool had edited it,
//! or it was gone. Who read it then holds a value of nobody, or none.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{format, parse};
use crate::workload::Keys;

/// Gaps that are remembered. Of more, the two oldest become one: who started between them is restarted once without
/// need.
const MOST: usize = 4;
/// Keys that a gap names, and bytes of their names: of more, it is a gap of all keys. The record has little room.
const KEYS: usize = 4;
const NAMES: usize = 128;

/// Characters of a gap in the record: two times, the names of keys, and what is between them.
const ROOM: usize = 2 * 24 + NAMES + 96;

/// See the [module documentation](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Gaps(Vec<Gap>);

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Since when (RFC 3339); `None`: that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// Until when.
    to: String,
    /// What was there instead of the value.
    pub instead: Instead,
    /// The keys that had no value; `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keys: Option<BTreeSet<String>>,
}

/// What a Secret held instead of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Instead {
    /// What another tool had written.
    Edit,
    /// Nothing: only who starts without the Secret could start.
    Nothing,
}

impl Gap {
    /// A gap of these keys that ends now.
    #[must_use]
    pub fn new(from: Option<DateTime<Utc>>, now: DateTime<Utc>, instead: Instead, keys: Keys) -> Self {
        let keys = match keys {
            Keys::Some(keys) if keys.len() <= KEYS && keys.iter().map(String::len).sum::<usize>() <= NAMES => {
                Some(keys)
            }
            Keys::Some(_) | Keys::All => None,
        };
        Self { from: from.map(|from| format(from.min(now))), to: format(now), instead, keys }
    }

    /// Since when; `None`: that is not known.
    #[must_use]
    pub fn from(&self) -> Option<DateTime<Utc>> {
        self.from.as_deref().and_then(parse)
    }

    /// Until when; `None` where another tool has written something else there.
    #[must_use]
    pub fn to(&self) -> Option<DateTime<Utc>> {
        parse(&self.to)
    }

    fn concerns(&self, consumed: &Keys) -> bool {
        match (&self.keys, consumed) {
            (None, _) | (_, Keys::All) => true,
            (Some(keys), Keys::Some(consumed)) => !keys.is_disjoint(consumed),
        }
    }

    /// Both, and what is between them.
    fn join(self, later: Self) -> Self {
        Self {
            from: self.from,
            to: later.to,
            instead: if later.instead == self.instead { self.instead } else { Instead::Edit },
            keys: self.keys.zip(later.keys).map(|(keys, more)| keys.into_iter().chain(more).collect()),
        }
    }
}

impl Gaps {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether they can be of our making.
    pub fn are_ours(&self) -> bool {
        let is_small = |gap: &Gap| gap.keys.as_ref().is_none_or(|keys| keys.len() <= 2 * KEYS);
        self.0.len() <= MOST && self.0.iter().all(is_small)
    }

    /// Characters that are added at most by further ones.
    pub fn growth(&self) -> usize {
        MOST.saturating_sub(self.0.len()) * ROOM
    }

    /// Those of consumed keys.
    pub fn of<'a>(&'a self, consumed: &'a Keys) -> impl Iterator<Item = &'a Gap> {
        self.0.iter().filter(|gap| gap.concerns(consumed))
    }

    /// With one more, the last.
    #[must_use]
    pub fn with(&self, gap: Gap) -> Self {
        let mut all = self.0.clone();
        all.push(gap);
        if all.len() > MOST {
            let (oldest, next) = (all.remove(0), all.remove(0));
            let mut joined = oldest.join(next);
            joined.keys = joined.keys.filter(|keys| keys.len() <= KEYS);
            all.insert(0, joined);
        }
        Self(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    fn keys(names: &[&str]) -> Keys {
        Keys::Some(names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn edit(from: i64, to: i64, of: &[&str]) -> Gap {
        Gap::new(Some(at(from)), at(to), Instead::Edit, keys(of))
    }

    #[test]
    fn a_gap_concerns_the_keys_that_had_no_value() {
        let gaps = Gaps::default().with(edit(1, 2, &["a"])).with(Gap::new(None, at(4), Instead::Nothing, Keys::All));
        let ends = |of: &Keys| gaps.of(of).filter_map(Gap::to).collect::<Vec<_>>();
        assert_eq!(ends(&keys(&["a"])), [at(2), at(4)]);
        assert_eq!(ends(&keys(&["b"])), [at(4)]);
        assert_eq!(ends(&Keys::All), [at(2), at(4)]);
        let many: Vec<String> = (0..=KEYS).map(|at| at.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(edit(1, 2, &many).concerns(&keys(&["b"])), "too many to name: all of them");
        assert!(edit(1, 2, &[&"n".repeat(NAMES + 1)]).concerns(&keys(&["b"])), "too long to name");
    }

    #[test]
    fn of_many_gaps_the_oldest_become_one_and_none_is_lost() {
        let gaps = (0..10).fold(Gaps::default(), |gaps, at| gaps.with(edit(10 * at, 10 * at + 1, &["a"])));
        assert_eq!(gaps.0.len(), MOST);
        assert!(gaps.are_ours());
        let (first, second) = (&gaps.0[0], &gaps.0[1]);
        assert_eq!((first.from(), first.to(), second.from()), (Some(at(0)), Some(at(61)), Some(at(70))));
        let read: Gaps = serde_json::from_str(&serde_json::to_string(&gaps).unwrap()).unwrap();
        assert_eq!(read, gaps);
        let unknown = Gaps::default().with(Gap::new(None, at(1), Instead::Nothing, Keys::All));
        let joined = (2..10).fold(unknown, |gaps, at| gaps.with(edit(at, at, &["a"])));
        assert_eq!((joined.0[0].from(), joined.0[0].instead), (None, Instead::Edit), "the larger of both");
    }

    #[test]
    fn a_gap_never_starts_after_its_end() {
        let ahead = Gap::new(Some(at(9)), at(5), Instead::Edit, Keys::All);
        assert_eq!(ahead.from(), Some(at(5)), "another clock was ahead of ours");
    }
}
