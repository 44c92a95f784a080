//! Whether a Secret is the policy's to write.

use super::{
    PolicySpec, Scope, is_reserved,
    seen::{Content, SeenSecret},
};
use crate::SpecError;

/// Whether the Secret is the policy's to write; asked before anything is read.
///
/// # Errors
/// Why it is not.
pub fn admit(policy: &PolicySpec, secret: &SeenSecret) -> Result<(), SpecError> {
    let no_consent = || SpecError::NoConsent {
        name: policy.names.base().to_owned(),
        namespace: policy.namespace.clone(),
        policy: policy.name.clone(),
    };
    let content = match secret {
        SeenSecret::Ours { content, .. } | SeenSecret::Foreign { content, .. } => content.as_ref(),
        SeenSecret::Absent | SeenSecret::Going => None,
    };
    if let Some(Content { kind, .. }) = content.filter(|content| is_reserved(&content.kind)) {
        let fix = format!(
            "Secret {:?} has type {kind:?}, a credential of the cluster itself, which Rekey never writes; \
             create the policy again with another name",
            policy.names.base()
        );
        return Err(SpecError::field("spec.target.name", fix));
    }
    match (secret, policy.scope) {
        (SeenSecret::Foreign { policy: Some(other), .. }, _) => {
            Err(SpecError::TargetConflict { name: policy.names.base().to_owned(), other: other.clone() })
        }
        (SeenSecret::Foreign { adopt_by, .. }, Scope::Whole | Scope::Keys)
            if adopt_by.as_ref() != Some(&policy.name) =>
        {
            Err(no_consent())
        }
        // The consent can be taken back: the Secret has stayed its maker's.
        (SeenSecret::Ours { adopt_by, .. }, Scope::Keys) if adopt_by.as_ref() != Some(&policy.name) => {
            Err(no_consent())
        }
        (
            SeenSecret::Ours { kind, .. } | SeenSecret::Foreign { content: Some(Content { kind, .. }), .. },
            Scope::Whole,
        ) if *kind != policy.kind && !policy.names.is_versioned() => Err(SpecError::WrongType {
            name: policy.names.base().to_owned(),
            namespace: policy.namespace.clone(),
            has: kind.clone(),
            wants: policy.kind.clone(),
        }),
        // The API server takes no second one, and only a person knows which of the two is meant.
        (SeenSecret::Ours { controller: Some(by), .. }, Scope::Whole) if policy.owns() => Err(SpecError::Controlled {
            name: policy.names.base().to_owned(),
            namespace: policy.namespace.clone(),
            by: by.clone(),
        }),
        (SeenSecret::Absent, Scope::Keys | Scope::Record) => {
            Err(SpecError::SecretNotFound { name: policy.names.base().to_owned(), namespace: policy.namespace.clone() })
        }
        (SeenSecret::Foreign { .. } | SeenSecret::Absent | SeenSecret::Going | SeenSecret::Ours { .. }, _) => Ok(()),
    }
}

/// What there is to say about a controlling owner that another tool has put on a Secret of ours, where it does not keep
/// us from writing.
pub fn shared(policy: &PolicySpec, secret: &SeenSecret) -> Option<String> {
    match (secret, policy.scope) {
        (SeenSecret::Ours { controller: Some(by), .. }, Scope::Whole) => {
            Some(format!("another tool made {by} its controlling owner: Kubernetes deletes the Secret with {by}"))
        }
        (SeenSecret::Ours { .. } | SeenSecret::Foreign { .. } | SeenSecret::Absent | SeenSecret::Going, _) => None,
    }
}
