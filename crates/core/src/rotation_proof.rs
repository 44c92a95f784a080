//! What proves that a pending Secret, or what a policy has published, is of one rotation and no other: digests with the
//! installation's own key, over everything that it is about.

use std::{collections::BTreeMap, fmt};

use rekey_api::reference::StoreRef;

use crate::{SecretBytes, digest::DigestKey, published::Rotated};

/// No namespace has such a name: the digests of a Secret's keys, which start with theirs, never equal one of these.
const PENDING: &str = "rekey.dev/pending";
const PUBLISHED: &str = "rekey.dev/rotation";

/// Where new values are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The store.
    pub store: StoreRef,
    /// Remote key.
    pub key: String,
}

/// As proofs and pending Secrets name it.
impl fmt::Display for Destination {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{} {}", self.store.kind.as_str(), self.store.name, self.key)
    }
}

/// What a pending Secret says of itself, beside its values.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Uid of the schedule.
    pub uid: &'a str,
    /// The rotation.
    pub id: &'a str,
    /// The store and key that it is meant for, as the text of its [`Destination`].
    pub target: &'a str,
    /// The store's version when the rotation started; empty: none.
    pub base: &'a str,
    /// Digest of the rotated properties when the rotation started.
    pub base_digest: &'a str,
    /// The users of a database when the rotation started, as text; empty: it is none of a database.
    pub users: &'a str,
}

impl Claim<'_> {
    /// The proof of a pending Secret with these values.
    #[must_use]
    pub fn proof(&self, values: &BTreeMap<String, SecretBytes>, key: &DigestKey) -> String {
        let Self { namespace, uid, id, target, base, base_digest, users } = *self;
        let context = [PENDING, namespace, uid, id, target, base, base_digest];
        // Without users it is the proof of the versions that knew none: an upgrade meets pending Secrets of theirs, a way back
        // those of this one. Names and values are pairs, so one more part never reads as one of them.
        let users = (!users.is_empty()).then_some(users);
        key.of(&context.into_iter().chain(users).collect::<Vec<_>>(), &encoded(values))
    }
}

/// The values of a rotation, wherever they are found: in its pending Secret, or in the store when a policy publishes.
#[derive(Clone, Copy, Debug)]
pub struct Publication<'a> {
    /// The namespace of schedule and policy.
    pub namespace: &'a str,
    /// The store and key, as the text of its [`Destination`].
    pub target: &'a str,
    /// The rotation.
    pub id: &'a str,
}

impl Publication<'_> {
    /// The record of a publication of these values.
    #[must_use]
    pub fn record(&self, values: &BTreeMap<String, SecretBytes>, key: &DigestKey) -> Rotated {
        let digest = key.of(&[PUBLISHED, self.namespace, self.target, self.id], &encoded(values));
        Rotated { id: self.id.to_owned(), digest }
    }
}

/// Names and values with their lengths, so that no two sets of them are written alike.
fn encoded(values: &BTreeMap<String, SecretBytes>) -> SecretBytes {
    let parts = || values.iter().flat_map(|(name, value)| [name.as_bytes(), value.expose()]);
    // In one piece: a buffer that grows would leave copies of values behind.
    let mut bytes = Vec::with_capacity(parts().map(|part| part.len() + 8).sum());
    for part in parts() {
        bytes.extend((part.len() as u64).to_be_bytes());
        bytes.extend(part);
    }
    SecretBytes::new(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, SecretBytes> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), SecretBytes::from(*value))).collect()
    }

    #[test]
    fn a_proof_is_of_one_rotation_its_base_and_its_values() {
        let key = DigestKey::new(SecretBytes::from("k"));
        let claim = Claim { namespace: "shop", uid: "u", id: "i", target: "t", base: "1", base_digest: "d", users: "" };
        let ours = values(&[("password", "new")]);
        let proof = claim.proof(&ours, &key);
        assert_eq!(proof, claim.proof(&ours, &key));
        for (what, other) in [
            ("namespace", Claim { namespace: "prod", ..claim }),
            ("schedule", Claim { uid: "v", ..claim }),
            ("rotation", Claim { id: "j", ..claim }),
            ("target", Claim { target: "s", ..claim }),
            ("base", Claim { base: "2", ..claim }),
            ("digest of the base", Claim { base_digest: "e", ..claim }),
            ("users", Claim { users: "a", ..claim }),
            ("parts of another length", Claim { base: "", base_digest: "1d", ..claim }),
        ] {
            assert_ne!(other.proof(&ours, &key), proof, "{what}");
        }
        for (what, other) in [
            ("another value", values(&[("password", "theirs")])),
            ("another name", values(&[("host", "new")])),
            ("one more", values(&[("password", "new"), ("host", "h")])),
            ("none", values(&[])),
        ] {
            assert_ne!(claim.proof(&other, &key), proof, "{what}");
        }
        assert_ne!(claim.proof(&ours, &DigestKey::new(SecretBytes::from("another"))), proof);
    }

    /// The digest is made by another implementation of HMAC.
    #[test]
    fn pending_secrets_of_versions_that_knew_no_users_are_proven_and_they_prove_ours() {
        let key = DigestKey::new(SecretBytes::from("k"));
        let claim = Claim { namespace: "shop", uid: "u", id: "i", target: "t", base: "1", base_digest: "d", users: "" };
        assert_eq!(claim.proof(&values(&[("password", "new")]), &key), "3f1d4ae75fc8c0180754b92a6b5fadbe");
        // The same parts in the same order, but never the same proof.
        let of_users = Claim { users: "password", ..claim };
        assert_ne!(of_users.proof(&values(&[("new", "")]), &key), claim.proof(&values(&[("password", "new")]), &key));
    }

    #[test]
    fn names_and_values_do_not_run_into_one_another() {
        let key = DigestKey::new(SecretBytes::from("k"));
        let at = Publication { namespace: "shop", target: "t", id: "i" };
        let record = |pairs: &[(&str, &str)]| at.record(&values(pairs), &key);
        assert_ne!(record(&[("a", "bc")]), record(&[("ab", "c")]));
        assert_ne!(record(&[("a", ""), ("b", "")]), record(&[("a", "b")]));
        assert_eq!(record(&[("a", "b")]).id, "i");
        assert_ne!(
            Publication { id: "j", ..at }.record(&values(&[("a", "b")]), &key).digest,
            record(&[("a", "b")]).digest
        );
    }
}
