//! Workloads that a policy names.

use std::collections::BTreeSet;

use rekey_api::{
    names::ROLE_ROLLOUTS,
    policy::{ConsumeForm, ConsumerState, ConsumerStatus},
    reference::WorkloadRef,
};

use crate::{SpecError, rollout::Canary, workload::Kind};

/// The workloads that a policy names.
///
/// # Errors
/// When a kind is not one that can be restarted, or has Jobs.
pub fn named(references: &[WorkloadRef]) -> Result<BTreeSet<(Kind, String)>, SpecError> {
    let parse = |reference: &WorkloadRef| {
        let kind = Kind::named(reference).ok_or_else(|| {
            let known = Kind::NAMED.map(|kind| format!("{} {}", kind.api_version(), kind.as_str())).join(", ");
            let (version, kind) = (&reference.api_version, &reference.kind);
            SpecError::field("spec.rollout.consumers", format!("{version} {kind} cannot be named: use one of {known}"))
        })?;
        Ok((kind, reference.name.clone()))
    };
    references.iter().map(parse).collect()
}

/// A named workload that does not exist.
pub fn missing((kind, name): &(Kind, String)) -> ConsumerStatus {
    ConsumerStatus {
        api_version: kind.api_version().to_owned(),
        kind: kind.as_str().to_owned(),
        name: name.clone(),
        state: ConsumerState::Failed,
        how: vec![ConsumeForm::Named],
        pods: None,
        reason: None,
        message: Some(format!("{}; create it, or remove it from spec.rollout.consumers", unseen(*kind))),
    }
}

/// A canary that does not refer to the Secret.
pub fn absent(Canary { kind, name }: &Canary) -> ConsumerStatus {
    let message = format!(
        "{}, or refers to no version of the Secret, so nobody gets a new value; make it refer to the Secret, or change \
         spec.rollout.canary",
        unseen(*kind)
    );
    ConsumerStatus { how: Vec::new(), message: Some(message), ..missing(&(*kind, name.clone())) }
}

/// Rollouts take a right of their own, and many namespaces are opened without it.
fn unseen(kind: Kind) -> String {
    if kind == Kind::Rollout {
        return format!("does not exist, or the operator may not see it (bind the ClusterRole {ROLE_ROLLOUTS})");
    }
    "does not exist".to_owned()
}
