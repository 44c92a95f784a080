//! The tags of a secret or a parameter, as a value.

use rekey_core::store::RemoteValue;

use crate::json::object;

/// A tag as the services have it. A tag without a value has an empty one; one without a name is none.
pub(super) fn pair(key: Option<String>, value: Option<String>) -> Option<(String, String)> {
    Some((key?, value.unwrap_or_default()))
}

/// The tags as a JSON object. Their version is unknown: no service says reliably when they changed.
pub(super) fn value(tags: impl Iterator<Item = (String, String)>) -> RemoteValue {
    RemoteValue { bytes: object(&tags.collect()), version: String::new(), created: None }
}
