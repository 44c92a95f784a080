//! `immutability: Versioned`: each value is a Secret of its own, and a name is written once. A node may go on to serve the
//! old content of an immutable Secret that is made again under its name
//! ([ADR 011](../../../../docs/adr/011-the-current-version.md)).

use std::collections::BTreeSet;

use super::{ObjectVersion, PolicySpec, Seen, publish::Publishing};
use crate::{
    SpecError,
    chance::revision,
    published::{Changes, Published, order},
    workload::Workload,
};

/// Characters of a plain name at most: a hyphen and the revision follow, and a name has 253.
pub const LONGEST_BASE: usize = 242;

/// Tries for a name that nobody has. One is enough but for chance, or an attack on it.
const TRIES: usize = 8;

/// Which version a workload refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// The current one, and no other.
    Current,
    /// Another one of the policy's Secrets, of this name.
    Other(String),
}

impl PolicySpec {
    /// What a workload runs on follows from the name that it refers to, where each value has a name of its own. `None`: the
    /// policy has one Secret, moves references, or only names the workload. `current`: the Secret that is published now.
    #[must_use]
    pub fn reference(&self, current: &str, workload: &Workload) -> Option<Reference> {
        if !self.names.is_versioned() || self.moves_references() {
            return None;
        }
        let mut names = self.names.covered(&workload.uses).map(|(name, _)| name);
        match names.find(|name| *name != current) {
            Some(other) => Some(Reference::Other(other.clone())),
            None => workload.uses.contains_key(current).then_some(Reference::Current),
        }
    }

    /// Whether something later than what was found was seen before, where each value has a name of its own: that version has
    /// been deleted, and an earlier one is found in its place.
    #[must_use]
    pub fn has_lost(&self, last: Option<&Published>, found: &Published) -> bool {
        self.names.is_versioned() && last.is_some_and(|last| last.is_later_than(found))
    }

    /// Whether the policy's Secrets are immutable.
    #[must_use]
    pub fn is_immutable(&self) -> bool {
        self.locked || self.names.is_versioned()
    }
}

/// What the status says of a workload that refers to another version than the current one.
pub fn behind(other: &str, current: &str) -> String {
    format!(
        "refers to Secret {other}; write {current} there (status.secretName): with versions.references Publish Rekey \
         changes no workload"
    )
}

impl Seen {
    /// Name of the Secret that is published.
    #[must_use]
    pub fn secret_name(&self, policy: &PolicySpec) -> String {
        match self.secret.published() {
            Some(published) => policy.names.of_revision(&published.revision),
            None => policy.names.base().to_owned(),
        }
    }

    /// Whether the version that was published last is [lost](PolicySpec::has_lost).
    #[must_use]
    pub fn is_lost(&self, policy: &PolicySpec) -> bool {
        self.secret.published().is_some_and(|found| policy.has_lost(self.last.as_deref(), found))
    }
}

impl Publishing<'_> {
    /// The object that a write of this content is for; `None`: there must be none yet.
    pub(super) fn over(&self, published: &Published) -> Option<ObjectVersion> {
        let is_there = || self.seen.secret.published().is_some_and(|seen| seen.revision == published.revision);
        self.seen.over.clone().filter(|_| !self.policy.names.is_versioned() || is_there())
    }

    /// The record of a value that comes into a Secret that held another one: who has read that holds what it was.
    pub(super) fn over_another(&self, changes: Changes) -> Changes {
        match &self.seen.overwrites {
            Some(there) if there.digests != self.digests => {
                let mut next = there.changes.next(&there.revision, &there.digests, &self.digests, self.tools.now);
                next.publication = next.publication.max(changes.publication);
                self.issued(next)
            }
            Some(_) | None => changes,
        }
    }

    /// A version that is made now, under a name that nobody has.
    pub(super) fn placed(&self, mut published: Published) -> Published {
        let names = &self.policy.names;
        if !names.is_versioned() || self.over(&published).is_some() {
            return published;
        }
        let wanted = published.revision.clone();
        for _ in 0..TRIES {
            if !self.seen.taken.contains(&names.of_revision(&published.revision)) {
                break;
            }
            published.revision = revision(self.tools.chance);
        }
        // Another tool has taken the name of what was published: references have to leave it.
        if published.revision != wanted && self.seen.last.as_ref().is_some_and(|last| last.revision == wanted) {
            published.changes.previous = Some(wanted);
        }
        published
    }
}

/// Refuses a name that has no room for a revision.
pub fn fits(base: &str) -> Result<(), SpecError> {
    if base.len() <= LONGEST_BASE {
        return Ok(());
    }
    Err(SpecError::field(
        "spec.target.name",
        format!(
            "write at most {LONGEST_BASE} characters (default metadata.name): with immutability Versioned a hyphen and a \
             revision of 10 follow"
        ),
    ))
}

/// A version, as far as it matters to whether it may go.
#[derive(Clone, Debug)]
pub struct Version<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it says of itself.
    pub published: &'a Published,
}

/// The versions that may go, if nothing refers to them: all but `current` and the `keep` before it, the oldest first.
#[must_use]
pub fn superfluous<'a>(current: Option<&str>, keep: usize, mut all: Vec<Version<'a>>) -> Vec<&'a str> {
    all.retain(|version| Some(version.name) != current);
    all.sort_by(|one, other| order(other.published).cmp(&order(one.published)));
    all.iter().skip(keep).rev().map(|version| version.name).collect()
}

/// Those of them that nothing refers to.
#[must_use]
pub fn unused<'a>(superfluous: &[&'a str], referred: &BTreeSet<String>) -> Vec<&'a str> {
    superfluous.iter().copied().filter(|name| !referred.contains(*name)).collect()
}
