//! Digests that can be published without telling anything about the values (security rule X10).

use std::{collections::BTreeMap, fmt::Write as _};

use hmac::{Hmac, KeyInit as _, Mac as _};
use litemap::LiteMap;
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::SecretBytes;

/// The installation's own key; digests made with it cannot be guessed at from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestKey {
    key: SecretBytes,
    id: String,
}

/// What the annotation `rekey.dev/digests` holds: the id of the key they were made with, and one digest per data key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digests {
    /// Id of the digest key. Digests made with different keys say nothing about each other.
    #[serde(rename = "by")]
    pub key_id: String,
    /// Digest by data key.
    #[serde(rename = "of", serialize_with = "as_map")]
    pub by_key: LiteMap<String, String>,
}

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

    /// A short public name of the key, so that digests of another key are recognised.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Digests of every key of a Secret. They are bound to namespace, Secret and key: equal values elsewhere have
    /// other digests.
    #[must_use]
    pub fn of_secret(&self, namespace: &str, name: &str, data: &BTreeMap<String, SecretBytes>) -> Digests {
        let by_key = data.iter().map(|(key, value)| (key.clone(), self.of(&[namespace, name, key], value))).collect();
        Digests { key_id: self.id.clone(), by_key }
    }

    /// Digest of one value in a named context: HMAC-SHA-256 (RFC 2104), the first 16 bytes as hexadecimal text.
    #[must_use]
    pub fn of(&self, context: &[&str], value: &SecretBytes) -> String {
        hex(&self.derive(context, value), 16)
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
    /// One digest for what a workload consumes since `changed`: the named keys, or all of them. Keys that do not exist count as
    /// absent, so that their appearance is a change.
    #[must_use]
    pub fn consumed(&self, keys: &crate::workload::Keys, changed: i64) -> String {
        let mut hash = Sha256::new();
        hash.update(changed.to_be_bytes());
        for (key, digest) in self.by_key.iter().filter(|(key, _)| keys.contains(key)) {
            hash.update(key.as_bytes());
            hash.update([0]);
            hash.update(digest.as_bytes());
            hash.update([0]);
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
        serde_json::from_str(annotation?).ok()
    }
}

impl std::fmt::Display for Digests {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&serde_json::to_string(self).unwrap_or_default())
    }
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
    use crate::workload::Keys;

    fn data(pairs: &[(&str, &str)]) -> BTreeMap<String, SecretBytes> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), SecretBytes::from(*value))).collect()
    }

    #[test]
    fn equal_values_have_unequal_digests_elsewhere() {
        let key = DigestKey::new(SecretBytes::from("0123456789abcdef0123456789abcdef"));
        let a = key.of_secret("shop", "db", &data(&[("a", "x"), ("b", "x")]));
        let b = key.of_secret("shop", "other", &data(&[("a", "x")]));
        assert_ne!(a.by_key.get("a"), a.by_key.get("b"));
        assert_ne!(a.by_key.get("a"), b.by_key.get("a"));
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
}
