//! The rotation that waits for a policy to publish its values.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::{Fetched, PolicySpec, Request};
use crate::{
    digest::DigestKey,
    published::{Published, Rotated},
    render::json,
    rotation_proof::{Destination, Publication},
    store::{Locator, Pin},
};

/// A rotation whose new value is in the store and waits to be published, as its schedule's status has it. That status
/// decides only what is read: the schedule believes the record on the Secret alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenRotation {
    /// Its id.
    pub id: String,
    /// Where its values are.
    pub from: Destination,
    /// The properties that are rotated.
    pub properties: BTreeSet<String>,
    /// Keyed digest of their new values.
    pub digest: String,
    /// When its step started.
    pub since: Option<DateTime<Utc>>,
}

impl OpenRotation {
    /// Whether what is published was made from its values.
    #[must_use]
    pub fn is_published(&self, published: Option<&Published>) -> bool {
        let recorded = published.and_then(|published| published.changes.rotation.as_ref());
        recorded.is_some_and(|recorded| recorded.id == self.id && recorded.digest == self.digest)
    }

    pub(super) fn is_read_by(&self, request: &Request) -> bool {
        let Locator { key, pin } = &request.locator;
        request.store == self.from.store && *key == self.from.key && *pin == Pin::Current
    }

    /// The record of a publication of what was read, if that has the new values.
    pub(super) fn found(&self, policy: &PolicySpec, fetched: &Fetched, key: &DigestKey) -> Option<Rotated> {
        let (_, read) = fetched.values.iter().find(|(request, _)| self.is_read_by(request))?;
        let values = json::texts(&read.bytes, &self.from.key, self.properties.iter()).ok()?;
        let place = Publication { namespace: &policy.namespace, target: &self.from.to_string(), id: &self.id };
        Some(place.record(&values, key)).filter(|record| record.digest == self.digest)
    }
}
