//! The names of the Secrets that a policy publishes. Code that has to know whether a Secret is the policy's asks here,
//! and compares no names itself.

use std::{collections::BTreeMap, iter, ops::Bound};

use rekey_api::{
    SecretPolicy, SecretPolicySpec,
    policy::{Immutability, VersionReferences},
};

use crate::chance::is_revision;

/// Which names a policy's Secrets have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretNames {
    /// `spec.target.name`, or the name of the policy.
    base: Box<str>,
    /// Whether a new value comes under a new name, not under the same one.
    versioned: bool,
}

impl SecretNames {
    /// Those of a policy, whether its spec is valid or not.
    #[must_use]
    pub fn of(policy: &SecretPolicy) -> Self {
        let base = policy.spec.target.name.as_deref().or(policy.metadata.name.as_deref()).unwrap_or_default();
        Self { base: base.into(), versioned: is_versioned(&policy.spec) }
    }

    /// The plain name: that of the Secret under `None` and `Locked`, and what the names of versions start with. Digests and
    /// seeds are bound to it, so that equal bytes have equal digests in every version.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Whether a new value comes under a new name.
    #[must_use]
    pub fn is_versioned(&self) -> bool {
        self.versioned
    }

    /// The name of the Secret that holds this revision.
    #[must_use]
    pub fn of_revision(&self, revision: &str) -> String {
        if self.is_versioned() { self.version(revision) } else { self.base.to_string() }
    }

    /// The name of the version, or of the private copy, that holds this revision.
    #[must_use]
    pub fn version(&self, revision: &str) -> String {
        format!("{}-{revision}", self.base)
    }

    /// What the names of versions start with, whether the policy makes any now or made them before.
    #[must_use]
    pub fn version_prefix(&self) -> String {
        format!("{}-", self.base)
    }

    /// The revision in the name of a version.
    #[must_use]
    pub fn revision_in<'a>(&self, name: &'a str) -> Option<&'a str> {
        let revision = name.strip_prefix(&*self.base)?.strip_prefix('-')?;
        is_revision(revision).then_some(revision)
    }

    /// Whether a Secret of this name is one of the policy's.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        if self.versioned { Self::bases(name).any(|base| *base == *self.base) } else { *name == *self.base }
    }

    /// The entries whose names are covered, in order.
    pub fn covered<'a, T>(&self, by_name: &'a BTreeMap<String, T>) -> impl Iterator<Item = (&'a String, &'a T)> {
        // Every covered name starts with the base: the others are not looked at.
        let from_there = by_name.range::<str, _>((Bound::Included(&*self.base), Bound::Unbounded));
        from_there.take_while(|(name, _)| name.starts_with(&*self.base)).filter(|(name, _)| self.covers(name))
    }

    /// The plain names of the policies that may have published a Secret of this name: its own, and the part before the
    /// revision of a version (`<base>-<revision>`).
    pub fn bases(name: &str) -> impl Iterator<Item = &str> {
        let versioned = name.rsplit_once('-').filter(|(_, revision)| is_revision(revision)).map(|(base, _)| base);
        iter::once(name).chain(versioned)
    }
}

/// What is locked changes its name, too, where references can follow.
fn is_versioned(spec: &SecretPolicySpec) -> bool {
    let moves = || spec.versions.as_ref().is_some_and(|at| at.references == Some(VersionReferences::Move));
    match spec.immutability {
        Immutability::None => false,
        Immutability::Locked => moves(),
        Immutability::Versioned => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names(target: Option<&str>, immutability: &str) -> SecretNames {
        let policy = json!({
            "metadata": {"name": "orders", "namespace": "shop"},
            "spec": {"source": {"existing": {}}, "target": {"name": target}, "immutability": immutability},
        });
        SecretNames::of(&serde_json::from_value(policy).unwrap())
    }

    #[test]
    fn the_base_is_the_name_of_the_target_or_of_the_policy() {
        assert_eq!(names(None, "None").base(), "orders");
        assert_eq!(names(Some("db"), "Locked").base(), "db");
    }

    #[test]
    fn only_a_version_has_its_revision_in_its_name() {
        for (immutability, name) in [("None", "db"), ("Locked", "db"), ("Versioned", "db-k4v9x2m7qz")] {
            assert_eq!(names(Some("db"), immutability).of_revision("k4v9x2m7qz"), name);
        }
        let names = names(Some("db"), "None");
        assert_eq!(names.revision_in("db-k4v9x2m7qz"), Some("k4v9x2m7qz"), "also when the mode is another one by now");
        for other in ["db", "db-", "db-replica", "db2-k4v9x2m7qz", "db-eu-k4v9x2m7qz"] {
            assert_eq!(names.revision_in(other), None, "{other}");
        }
    }

    #[test]
    fn a_secret_is_covered_by_its_name_or_as_a_version_of_it() {
        for (immutability, name, covers) in [
            ("None", "db", true),
            ("Locked", "db", true),
            ("Versioned", "db", true),
            ("None", "db-k4v9x2m7qz", false),
            ("Locked", "db-k4v9x2m7qz", false),
            ("Versioned", "db-k4v9x2m7qz", true),
            ("Versioned", "db-k4v9x2m7q", false),
            ("Versioned", "db-replica-user", false),
            ("Versioned", "dbk4v9x2m7qz", false),
            ("Versioned", "other-k4v9x2m7qz", false),
            ("None", "", false),
        ] {
            assert_eq!(names(Some("db"), immutability).covers(name), covers, "{immutability} {name}");
        }
    }

    #[test]
    fn what_is_covered_is_found_among_many() {
        let all = ["d", "db", "db-k4v9x2m7qz", "db-replica", "db2", "e"].map(|name| (name.to_owned(), name.len()));
        let found = |immutability: &str| {
            let (names, all) = (names(Some("db"), immutability), BTreeMap::from(all.clone()));
            names.covered(&all).map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(found("None"), ["db"]);
        assert_eq!(found("Versioned"), ["db", "db-k4v9x2m7qz"]);
        assert_eq!(SecretNames::bases("db-k4v9x2m7qz").collect::<Vec<_>>(), ["db-k4v9x2m7qz", "db"]);
        assert_eq!(SecretNames::bases("db-replica").collect::<Vec<_>>(), ["db-replica"]);
    }
}
