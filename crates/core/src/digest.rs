//! Digests that can be published without revealing anything about the values (security rule X10).

use std::{borrow::Cow, collections::BTreeMap, fmt::Write as _};

use hmac::{Hmac, KeyInit as _, Mac as _};
use litemap::LiteMap;
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::{
    SecretBytes,
    packed::{self, NAMED, Packed},
    workload::Keys,
};

/// The installation's own key; without it nobody can test guesses against the digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestKey {
    key: SecretBytes,
    id: String,
}

/// What the annotation `rekey.dev/digests` holds: the id of the key they were made with, and one digest per data key.
/// Two are equal when they mean the same, in either form.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Digests {
    /// Id of the digest key. Digests made with different keys say nothing about each other.
    #[serde(rename = "by")]
    pub key_id: String,
    of: Of,
}

/// Digests by data key. Few and short keys are there by name, which is easy to read and to look up; many or long ones
/// would outgrow an annotation, so each takes the same space whatever its length.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Of {
    Named(#[serde(serialize_with = "as_map")] LiteMap<String, String>),
    Packed(Packed<DIGEST>),
}

/// Bytes of a digest. An attacker would need 2^64 published values to find two of one key with the same digest, and
/// only the operator makes digests.
const DIGEST: usize = 16;
/// The most characters that digests take by name. The annotations also hold the times of changes, which take about as
/// much, and those of other tools.
const BY_NAME: usize = 16 * 1024;

impl Default for Of {
    fn default() -> Self {
        Self::Named(LiteMap::new())
    }
}

impl PartialEq for Digests {
    fn eq(&self, other: &Self) -> bool {
        self.key_id == other.key_id
            && match (&self.of, &other.of) {
                (Of::Named(mine), Of::Named(other)) => mine == other,
                (Of::Packed(_), _) | (_, Of::Packed(_)) => self.packed() == other.packed(),
            }
    }
}

impl Eq for Digests {}

/// An empty `LiteMap` would become a list: <https://docs.rs/litemap/0.8/litemap/struct.LiteMap.html> also has keys that no
/// JSON object can have.
fn as_map<S: Serializer>(map: &LiteMap<String, String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(map.iter())
}

impl DigestKey {
    /// A digest key of 32 random bytes.
    #[must_use]
    pub fn new(key: SecretBytes) -> Self {
        let id = hex(&Sha256::digest([b"rekey.dev/digest-key-id\0".as_slice(), key.expose()].concat()), 4);
        Self { key, id }
    }

    /// A short public name of the key, which shows digests of another key.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Digests of every key of a Secret. They are bound to namespace, Secret and key: equal values elsewhere have
    /// other digests.
    #[must_use]
    pub fn of_secret(&self, namespace: &str, name: &str, data: &BTreeMap<String, SecretBytes>) -> Digests {
        let digest = |key: &String, value: &SecretBytes| self.derive(&[namespace, name, key], value);
        let by_name: usize = data.keys().map(|key| key.len() + 2 * DIGEST + r#""":"","#.len()).sum();
        let of = if by_name <= BY_NAME {
            Of::Named(data.iter().map(|(key, value)| (key.clone(), hex(&digest(key, value), DIGEST))).collect())
        } else {
            Of::Packed(data.iter().map(|(key, value)| (packed::hash(key), first(digest(key, value)))).collect())
        };
        Digests { key_id: self.id.clone(), of }
    }

    /// Digest of one value in a named context: HMAC-SHA-256 (RFC 2104), the first 16 bytes as hexadecimal text.
    #[must_use]
    pub fn of(&self, context: &[&str], value: &SecretBytes) -> String {
        hex(&self.derive(context, value), DIGEST)
    }

    /// Bytes that follow from a value in a named context, and that nobody can compute without the key.
    #[must_use]
    pub fn derive(&self, context: &[&str], value: &SecretBytes) -> [u8; 32] {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.key.expose()) else {
            return [0; 32]; // HMAC takes keys of any length
        };
        for part in context {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac.update(value.expose());
        mac.finalize().into_bytes().into()
    }
}

impl Digests {
    /// Of no keys, made with the same digest key.
    #[must_use]
    pub fn none(&self) -> Self {
        Self { key_id: self.key_id.clone(), of: Of::default() }
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.of {
            Of::Named(by_key) => by_key.len(),
            Of::Packed(packed) => packed.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is a digest of this key.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.shown(key).next().is_some()
    }

    /// Whether this key differs: another value, or only one of the two has it.
    #[must_use]
    pub fn differs(&self, other: &Self, key: &str) -> bool {
        self.shown(key).ne(other.shown(key))
    }

    /// The keys by name, in the form with names.
    #[must_use]
    pub fn named(&self) -> Option<impl Iterator<Item = &String>> {
        match &self.of {
            Of::Named(by_key) => Some(by_key.keys()),
            Of::Packed(_) => None,
        }
    }

    /// In the form that does not depend on the length of names.
    #[must_use]
    pub(crate) fn packed(&self) -> Cow<'_, Packed<DIGEST>> {
        match &self.of {
            Of::Named(by_key) => {
                Cow::Owned(by_key.iter().map(|(key, digest)| (packed::hash(key), bytes(digest))).collect())
            }
            Of::Packed(packed) => Cow::Borrowed(packed),
        }
    }

    /// The digest of a key as text, more than one if another key has the same hash.
    fn shown(&self, key: &str) -> impl Iterator<Item = Cow<'_, str>> {
        let (named, packed): (Option<&String>, &[_]) = match &self.of {
            Of::Named(by_key) => (by_key.get(key), &[]),
            Of::Packed(packed) => (None, packed.of(packed::hash(key))),
        };
        let packed = packed.iter().map(|(_, digest)| Cow::Owned(hex(digest, DIGEST)));
        named.map(|digest| Cow::Borrowed(digest.as_str())).into_iter().chain(packed)
    }

    /// One digest for what a workload consumes since `changed`: the named keys, or all of them. Keys that do not exist count as
    /// absent, so that their appearance is a change. For named keys it does not depend on the form.
    #[must_use]
    pub fn consumed(&self, keys: &Keys, changed: i64) -> String {
        let mut hash = Sha256::new();
        hash.update(changed.to_be_bytes());
        let mut add = |key: &[u8], digest: &[u8]| [key, &[0], digest, &[0]].iter().for_each(|part| hash.update(part));
        match (keys, &self.of) {
            (Keys::Some(wanted), _) => {
                for key in wanted {
                    self.shown(key).for_each(|digest| add(key.as_bytes(), digest.as_bytes()));
                }
            }
            (Keys::All, Of::Named(by_key)) => {
                by_key.iter().for_each(|(key, digest)| add(key.as_bytes(), digest.as_bytes()));
            }
            (Keys::All, Of::Packed(packed)) => packed.iter().for_each(|(key, digest)| add(key, digest)),
        }
        format!("{}.{}", self.key_id, hex(&hash.finalize(), 8))
    }

    /// Whether both were made with the same key, so that a difference means a difference of values.
    #[must_use]
    pub fn comparable(&self, other: &Self) -> bool {
        self.key_id == other.key_id
    }

    /// Reads the annotation; `None` when it is absent or not ours.
    #[must_use]
    pub fn parse(annotation: Option<&str>) -> Option<Self> {
        let read: Self = serde_json::from_str(annotation?).ok()?;
        let is_ours = match &read.of {
            Of::Named(digests) => digests.len() <= NAMED,
            Of::Packed(_) => true,
        };
        is_ours.then_some(read)
    }
}

impl std::fmt::Display for Digests {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&serde_json::to_string(self).unwrap_or_default())
    }
}

fn first(bytes: [u8; 32]) -> [u8; DIGEST] {
    let mut first = [0; DIGEST];
    first.copy_from_slice(&bytes[..DIGEST]);
    first
}

/// Reads [`hex`] back. Other text equals no digest.
fn bytes(digest: &str) -> [u8; DIGEST] {
    let read = u128::from_str_radix(digest, 16).ok().filter(|_| digest.len() == 2 * DIGEST);
    read.map_or_else(|| first(Sha256::digest(digest).into()), u128::to_be_bytes)
}

fn hex(bytes: &[u8], take: usize) -> String {
    let mut text = String::with_capacity(take * 2);
    for byte in bytes.iter().take(take) {
        write!(text, "{byte:02x}").ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(pairs: &[(&str, &str)]) -> BTreeMap<String, SecretBytes> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), SecretBytes::from(*value))).collect()
    }

    #[test]
    fn equal_values_have_unequal_digests_elsewhere() {
        let key = DigestKey::new(SecretBytes::from("0123456789abcdef0123456789abcdef"));
        let a = key.of_secret("shop", "db", &data(&[("a", "x"), ("b", "x")]));
        let b = key.of_secret("shop", "other", &data(&[("a", "x")]));
        let shown = |digests: &Digests, key: &str| digests.shown(key).map(Cow::into_owned).collect::<Vec<_>>();
        assert_ne!(shown(&a, "a"), shown(&a, "b"));
        assert!(a.differs(&b, "a") && !shown(&a, "a").is_empty());
        assert_eq!(a, key.of_secret("shop", "db", &data(&[("a", "x"), ("b", "x")])));
    }

    #[test]
    fn what_is_published_of_no_keys_is_an_object_too() {
        let empty = DigestKey::new(SecretBytes::from("k")).of_secret("shop", "db", &data(&[]));
        assert!(empty.to_string().ends_with(r#""of":{}}"#), "{empty}");
        assert_eq!(Digests::parse(Some(&empty.to_string())), Some(empty));
    }

    #[test]
    fn a_workload_sees_only_the_keys_it_consumes() {
        let key = DigestKey::new(SecretBytes::from("k"));
        let before = key.of_secret("shop", "db", &data(&[("a", "1"), ("b", "1")]));
        let after = key.of_secret("shop", "db", &data(&[("a", "1"), ("b", "2")]));
        let only_a = Keys::Some(["a".to_owned()].into());
        assert_eq!(before.consumed(&only_a, 0), after.consumed(&only_a, 0));
        assert_ne!(before.consumed(&only_a, 0), before.consumed(&only_a, 1), "the same value after another one");
        assert_ne!(before.consumed(&Keys::All, 0), after.consumed(&Keys::All, 0));
    }

    #[test]
    fn the_annotation_reads_back_and_names_its_key() {
        let digests = DigestKey::new(SecretBytes::from("k")).of_secret("shop", "db", &data(&[("a", "1")]));
        assert_eq!(Digests::parse(Some(&digests.to_string())), Some(digests.clone()));
        let other = DigestKey::new(SecretBytes::from("other")).of_secret("shop", "db", &data(&[("a", "1")]));
        assert!(!digests.comparable(&other));
        assert_eq!(Digests::parse(Some("{")), None);
    }

    /// Enough keys to be packed, with this value each but for the first.
    fn many(first: &str) -> BTreeMap<String, SecretBytes> {
        let key = |number: usize| format!("{number:0100}");
        let mut many: BTreeMap<_, _> = (0..1_000).map(|number| (key(number), SecretBytes::from("x"))).collect();
        many.insert(key(0), SecretBytes::from(first));
        many
    }

    #[test]
    fn many_keys_take_the_same_room_however_long_they_are() {
        let key = DigestKey::new(SecretBytes::from("k"));
        let digests = key.of_secret("shop", "db", &many("x"));
        assert!(digests.named().is_none() && digests.len() == 1_000);
        assert_eq!(digests.to_string().len(), r#"{"by":"7c7d0065","of":""}"#.len() + 32_000);
        assert_eq!(Digests::parse(Some(&digests.to_string())), Some(digests.clone()));
        let changed = key.of_secret("shop", "db", &many("y"));
        let (first, second) = (format!("{:0100}", 0), format!("{:0100}", 1));
        assert!(digests.contains(&first) && !digests.contains("0"));
        assert!(digests.differs(&changed, &first) && !digests.differs(&changed, &second));
        let of = |digests: &Digests, keys: &[&String]| {
            digests.consumed(&Keys::Some(keys.iter().map(|key| (*key).clone()).collect()), 7)
        };
        assert_eq!(of(&digests, &[&second]), of(&changed, &[&second]));
        assert_ne!(of(&digests, &[&first]), of(&changed, &[&first]));
        assert_ne!(digests.consumed(&Keys::All, 7), changed.consumed(&Keys::All, 7));
    }

    #[test]
    fn both_forms_say_the_same() {
        let key = DigestKey::new(SecretBytes::from("k"));
        let packed = key.of_secret("shop", "db", &many("x"));
        let by_key =
            many("x").iter().map(|(name, value)| (name.clone(), key.of(&["shop", "db", name], value))).collect();
        let named = Digests { key_id: key.id().to_owned(), of: Of::Named(by_key) };
        assert_eq!(named, packed);
        assert_ne!(named, key.of_secret("shop", "db", &many("y")));
        let second = Keys::Some([format!("{:0100}", 1)].into());
        assert_eq!(named.consumed(&second, 7), packed.consumed(&second, 7), "consumers of named keys do not restart");
        let damaged =
            Digests { of: Of::Named([("a".to_owned(), "no digest".to_owned())].into_iter().collect()), ..named };
        assert_ne!(damaged, packed);
    }
}
