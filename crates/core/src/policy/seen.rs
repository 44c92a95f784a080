//! What a decision about a policy is made on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use rekey_api::SecretPolicyStatus;

use super::{Claims, Consumers, History, LastRead, OpenRotation, Original, Tags, Trouble, UnlockSeen};
use crate::{SecretBytes, published::Published};

/// All that was seen of a policy's surroundings.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The status so far.
    pub status: SecretPolicyStatus,
    /// The Secret.
    pub secret: SeenSecret,
    /// What versions are made of, where that is another tool's Secret; `None`: they are not, or there are none.
    pub original: Option<Original>,
    /// Which object it was that was seen; a write is refused when it is another one by then.
    pub over: Option<ObjectVersion>,
    /// Names of versions that there are, whoever made them.
    pub taken: BTreeSet<String>,
    /// Bytes of the annotations on it that are not ours.
    pub other_annotations: usize,
    /// Whether what is seen is in a Secret of another mode than the policy has now: it has to be written into one of its mode.
    pub is_elsewhere: bool,
    /// What this process knew to be published before it looked, also if the Secret is gone since.
    pub last: Option<Arc<Published>>,
    /// When this process saw the Secret go; `None`: it did not.
    pub gone: Option<DateTime<Utc>>,
    /// What this process has tried to publish, if nothing has told so far whether it did.
    pub attempted: Option<Arc<Published>>,
    /// The last successful read of this process.
    pub last_read: Option<LastRead>,
    /// The rotation that waits for its value to be published.
    pub rotation: Option<OpenRotation>,
    /// What the Secret says of itself that is written over, if the content comes from another one.
    pub overwrites: Option<Arc<Published>>,
    /// The values that were published before, as far as they are kept.
    pub history: History,
    /// What a pending unlock is decided on.
    pub unlock: UnlockSeen,
    /// When the policy's schedule rotates next.
    pub next_rotation: Option<String>,
    /// What keeps the plain Secret beside versions from being written.
    pub plain: Option<Trouble>,
    /// What consumes the Secret.
    pub consumers: Consumers,
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
    /// Another tool's, or another policy's.
    Foreign {
        /// The policy that may take it over, by `rekey.dev/adopt-by`.
        adopt_by: Option<String>,
        /// The policy it belongs to, if it is one of Rekey's.
        policy: Option<String>,
        /// What it holds; read only when it may be adopted.
        content: Option<Content>,
    },
    /// Ours.
    Ours {
        /// What its annotations say.
        published: Arc<Published>,
        /// What it holds. Set only when it is not known to be as we wrote it.
        content: Option<Content>,
        /// Whether labels, annotations and owner are as they should be.
        dressed: bool,
        /// Whether it is immutable.
        immutable: bool,
        /// Its type.
        kind: String,
        /// The policy that its maker has allowed to take it over or to write keys into it.
        adopt_by: Option<String>,
        /// Kind and name of its controlling owner, if that is not the policy.
        controller: Option<String>,
    },
}

/// The content of a Secret, read because it may not be as it should.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    /// What was read.
    pub version: ObjectVersion,
    /// Its data.
    pub data: BTreeMap<String, SecretBytes>,
    /// Its type.
    pub kind: String,
    /// Whether it is immutable.
    pub immutable: bool,
    /// Field managers other than Rekey that own part of the data.
    pub edited_by: Vec<String>,
    /// When one of them last wrote data, as far as the API server has recorded it.
    pub edited_at: Option<DateTime<Utc>>,
    /// When it was created.
    pub created: Option<DateTime<Utc>>,
    /// Bytes of the annotations that are not ours.
    pub other_annotations: usize,
    /// By what other tools write or delete it.
    pub claims: Claims,
    /// Labels and annotations that our field manager has put on it.
    pub tags: Tags,
    /// Whether our part of it is, as far as is known, what its own annotations say.
    pub is_intact: bool,
}

impl Content {
    /// Who has changed it, for texts.
    #[must_use]
    pub fn editors(&self) -> String {
        if self.edited_by.is_empty() { "another tool".to_owned() } else { self.edited_by.join(", ") }
    }
}

impl SeenSecret {
    /// What is published in it, if it is ours.
    #[must_use]
    pub fn published(&self) -> Option<&Published> {
        match self {
            Self::Ours { published, .. } => Some(published),
            Self::Absent | Self::Going | Self::Foreign { .. } => None,
        }
    }
}
