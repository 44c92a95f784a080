//! Whether a Secret is the policy's to write.

use super::{
    Hold, Policy, is_reserved,
    secret::{Content, SeenSecret},
};
use crate::SpecError;

/// Whether the Secret is the policy's to write; asked before anything is read.
///
/// # Errors
/// When it belongs to somebody else.
pub fn admit(policy: &Policy, secret: &SeenSecret) -> Result<(), SpecError> {
    let no_consent = || SpecError::NoConsent {
        name: policy.secret.clone(),
        namespace: policy.namespace.clone(),
        policy: policy.name.clone(),
    };
    let content = match secret {
        SeenSecret::Ours { content, .. } | SeenSecret::Foreign { content, .. } => content.as_ref(),
        SeenSecret::Absent | SeenSecret::Going => None,
    };
    if let Some(Content { kind, .. }) = content.filter(|content| is_reserved(&content.kind)) {
        let fix = format!(
            "Secret {:?} has type {kind:?}, a credential of the cluster itself, which Rekey never writes; name another one",
            policy.secret
        );
        return Err(SpecError::field("spec.target.name", fix));
    }
    match (secret, policy.hold) {
        (SeenSecret::Foreign { policy: Some(other), .. }, _) => {
            Err(SpecError::TargetConflict { name: policy.secret.clone(), other: other.clone() })
        }
        (SeenSecret::Foreign { adopt_by, .. }, Hold::Whole | Hold::Keys) if adopt_by.as_ref() != Some(&policy.name) => {
            Err(no_consent())
        }
        // The consent can be taken back: the Secret has stayed its maker's.
        (SeenSecret::Ours { adopt_by, .. }, Hold::Keys) if adopt_by.as_ref() != Some(&policy.name) => Err(no_consent()),
        (
            SeenSecret::Ours { kind, .. } | SeenSecret::Foreign { content: Some(Content { kind, .. }), .. },
            Hold::Whole,
        ) if *kind != policy.kind => Err(SpecError::WrongType {
            name: policy.secret.clone(),
            namespace: policy.namespace.clone(),
            has: kind.clone(),
            wants: policy.kind.clone(),
        }),
        // The API server takes no second one, and nobody but people know which of the two is meant.
        (SeenSecret::Ours { controller: Some(by), .. }, Hold::Whole) if policy.owner.is_some() => {
            Err(SpecError::Controlled {
                name: policy.secret.clone(),
                namespace: policy.namespace.clone(),
                by: by.clone(),
            })
        }
        (SeenSecret::Absent, Hold::Keys | Hold::Record) => {
            Err(SpecError::SecretNotFound { name: policy.secret.clone(), namespace: policy.namespace.clone() })
        }
        (SeenSecret::Foreign { .. } | SeenSecret::Absent | SeenSecret::Going | SeenSecret::Ours { .. }, _) => Ok(()),
    }
}

/// What there is to say about a controlling owner that another tool has put on a Secret of ours, where it does not keep us from
/// writing.
pub fn shared(policy: &Policy, secret: &SeenSecret) -> Option<String> {
    match (secret, policy.hold) {
        (SeenSecret::Ours { controller: Some(by), .. }, Hold::Whole) => {
            Some(format!("another tool has made {by} its controlling owner: it goes with {by}"))
        }
        (SeenSecret::Ours { .. } | SeenSecret::Foreign { .. } | SeenSecret::Absent | SeenSecret::Going, _) => None,
    }
}
