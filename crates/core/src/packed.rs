//! Facts about many names in an annotation, of the same size however long the names are.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// Bytes that stand for a name.
const NAME: usize = 8;

/// The most facts by name that we read from an annotation; we write fewer, and pack more. Anybody can write 256 KiB of
/// short names, which take ten times as much memory.
pub const NAMED: usize = 1_024;

/// What stands for a name: the first 8 bytes of its SHA-256. Names are no secret, so the hash has no key, and a lookup
/// needs none.
pub type NameHash = [u8; NAME];

/// For each name a payload of `N` bytes, sorted. Two names with the same hash (10,000 names meet by accident with a
/// chance of 3 in 10¹², but an author of names can search for two) have two entries, which we compare together, so a
/// change of either shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed<const N: usize>(Box<[(NameHash, [u8; N])]>);

impl<const N: usize> Default for Packed<N> {
    fn default() -> Self {
        Self(Box::default())
    }
}

impl<const N: usize> FromIterator<(NameHash, [u8; N])> for Packed<N> {
    fn from_iter<I: IntoIterator<Item = (NameHash, [u8; N])>>(entries: I) -> Self {
        let mut entries: Box<[_]> = entries.into_iter().collect();
        entries.sort_unstable();
        Self(entries)
    }
}

impl<const N: usize> Packed<N> {
    /// How many characters `entries` take as text.
    #[must_use]
    pub const fn text_len(entries: usize) -> usize {
        (entries * (NAME + N)).div_ceil(3) * 4
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &(NameHash, [u8; N])> {
        self.0.iter()
    }

    /// The entries of one name: none, one, or several that share its hash.
    #[must_use]
    pub fn of(&self, name: NameHash) -> &[(NameHash, [u8; N])] {
        let start = self.0.partition_point(|(at, _)| *at < name);
        let length = self.0[start..].partition_point(|(at, _)| *at == name);
        &self.0[start..start + length]
    }
}

/// What stands for `name`.
#[must_use]
pub fn hash(name: &str) -> NameHash {
    let mut first = [0; NAME];
    first.copy_from_slice(&Sha256::digest(name)[..NAME]);
    first
}

/// A number as 6 bytes; larger ones become the largest that fits. Enough for milliseconds until the year 10889.
#[must_use]
pub fn short(number: u64) -> [u8; 6] {
    let [_, _, short @ ..] = number.min((1 << 48) - 1).to_be_bytes();
    short
}

/// Reads [`short`] back.
#[must_use]
pub fn long(short: [u8; 6]) -> u64 {
    short.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl<const N: usize> Serialize for Packed<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::with_capacity(self.0.len() * (NAME + N));
        for (name, payload) in &self.0 {
            bytes.extend(name);
            bytes.extend(payload);
        }
        serializer.serialize_str(&STANDARD_NO_PAD.encode(bytes))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Packed<N> {
    /// Reads what it can of a damaged text: what is missing counts as changed, and is written again.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = STANDARD_NO_PAD.decode(String::deserialize(deserializer)?).unwrap_or_default();
        let entry = |entry: &[u8]| {
            let (name, payload) = entry.split_first_chunk::<NAME>()?;
            Some((*name, <[u8; N]>::try_from(payload).ok()?))
        };
        Ok(bytes.chunks_exact(NAME + N).filter_map(entry).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_by_name_and_read_back() {
        let packed: Packed<2> =
            [("b", [1, 2]), ("a", [3, 4])].map(|(name, payload)| (hash(name), payload)).into_iter().collect();
        assert_eq!(packed.of(hash("a")), [(hash("a"), [3, 4])]);
        assert!(packed.of(hash("c")).is_empty());
        let text = serde_json::to_string(&packed).unwrap();
        assert_eq!(serde_json::from_str::<Packed<2>>(&text).unwrap(), packed);
        assert!(text.len() - 2 <= Packed::<2>::text_len(2));
        assert!(serde_json::from_str::<Packed<2>>("\"***\"").unwrap().is_empty(), "damaged");
    }

    #[test]
    fn names_with_one_hash_are_kept_both() {
        let both: Packed<1> = [([7; 8], [2]), ([7; 8], [1]), ([9; 8], [0])].into_iter().collect();
        assert_eq!(both.of([7; 8]), [([7; 8], [1]), ([7; 8], [2])]);
        assert_eq!((both.of([9; 8]).len(), both.of([8; 8]).len()), (1, 0));
    }

    #[test]
    fn numbers_of_six_bytes_read_back_and_larger_ones_stay_large() {
        for number in [0, 1, 1_800_000_000_123, (1 << 48) - 1] {
            assert_eq!(long(short(number)), number);
        }
        assert_eq!(long(short(u64::MAX)), (1 << 48) - 1);
        assert!(short(255) < short(256), "the order of bytes is that of numbers");
    }
}
