//! What the Secret should be, what must be written, and what the status then says.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use rekey_api::{SecretPolicyStatus, condition::Reason, names};

use super::{
    Consumer, Policy, Request,
    publish::{Decided, Publishing},
    status::status,
};
use crate::{
    SecretBytes, SpecError,
    chance::Chance,
    digest::DigestKey,
    published::Published,
    render::{RenderError, kinds, property, template},
    rollout::Input,
    store::RemoteValue,
    workload::Workload,
};

/// All that was seen of a policy's surroundings.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The status as it stands.
    pub status: SecretPolicyStatus,
    /// The Secret.
    pub secret: SeenSecret,
    /// Which object it was that was seen; a write is refused when it is another one by then.
    pub over: Option<ObjectVersion>,
    /// What was last known to be published, also if the Secret is gone since.
    pub last: Option<Published>,
    /// When the store was last read successfully by this process.
    pub last_fetch: Option<DateTime<Utc>>,
    /// The rotation that waits for its value to be published.
    pub rotation: Option<OpenRotation>,
    /// When the policy's schedule rotates next.
    pub next_rotation: Option<String>,
    /// Workloads that refer to the Secret.
    pub consumers: Vec<Consumer>,
}

/// One version of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectVersion {
    /// Its uid.
    pub uid: String,
    /// Its resourceVersion.
    pub resource_version: String,
}

/// The Secret a policy publishes, as it was found.
#[derive(Clone, Debug)]
pub enum SeenSecret {
    /// There is none.
    Absent,
    /// It is being deleted.
    Going,
    /// Somebody else's.
    Foreign {
        /// The policy that may take it over, by `rekey.dev/adopt-by`.
        adopt_by: Option<String>,
        /// The policy it belongs to, if it is one of Rekey's.
        policy: Option<String>,
        /// What it holds; read only when it is to be adopted.
        content: Option<Content>,
    },
    /// Ours.
    Ours {
        /// What its annotations say.
        published: Published,
        /// What it holds. Present only when it is not known to be as we wrote it.
        content: Option<Content>,
        /// Whether labels, annotations and owner are as wanted.
        dressed: bool,
        /// Whether it is immutable.
        immutable: bool,
    },
}

/// The content of a Secret, read because it may not be as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Its data.
    pub data: BTreeMap<String, SecretBytes>,
    /// Its type.
    pub kind: String,
    /// Whether it is immutable.
    pub immutable: bool,
    /// Field managers other than Rekey that own part of the data.
    pub edited_by: Vec<String>,
}

/// A rotation whose new value is in the store and waits to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenRotation {
    /// Its id.
    pub id: String,
    /// Remote key.
    pub key: String,
    /// The version that holds the new value.
    pub version: String,
}

impl OpenRotation {
    /// Whether the policy has reported it as published.
    #[must_use]
    pub fn is_published(&self, status: &SecretPolicyStatus) -> bool {
        status.rotation.as_ref().is_some_and(|published| published.id == self.id)
    }
}

/// What was read from the stores.
pub type Fetched = BTreeMap<Request, RemoteValue>;

/// A Secret to apply.
#[derive(Clone, Debug)]
pub struct Desired {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// Its data.
    pub data: BTreeMap<String, SecretBytes>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Whether it is immutable.
    pub immutable: bool,
    /// Its owner.
    pub owner: Option<OwnerReference>,
    /// The object to change; `None`: there must be none yet.
    pub over: Option<ObjectVersion>,
    /// Keys that others added and that are removed.
    pub remove: Vec<String>,
}

/// A write.
#[derive(Clone, Debug)]
pub enum Step {
    /// Apply the Secret.
    Apply(Box<Desired>),
    /// Its content was looked at and is as it should be: remember that.
    Verified,
}

/// Something to tell. Events of the same reason and action are counted as one, so a change says which kind it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its reason.
    pub reason: Reason,
    /// What was done.
    pub action: &'static str,
    /// The text.
    pub text: String,
}

/// The decision about a policy.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Writes, in order.
    pub steps: Vec<Step>,
    /// The status afterwards.
    pub status: SecretPolicyStatus,
    /// What to tell in Events.
    pub events: Vec<Notice>,
}

/// Decides about the Secret of `policy`. `fetched` is absent when nothing was due.
///
/// # Errors
/// What is wrong with the data, or stands in the way of the Secret. Nothing was written then.
pub fn secret(
    policy: &Policy,
    seen: &Seen,
    fetched: Option<&Fetched>,
    key: &DigestKey,
    chance: &dyn Chance,
    now: DateTime<Utc>,
) -> Result<Plan, SpecError> {
    let decided = match (fetched, &seen.secret) {
        (_, SeenSecret::Going) => Decided::waiting("the Secret is being deleted"),
        (Some(fetched), _) => {
            admit(policy, &seen.secret)?;
            let data = render(policy, fetched)?;
            let digests = key.of_secret(&policy.namespace, &policy.secret, &data);
            Publishing { policy, seen, fetched, data, digests, key, chance, now }.decide()?
        }
        (None, SeenSecret::Ours { published, .. }) => Decided::unchanged(published.clone()),
        (None, SeenSecret::Absent | SeenSecret::Foreign { .. }) => {
            Decided::waiting("the values have not been read yet")
        }
    };
    let status = status(policy, seen, fetched, &decided, now);
    Ok(Plan { steps: decided.steps, status, events: decided.events })
}

/// Whether the Secret is the policy's to write; asked before anything is read.
///
/// # Errors
/// When it belongs to somebody else.
pub fn admit(policy: &Policy, secret: &SeenSecret) -> Result<(), SpecError> {
    match secret {
        SeenSecret::Foreign { policy: Some(other), .. } => {
            Err(SpecError::TargetConflict { name: policy.secret.clone(), other: other.clone() })
        }
        SeenSecret::Foreign { adopt_by, .. } if adopt_by.as_ref() != Some(&policy.name) => Err(SpecError::NoConsent {
            name: policy.secret.clone(),
            namespace: policy.namespace.clone(),
            policy: policy.name.clone(),
        }),
        SeenSecret::Foreign { .. } | SeenSecret::Absent | SeenSecret::Going | SeenSecret::Ours { .. } => Ok(()),
    }
}

/// Makes the data of the Secret.
fn render(policy: &Policy, fetched: &Fetched) -> Result<BTreeMap<String, SecretBytes>, SpecError> {
    let mut values = BTreeMap::new();
    for item in &policy.items {
        let request = Request { store: item.store.clone(), locator: item.locator.clone() };
        let Some(value) = fetched.get(&request) else {
            let missing = RenderError::PropertyNotFound { key: item.locator.key.clone(), property: String::new() };
            return Err(missing.into());
        };
        let part = property::property(&value.bytes, &item.locator.key, item.property.as_deref())?;
        values.insert(item.secret_key.clone(), property::decode(part, item.decoding, &item.secret_key)?);
    }
    let mut data = if policy.replace { BTreeMap::new() } else { values.clone() };
    for (name, source) in &policy.templates {
        data.insert(name.clone(), template::render(name, source, &values)?);
    }
    kinds::check(&policy.kind, &data)?;
    Ok(data)
}

impl Policy {
    /// All labels of the Secret.
    #[must_use]
    pub fn secret_labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.labels.clone();
        labels.insert(names::MANAGED_BY.to_owned(), names::MANAGED_BY_VALUE.to_owned());
        labels
    }

    /// All annotations of the Secret.
    #[must_use]
    pub fn secret_annotations(&self, published: &Published) -> BTreeMap<String, String> {
        let mut annotations = self.annotations.clone();
        annotations.insert(names::POLICY.to_owned(), self.name.clone());
        annotations.insert(names::REVISION.to_owned(), published.revision.clone());
        annotations.insert(names::DIGESTS.to_owned(), published.digests.to_string());
        annotations.insert(names::CHANGES.to_owned(), published.changes.to_string());
        annotations
    }

    pub(super) fn input(&self, published: &Published, workload: &Workload) -> Option<Input> {
        Some(Input {
            secret: self.secret.clone(),
            how: workload.uses.get(&self.secret)?.clone(),
            published: published.clone(),
            restart: self.restart,
        })
    }
}
