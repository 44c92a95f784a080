//! Which versions of its sources a content was made from, so that a store that went back is noticed (security rule
//! X17).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::packed::{self, Packed};

/// Bytes of a time and a version.
const ORIGIN: usize = 12;

/// The version of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Where versions are numbers that go up.
    pub version: Option<u64>,
    /// When it was created, by the store's own clock.
    pub created: DateTime<Utc>,
}

impl Origin {
    /// A version as the store names it.
    #[must_use]
    pub fn new(version: &str, created: DateTime<Utc>) -> Self {
        Self { version: version.parse().ok().filter(|version| *version > 0), created }
    }

    /// Whether this is from before `published`: a lower version that was not created later. An old value that is
    /// written again is a new version. Where versions are not numbers, or are the same number, the time decides alone:
    /// a store that was copied may count the same numbers.
    #[must_use]
    pub fn is_before(self, published: Self) -> bool {
        let (now, then) = (self.created.timestamp_millis(), published.created.timestamp_millis());
        match (self.version, published.version) {
            (Some(this), Some(that)) if this > that => false,
            (Some(this), Some(that)) if this < that => now <= then,
            _ => now < then,
        }
    }
}

/// The origins of a content, by source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Origins(Packed<ORIGIN>);

impl<'a> FromIterator<(&'a str, Origin)> for Origins {
    fn from_iter<I: IntoIterator<Item = (&'a str, Origin)>>(origins: I) -> Self {
        let entry = |(source, origin): (&str, Origin)| {
            let mut payload = [0; ORIGIN];
            let created = u64::try_from(origin.created.timestamp_millis()).unwrap_or_default();
            payload[..6].copy_from_slice(&packed::short(created));
            payload[6..].copy_from_slice(&packed::short(origin.version.unwrap_or_default()));
            (packed::hash(source), payload)
        };
        Self(origins.into_iter().map(entry).collect())
    }
}

impl Origins {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The origin of a source. The latest one, should another source have the same hash.
    #[must_use]
    pub fn of(&self, source: &str) -> Option<Origin> {
        let (_, payload) = self.0.of(packed::hash(source)).last()?;
        let (time, version) = payload.split_first_chunk::<6>()?;
        let version = packed::long(<[u8; 6]>::try_from(version).ok()?);
        let created = DateTime::from_timestamp_millis(i64::try_from(packed::long(*time)).ok()?)?;
        Some(Origin { version: Some(version).filter(|version| *version > 0), created })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(version: &str, second: i64) -> Origin {
        Origin::new(version, DateTime::from_timestamp(1_800_000_000 + second, 123_456_789).unwrap())
    }

    #[test]
    fn a_lower_version_that_was_not_created_later_is_from_before() {
        let uuid = "0193c2a8-0000-7000-8000-000000000000";
        for (now, published, is_before) in [
            (origin("3", 30), origin("7", 70), true),
            (origin("3", 70), origin("7", 70), true),
            (origin("3", 80), origin("7", 70), false), // deleted and made again, or counted again
            (origin("8", 80), origin("7", 70), false),
            (origin("8", 30), origin("7", 70), false),
            (origin("7", 70), origin("7", 70), false),
            (origin("7", 60), origin("7", 70), true), // another store that has counted as far
            (origin("7", 80), origin("7", 70), false),
            (origin(uuid, 30), origin("0193c2a8-0000-7000-8000-000000000001", 70), true),
            (origin(uuid, 80), origin(uuid, 70), false),
            (origin(uuid, 70), origin(uuid, 70), false),
            (origin(uuid, 60), origin("7", 70), true), // the store is of another kind now
            (origin("0", 60), origin("7", 70), true),
        ] {
            assert_eq!(now.is_before(published), is_before, "{now:?} {published:?}");
        }
    }

    #[test]
    fn origins_read_back_in_milliseconds() {
        let origins: Origins = [("a", origin("7", 70)), ("b", origin("x", 30))].into_iter().collect();
        let text = serde_json::to_string(&origins).unwrap();
        let read: Origins = serde_json::from_str(&text).unwrap();
        assert_eq!(read, origins);
        let [a, b] = ["a", "b"].map(|source| read.of(source).unwrap());
        assert_eq!((a.version, b.version), (Some(7), None));
        assert_eq!(a.created.timestamp_millis(), 1_800_000_070_123);
        assert!(
            !a.is_before(origin("7", 70)) && !origin("7", 70).is_before(a),
            "what is finer than that is no difference"
        );
        assert_eq!(read.of("c"), None);
    }
}
