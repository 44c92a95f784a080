//! The durable record of an open rotation, and how the store's value relates to it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rekey_api::names;

use super::Task;
use crate::{
    SecretBytes, SpecError,
    digest::DigestKey,
    published::Rotated,
    render::json,
    rotation_proof::{self, Claim},
    rotator::{Stage, Values, database::Fence, users::Base},
    store::RemoteValue,
    time,
};

/// A rotation's pending Secret: private, immutable, and the only place of the new value until the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The rotation it belongs to.
    pub id: String,
    /// The store and key that the values are meant for, as the text of [`Task::to`].
    pub target: String,
    /// The store's version when the rotation started; `None`: the key did not exist.
    pub base: Option<String>,
    /// Digest of the rotated properties when the rotation started.
    pub base_digest: String,
    /// The users of a database when the rotation started.
    pub users: Base,
    /// The new values.
    pub values: BTreeMap<String, SecretBytes>,
    /// What a policy records that has published these values.
    pub record: Rotated,
    /// Whether it is ours.
    pub trust: Trust,
    /// Set when it is being deleted and has stayed.
    pub leaving: Option<Leaving>,
}

/// Whose a pending Secret has to be.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// The schedule's namespace.
    pub namespace: &'a str,
    /// Its uid.
    pub uid: &'a str,
}

/// Whether a pending Secret is what this schedule has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Its proof fits.
    Proven,
    /// It does not: another tool has made or changed it, or the digest key was lost meanwhile. Nothing relies on what
    /// it says, and it is not deleted.
    NotProven,
}

/// An object that is being deleted and stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// Since when.
    pub since: DateTime<Utc>,
    /// What it waits for.
    pub finalizers: Vec<String>,
}

impl Pending {
    /// Its name, which follows from the rotation's id: making it twice makes one.
    #[must_use]
    pub fn name(id: &str) -> String {
        format!("{}{id}", names::PENDING_PREFIX)
    }

    /// Reads it back. What it says of itself counts only as far as [`Pending::trust`] goes.
    #[must_use]
    pub fn read(
        owner: &Owner<'_>,
        metadata: &ObjectMeta,
        values: BTreeMap<String, SecretBytes>,
        key: &DigestKey,
    ) -> Self {
        let annotation =
            |name: &str| metadata.annotations.as_ref().and_then(|all| all.get(name)).cloned().unwrap_or_default();
        let name = metadata.name.clone().unwrap_or_default();
        let (target, base, base_digest) =
            (annotation(names::WRITES_TO), annotation(names::BASE_VERSION), annotation(names::BASE_DIGESTS));
        let users = annotation(names::BASE_USERS);
        let id = name.strip_prefix(names::PENDING_PREFIX).unwrap_or_default().to_owned();
        let Owner { namespace, uid } = *owner;
        let claim =
            Claim { namespace, uid, id: &id, target: &target, base: &base, base_digest: &base_digest, users: &users };
        let fits = !id.is_empty() && annotation(names::PROOF) == claim.proof(&values, key);
        let record = rotation_proof::Publication { namespace, target: &target, id: &id }.record(&values, key);
        let finalizers = metadata.finalizers.clone().unwrap_or_default();
        let since = metadata.deletion_timestamp.as_ref().map(time::chrono);
        Self {
            namespace: namespace.to_owned(),
            uid: metadata.uid.clone().unwrap_or_default(),
            users: serde_json::from_str(&users).unwrap_or_default(),
            base: Some(base).filter(|version| !version.is_empty()),
            trust: if fits { Trust::Proven } else { Trust::NotProven },
            leaving: since.map(|since| Leaving { since, finalizers }),
            name,
            id,
            target,
            base_digest,
            values,
            record,
        }
    }

    /// What the users of a database hold that this rotation has altered.
    #[must_use]
    pub fn fence(&self, owner: &Owner<'_>, key: &DigestKey) -> Fence {
        Fence { cluster: installation(key), schedule: owner.uid.to_owned(), rotation: self.id.clone() }
    }

    /// Whether the schedule still names every property that it has a value for, and for the same use.
    #[must_use]
    pub fn is_named_by(&self, task: &Task) -> bool {
        let is_there = task.spec.rotator.database().is_none_or(|database| database.whose() == self.users.at);
        is_there && task.spec.rotator.fits(&self.values)
    }
}

/// One word for the installation, which says nothing about its digest key.
fn installation(key: &DigestKey) -> String {
    key.of(&["rekey.dev/installation"], &SecretBytes::from(""))
}

/// What goes into a new pending Secret.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Rotation id.
    pub id: String,
    /// The store's version that the rotation starts from.
    pub base: Option<String>,
    /// Digest of the rotated properties at the start.
    pub base_digest: String,
    /// The users of a database at the start, if the rotator is one of a database.
    pub users: Option<Base>,
    /// The new values.
    pub values: BTreeMap<String, SecretBytes>,
}

impl Prepared {
    /// Its annotations, with the proof that it is this schedule's.
    #[must_use]
    pub fn annotations(&self, task: &Task, key: &DigestKey) -> BTreeMap<String, String> {
        let target = task.to.to_string();
        let users = self.users.as_ref().and_then(|users| serde_json::to_string(users).ok()).unwrap_or_default();
        let claim = Claim {
            users: &users,
            namespace: &task.spec.namespace,
            uid: &task.spec.uid,
            id: &self.id,
            target: &target,
            base: self.base.as_deref().unwrap_or_default(),
            base_digest: &self.base_digest,
        };
        let proof = claim.proof(&self.values, key);
        let pairs = [
            (names::ROTATION, self.id.as_str()),
            (names::WRITES_TO, &target),
            (names::BASE_VERSION, claim.base),
            (names::BASE_DIGESTS, claim.base_digest),
            (names::BASE_USERS, &users),
            (names::PROOF, &proof),
        ];
        let pairs = pairs.into_iter().filter(|(name, value)| *name != names::BASE_USERS || !value.is_empty());
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
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
    /// The new credential is valid there beside the old one, which is used.
    Applied {
        /// The version that says so.
        version: String,
    },
    /// The rotated properties are the new ones.
    Ours {
        /// The version that holds them.
        version: String,
    },
    /// The rotated properties are the new ones, and the old credential is no longer valid.
    Retired,
    /// Another tool changed or deleted the rotated properties.
    Foreign,
    /// The schedule writes elsewhere by now: what the rotation started from says nothing about that place.
    Elsewhere,
}

/// Relates a fresh read to the pending rotation. The pending Secret says which properties are rotated, so that a spec
/// that changes meanwhile does not make our own value a foreign one.
///
/// # Errors
/// When the stored value is no JSON object.
pub fn stored(
    task: &Task,
    pending: &Pending,
    read: Option<&RemoteValue>,
    key: &DigestKey,
) -> Result<Stored, SpecError> {
    if pending.target != task.to.to_string() {
        return Ok(Stored::Elsewhere);
    }
    let version = read.map(|read| read.version.clone());
    let present = members(&task.to.key, pending.values.keys(), read)?;
    let (whole, late) = pending.base_digest.split_once(LATE).unwrap_or((&pending.base_digest, ""));
    let is_applied = || digest(task, &beside_early(task, &present), key) == late;
    Ok(match (version, task.spec.rotator.inspect(&present, &pending.values)) {
        (Some(version), Some(Stage::Live)) => Stored::Ours { version },
        (Some(_), Some(Stage::Retired)) => Stored::Retired,
        (Some(version), Some(Stage::Applied)) if is_applied() => Stored::Applied { version },
        (version, _) if digest(task, &present, key) == whole => Stored::Before { version },
        _ => Stored::Foreign,
    })
}

/// Whether a property to rotate does not exist yet.
///
/// # Errors
/// When the stored value is no JSON object.
pub fn lacks(task: &Task, read: Option<&RemoteValue>) -> Result<bool, SpecError> {
    let names = task.spec.rotator.properties();
    Ok(members(&task.to.key, names.iter().copied(), read)?.len() < names.len())
}

/// Between the digest of all rotated properties and that of those which change last. No digest holds it, whatever
/// properties are called: their names are written as JSON.
const LATE: char = '\n';

/// Digest of the rotated properties of a stored value. Where some of them are written before the others, a digest of
/// the others follows: by that the value is known in between.
///
/// # Errors
/// When the stored value is no JSON object.
pub fn base_digest(task: &Task, read: Option<&RemoteValue>, key: &DigestKey) -> Result<String, SpecError> {
    let current = current(task, read)?;
    let whole = digest(task, &current, key);
    Ok(match task.spec.rotator.early().as_slice() {
        [] => whole,
        [..] => format!("{whole}{LATE}{}", digest(task, &beside_early(task, &current), key)),
    })
}

/// Without those properties that are written before the others.
fn beside_early(task: &Task, values: &Values) -> Values {
    let early = task.spec.rotator.early();
    values.iter().filter(|(name, _)| !early.contains(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The rotated properties that the store has.
///
/// # Errors
/// When the stored value is no JSON object.
pub fn current(task: &Task, read: Option<&RemoteValue>) -> Result<Values, SpecError> {
    members(&task.to.key, task.spec.rotator.properties().into_iter(), read)
}

/// The whole value of a stage: the stored object with what changes by then replaced, and every other byte of it as it
/// is.
///
/// # Errors
/// When the stored value is no JSON object.
pub fn merge(
    task: &Task,
    pending: &Pending,
    stage: Stage,
    read: Option<&RemoteValue>,
) -> Result<SecretBytes, SpecError> {
    let stored = read.map_or_else(|| SecretBytes::from("{}"), |read| read.bytes.clone());
    let values = match stage {
        Stage::Applied => task.spec.rotator.apply(&pending.values),
        Stage::Live => pending.values.clone(),
        Stage::Retired => task.spec.rotator.retire(&pending.values).unwrap_or_default(),
    };
    Ok(json::with_members(&stored, &task.to.key, &values)?)
}

/// What the store would hold with these new values, at the end of a rotation that starts now.
///
/// # Errors
/// When the stored value is no JSON object.
pub fn candidate(task: &Task, made: &Values, read: Option<&RemoteValue>) -> Result<RemoteValue, SpecError> {
    let stored = read.map_or_else(|| SecretBytes::from("{}"), |read| read.bytes.clone());
    let bytes = json::with_members(&stored, &task.to.key, made)?;
    let (version, created) = read.map(|read| (read.version.clone(), read.created)).unwrap_or_default();
    Ok(RemoteValue { bytes, version, created })
}

/// The named properties of a stored object, as far as it has them.
///
/// # Errors
/// When the stored value is no JSON object.
pub fn members<'a>(
    key: &str,
    names: impl Iterator<Item = &'a String>,
    read: Option<&RemoteValue>,
) -> Result<BTreeMap<String, SecretBytes>, SpecError> {
    read.map_or_else(|| Ok(BTreeMap::new()), |read| Ok(json::texts(&read.bytes, key, names)?))
}

fn digest(task: &Task, values: &BTreeMap<String, SecretBytes>, key: &DigestKey) -> String {
    let digests = key.of_secret(&task.spec.namespace, &format!("rotation/{}", task.to.key), values);
    digests.to_string()
}

/// So many Secrets that carry a schedule's label are looked at in one round. Anybody can put that label on Secrets of
/// 1 MiB each; of our own there are one or two, and those that have been dealt with make room for others.
const LOOKS: usize = 16;

/// Names of the Secrets to look at for what a schedule has left: that of the rotation that it knows of, which may have
/// lost its label, and the newest of those that are labelled as its own.
#[must_use]
pub fn candidates(known: Option<&str>, labelled: impl IntoIterator<Item = String>) -> Vec<String> {
    let known = known.map(Pending::name);
    let mut labelled: Vec<String> = labelled.into_iter().filter(|name| Some(name) != known.as_ref()).collect();
    labelled.sort_unstable_by(|a, b| b.cmp(a)); // ids sort by time
    labelled.truncate(LOOKS);
    known.into_iter().chain(labelled).collect()
}

/// Of the pending Secrets that a look has shown, the one that is dealt with first. Only our own count.
#[must_use]
pub fn first(found: Vec<Pending>) -> Option<Pending> {
    let ours = found.into_iter().filter(|pending| pending.trust == Trust::Proven);
    // One that only waits for others comes last: nothing is left to do about it.
    ours.min_by(|a, b| (a.leaving.is_some(), &a.id).cmp(&(b.leaving.is_some(), &b.id)))
}
