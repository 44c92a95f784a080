//! The durable record of an open rotation, and how the store's value relates to it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rekey_api::names;
use serde_json::value::to_raw_value;

use super::Plan;
use crate::{SecretBytes, SpecError, digest::DigestKey, render::json, store::RemoteValue};

/// A rotation's pending Secret: private, immutable, and the only place of the new value until the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The rotation it belongs to.
    pub id: String,
    /// The store and key that the values are meant for, as [`Plan::target`].
    pub target: String,
    /// The store's version when the rotation began; `None`: the key did not exist.
    pub base: Option<String>,
    /// Digest of the rotated properties when the rotation began.
    pub base_digest: String,
    /// The new values.
    pub values: BTreeMap<String, SecretBytes>,
}

impl Pending {
    /// Its name, which follows from the rotation's id: making it twice makes one.
    #[must_use]
    pub fn name(id: &str) -> String {
        format!("rekey-pending-{id}")
    }

    /// Reads it back; `None` when it is not one of ours.
    #[must_use]
    pub fn read(metadata: &ObjectMeta, data: BTreeMap<String, SecretBytes>) -> Option<Self> {
        let annotation = |name: &str| metadata.annotations.as_ref()?.get(name).cloned();
        Some(Self {
            name: metadata.name.clone()?,
            uid: metadata.uid.clone()?,
            id: annotation(names::ROTATION)?,
            target: annotation(names::WRITES_TO)?,
            base: annotation(names::BASE_VERSION).filter(|version| !version.is_empty()),
            base_digest: annotation(names::BASE_DIGESTS)?,
            values: data,
        })
    }
}

/// What the store holds, against a pending rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// The rotated properties are as they were at the start; the value may have moved on beside them.
    Before {
        /// The current version, `None` when the key does not exist.
        version: Option<String>,
    },
    /// The rotated properties are the new ones.
    Ours {
        /// The version that holds them.
        version: String,
    },
    /// Somebody else changed or deleted the rotated properties.
    Foreign,
    /// The schedule writes elsewhere by now: what the rotation began with says nothing about that place.
    Elsewhere,
}

/// Relates a fresh read to the pending rotation. Which properties are rotated stands in the pending Secret, so that a
/// spec that changes meanwhile does not make our own value a foreign one.
///
/// # Errors
/// When the stored value is no JSON object.
pub fn stored(
    plan: &Plan,
    pending: &Pending,
    read: Option<&RemoteValue>,
    key: &DigestKey,
) -> Result<Stored, SpecError> {
    if pending.target != plan.target() {
        return Ok(Stored::Elsewhere);
    }
    let version = read.map(|read| read.version.clone());
    let present = rotated(plan, pending.values.keys(), read)?;
    Ok(match version {
        Some(version) if present == pending.values => Stored::Ours { version },
        // The same version has the same content, also when the digest key was lost meanwhile.
        version if version == pending.base || digest(plan, &present, key) == pending.base_digest => {
            Stored::Before { version }
        }
        _ => Stored::Foreign,
    })
}

/// Whether a property that is to be rotated does not exist yet.
///
/// # Errors
/// When the stored value is no JSON object.
pub fn lacks(plan: &Plan, read: Option<&RemoteValue>) -> Result<bool, SpecError> {
    Ok(rotated(plan, plan.recipes.keys(), read)?.len() < plan.recipes.len())
}

/// Digest of the rotated properties of a stored value.
///
/// # Errors
/// When the stored value is no JSON object.
pub fn base_digest(plan: &Plan, read: Option<&RemoteValue>, key: &DigestKey) -> Result<String, SpecError> {
    Ok(digest(plan, &rotated(plan, plan.recipes.keys(), read)?, key))
}

/// The whole new value: the stored object with the rotated properties replaced.
///
/// # Errors
/// When the stored value is no JSON object.
pub fn merge(plan: &Plan, pending: &Pending, read: Option<&RemoteValue>) -> Result<SecretBytes, SpecError> {
    let mut object = match read {
        Some(read) => json::object(&read.bytes, &plan.key)?,
        None => json::Object::new(),
    };
    let text = |error: serde_json::Error| SpecError::field("spec.rotator", error.to_string()); // text always has a JSON form
    for (name, value) in &pending.values {
        object.insert(name.clone(), to_raw_value(value.expose_text().unwrap_or_default()).map_err(text)?);
    }
    serde_json::to_string(&object).map(SecretBytes::from).map_err(text)
}

fn rotated<'a>(
    plan: &Plan,
    properties: impl Iterator<Item = &'a String>,
    read: Option<&RemoteValue>,
) -> Result<BTreeMap<String, SecretBytes>, SpecError> {
    let Some(read) = read else {
        return Ok(BTreeMap::new());
    };
    let object = json::object(&read.bytes, &plan.key)?;
    Ok(properties.filter_map(|name| Some((name.clone(), json::text(object.get(name)?)))).collect())
}

fn digest(plan: &Plan, values: &BTreeMap<String, SecretBytes>, key: &DigestKey) -> String {
    let digests = key.of_secret(&plan.namespace, &format!("rotation/{}", plan.key), values);
    digests.to_string()
}
