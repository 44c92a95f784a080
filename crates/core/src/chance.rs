//! Randomness as an argument.

use uuid::{Builder, Uuid};

use chrono::{DateTime, Utc};

/// A source of random bytes; the binary passes the operating system's.
pub trait Chance: Send + Sync {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// Letters and digits that are not mistaken for one another, as Kubernetes uses for generated names.
const SAFE: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Characters of a revision: 27^10 of them are enough for no two to be alike by chance.
const REVISION: usize = 10;

/// A new id of a Secret's content.
#[must_use]
pub fn revision(chance: &dyn Chance) -> String {
    (0..REVISION).map(|_| char::from(SAFE[below(chance, SAFE.len())])).collect()
}

/// Whether a text looks like a [`revision`].
#[must_use]
pub fn is_revision(text: &str) -> bool {
    text.len() == REVISION && text.bytes().all(|byte| SAFE.contains(&byte))
}

/// A new rotation id: UUID version 7 (RFC 9562), so that ids sort by time.
#[must_use]
pub fn rotation_id(chance: &dyn Chance, now: DateTime<Utc>) -> Uuid {
    let mut bytes = [0; 10];
    chance.fill(&mut bytes);
    Builder::from_unix_timestamp_millis(u64::try_from(now.timestamp_millis()).unwrap_or(0), &bytes).into_uuid()
}

/// A uniform choice below `bound` (1 to 256), without modulo bias.
#[must_use]
pub fn below(chance: &dyn Chance, bound: usize) -> usize {
    let bound = bound.clamp(1, 256);
    let limit = 256 - 256 % bound;
    loop {
        let mut byte = [0];
        chance.fill(&mut byte);
        if usize::from(byte[0]) < limit {
            return usize::from(byte[0]) % bound;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A repeatable sequence (splitmix64).
    pub(crate) struct Sequence(pub AtomicU64);

    impl Sequence {
        pub(crate) fn from(seed: u64) -> Self {
            Self(AtomicU64::new(seed))
        }
    }

    impl Chance for Sequence {
        fn fill(&self, bytes: &mut [u8]) {
            for byte in bytes {
                let mut z = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
                z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                *byte = (z ^ (z >> 31)).to_le_bytes()[0];
            }
        }
    }

    #[test]
    fn choices_are_even() {
        let chance = Sequence::from(1);
        let mut counts = [0; 10];
        for _ in 0..10_000 {
            counts[below(&chance, 10)] += 1;
        }
        assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
    }

    #[test]
    fn rotation_ids_sort_by_time() {
        let chance = Sequence::from(1);
        let at = |second: i64| DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap();
        let (early, late) = (rotation_id(&chance, at(0)), rotation_id(&chance, at(1)));
        assert!(early < late && early.get_version_num() == 7);
    }
}
