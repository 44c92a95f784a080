//! Why a spec is refused.

use rekey_api::condition::{Class, Reason};
use thiserror::Error;

use crate::RenderError;

/// One variant a rule; the text names the field and the fix.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SpecError {
    /// Part of the API that this version does not act on. It is refused, never ignored.
    #[error("{field} is not supported yet: {fix}")]
    NotSupportedYet {
        /// Path of the field.
        field: String,
        /// What to write instead.
        fix: String,
    },
    /// A value that cannot work.
    #[error("{field}: {fix}")]
    Field {
        /// Path of the field.
        field: String,
        /// What is wrong and how to fix it.
        fix: String,
    },
    /// The data could not be made.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// The Secret exists, and whoever owns it has not consented.
    #[error(
        "Secret {name:?} exists and is not managed by this policy; to hand it over, run `kubectl annotate secret \
         {name} -n {namespace} rekey.dev/adopt-by={policy}`, or delete this policy and create it again with another \
         spec.target.name"
    )]
    NoConsent {
        /// The Secret.
        name: String,
        /// Its namespace.
        namespace: String,
        /// The policy that asks for it.
        policy: String,
    },
    /// The Secret that another tool makes does not exist.
    #[error("Secret {name:?} does not exist in namespace {namespace}; the policy waits until another tool creates it")]
    SecretNotFound {
        /// The Secret.
        name: String,
        /// Its namespace.
        namespace: String,
    },
    /// The Secret has another type than the policy asks for.
    #[error(
        "Secret {name:?} has type {has:?}, but spec.target.type asks for {wants:?}, and Kubernetes cannot change the \
         type of a Secret. Delete it, and Rekey creates it again (`kubectl delete secret {name} -n {namespace}`), or \
         replace this policy by one with type {has:?} or another spec.target.name"
    )]
    WrongType {
        /// The Secret.
        name: String,
        /// Its namespace.
        namespace: String,
        /// Its type.
        has: String,
        /// The type in the policy.
        wants: String,
    },
    /// Another tool has made an object of its own the controlling owner of a Secret of ours.
    #[error(
        "another tool made {by} the controlling owner of Secret {name:?}: both tools would write it, and Kubernetes \
         deletes it with {by}. Make that tool leave the Secret alone, then remove the owner: kubectl patch secret \
         {name} -n {namespace} --type=json -p '[{{\"op\":\"remove\",\"path\":\"/metadata/ownerReferences\"}}]'"
    )]
    Controlled {
        /// The Secret.
        name: String,
        /// Its namespace.
        namespace: String,
        /// Kind and name of the owner.
        by: String,
    },
    /// Two policies ask for the same Secret.
    #[error(
        "Secret {name:?} belongs to SecretPolicy {other:?}; delete one of the two, or create it again with another \
         spec.target.name"
    )]
    TargetConflict {
        /// The Secret.
        name: String,
        /// The policy that has it.
        other: String,
    },
    /// Two schedules for one policy, or for one key.
    #[error("{other} rotates {what} already; delete one of the two")]
    DuplicateSchedule {
        /// The policy, or the key and its store.
        what: String,
        /// The schedule that came first.
        other: String,
    },
    /// What is recorded of the keys does not fit into the annotations of a Secret.
    #[error(
        "Secret {name:?} would have {keys} keys, and their record in its annotations needs {needed} bytes. Kubernetes \
         allows 262144 bytes of annotations, and other annotations take {others}: split the keys among several \
         policies (about 5,000 keys fit into one Secret, 3,400 if each comes from a remote key of its own), or shorten \
         the other annotations"
    )]
    TooManyKeys {
        /// The Secret.
        name: String,
        /// How many keys it would have.
        keys: usize,
        /// Bytes of the record.
        needed: usize,
        /// Bytes of other annotations.
        others: usize,
    },
    /// The Secret does not fit into etcd with all that Kubernetes keeps beside its values.
    #[error(
        "Secret {name:?} would take about {size} bytes (Kubernetes keeps the names of its {keys} keys twice), and etcd \
         takes 1572864 bytes of an object: shorten the names of its keys, map fewer of them, or split them among \
         several policies"
    )]
    ObjectTooLarge {
        /// The Secret.
        name: String,
        /// How many keys it would have.
        keys: usize,
        /// Bytes of all of it.
        size: usize,
    },
    /// A locked Secret whose source has another value by now.
    #[error("{text}")]
    LockedAndChanged {
        /// What changed and what can be done.
        text: String,
    },
}

impl SpecError {
    /// A field that is not built yet.
    #[must_use]
    pub fn not_yet(field: &str, fix: &str) -> Self {
        Self::NotSupportedYet { field: field.to_owned(), fix: fix.to_owned() }
    }

    /// A field with a wrong value.
    #[must_use]
    pub fn field(field: &str, fix: impl Into<String>) -> Self {
        Self::Field { field: field.to_owned(), fix: fix.into() }
    }

    /// The reason of the condition.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::NotSupportedYet { .. } => Reason::NotSupportedYet,
            Self::Field { .. } => Reason::InvalidSpec,
            Self::Render(error) => match error {
                RenderError::PropertyNotFound { .. } => Reason::PropertyNotFound,
                RenderError::KeyNotFound { .. } | RenderError::NothingFound => Reason::KeyNotFound,
                RenderError::EmptyAnswer { .. } => Reason::EmptyAnswer,
                RenderError::NotJson { .. }
                | RenderError::NotBase64 { .. }
                | RenderError::ExpressionFailed { .. }
                | RenderError::KeyClash { .. }
                | RenderError::MergeFailed { .. }
                | RenderError::WrongTag { .. }
                | RenderError::InvalidKey { .. }
                | RenderError::TooMuchWork { .. }
                | RenderError::WrongForm { .. } => Reason::InvalidData,
                RenderError::TemplateSyntax { .. }
                | RenderError::TemplateFailed { .. }
                | RenderError::TemplateMissing { .. }
                | RenderError::TemplateElsewhere { .. }
                | RenderError::Stopped => Reason::TemplateError,
                RenderError::TooLarge { .. } | RenderError::TooManyKeys { .. } => Reason::SecretTooLarge,
            },
            Self::NoConsent { .. } => Reason::NoConsent,
            Self::SecretNotFound { .. } => Reason::SecretNotFound,
            Self::WrongType { .. } => Reason::WrongType,
            Self::Controlled { .. } => Reason::ForeignOwner,
            Self::TargetConflict { .. } => Reason::TargetConflict,
            Self::DuplicateSchedule { .. } => Reason::DuplicateSchedule,
            Self::TooManyKeys { .. } | Self::ObjectTooLarge { .. } => Reason::SecretTooLarge,
            Self::LockedAndChanged { .. } => Reason::LockedAndChanged,
        }
    }

    /// What helps. A template of the policy's own that does not parse is a matter of the policy alone; what is wrong
    /// with data may be fixed in the store, so Rekey looks at it again.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Render(RenderError::TemplateSyntax { .. }) => Class::Spec,
            refused => refused.reason().class(),
        }
    }
}
