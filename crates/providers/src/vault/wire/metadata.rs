//! The answer to a read of a key's metadata.

use std::collections::BTreeMap;

use rekey_core::store::RemoteValue;
use serde::Deserialize;

use super::{Envelope, Malformed, parse};
use crate::json::object;

/// What we take of it.
#[derive(Deserialize)]
pub(in crate::vault) struct Metadata {
    #[serde(rename = "custom_metadata")]
    custom: Option<BTreeMap<String, String>>,
    /// When the key was made.
    #[serde(default)]
    created_time: String,
    /// How often its metadata was written since then. `OpenBao` counts that; Vault does not.
    #[serde(rename = "current_metadata_version")]
    count: Option<u64>,
}

/// Reads the answer.
pub(in crate::vault) fn read(body: &[u8]) -> Result<Metadata, Malformed> {
    parse::<Envelope<Metadata>>(body).map(|answer| answer.data)
}

impl Metadata {
    /// The custom metadata.
    pub(in crate::vault) fn entries(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.custom.as_ref().unwrap_or(&NONE)
    }

    /// The custom metadata as a value. The count of writes begins anew with each key of a name, so that is named, too. Without
    /// a count the version is empty, which is taken for an unknown one: the time of the last update is of all that is kept of
    /// a key, and no promise that it changes with this.
    pub(in crate::vault) fn value(&self) -> RemoteValue {
        let count = self.count.filter(|_| !self.created_time.is_empty());
        let version = count.map(|count| format!("{count} of {}", self.created_time));
        RemoteValue { bytes: object(self.entries()), version: version.unwrap_or_default(), created: None }
    }
}
