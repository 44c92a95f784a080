//! The versions of a Secret, where each value has one of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};

use super::Published;
use crate::time;

/// What decides which of two records is the later one: the number of the publication, then its time. Equal ones are ordered
/// somehow, and always alike.
#[must_use]
pub fn order(published: &Published) -> (u64, Option<DateTime<Utc>>, &str) {
    (published.changes.publication, time::parse(&published.changes.time), &published.revision)
}

/// The Secrets with the names of a policy's, as far as they are there.
#[derive(Clone, Debug, Default)]
pub struct Versions {
    /// What the policy's versions say of themselves, by name.
    pub ours: BTreeMap<String, Arc<Published>>,
    /// The same of copies of them that another tool has made, a backup for example, and whose content proves it. None is ever
    /// the current one, but references leave them.
    pub backups: BTreeMap<String, Arc<Published>>,
    /// What the Secret with the plain name says of itself, where the policy is locked.
    pub locked: Option<Arc<Published>>,
    /// Names that are none of its Secrets, whatever they look like: references to them are nobody's to move.
    pub others: BTreeSet<String>,
}
