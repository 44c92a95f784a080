//! The answer to a read of a key's metadata.

use std::collections::BTreeMap;

use rekey_core::store::RemoteValue;
use serde::Deserialize;

use super::{Envelope, Malformed, parse};
use crate::json::object;

/// The fields that we use.
#[derive(Deserialize)]
pub(in crate::vault) struct Metadata {
    #[serde(rename = "custom_metadata")]
    custom: Option<BTreeMap<String, String>>,
    /// When the key was made.
    #[serde(default)]
    created_time: String,
    /// The number of writes of its metadata since then. `OpenBao` counts them; Vault does not.
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

    /// The custom metadata as a value. The count of writes starts again when a key is created again, so the version has
    /// the time of its creation, too. Without a count the version is empty, which means unknown: the time of the last
    /// update covers all parts of a key, and need not change with the metadata.
    pub(in crate::vault) fn value(&self) -> RemoteValue {
        let count = self.count.filter(|_| !self.created_time.is_empty());
        let version = count.map(|count| format!("{count} of {}", self.created_time));
        RemoteValue { bytes: object(self.entries()), version: version.unwrap_or_default(), created: None }
    }
}
