//! Conditions as users and tools read them, and the rules that hold for every object at every moment.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// `Ready=True/Synced`, `Stalled=True/…` and so on, one text a condition.
#[must_use]
pub fn shown(conditions: &[Condition]) -> Vec<String> {
    conditions.iter().map(|at| format!("{}={}/{}", at.type_, at.status, at.reason)).collect()
}

/// The message of a condition.
#[must_use]
pub fn message(conditions: &[Condition], kind: &str) -> String {
    conditions.iter().find(|at| at.type_ == kind).map(|at| at.message.clone()).unwrap_or_default()
}

/// What kstatus relies on: a known order of truth between the three conditions.
///
/// # Errors
/// Names the rule that is broken.
pub fn check(object: &str, conditions: &[Condition]) -> Result<()> {
    let by_type: BTreeMap<&str, &Condition> = conditions.iter().map(|at| (at.type_.as_str(), at)).collect();
    let is_true = |kind: &str| by_type.get(kind).is_some_and(|at| at.status == "True");
    ensure!(by_type.len() == conditions.len(), "{object}: a condition type appears twice: {conditions:?}");
    ensure!(!(is_true("Ready") && is_true("Stalled")), "{object}: Ready together with Stalled");
    for kind in ["Reconciling", "Stalled"] {
        ensure!(by_type.get(kind).is_none_or(|at| at.status == "True"), "{object}: {kind} is present but not true");
    }
    for at in conditions {
        ensure!(!at.reason.is_empty(), "{object}: {} has no reason", at.type_);
        ensure!(at.observed_generation.is_some(), "{object}: {} has no observedGeneration", at.type_);
    }
    Ok(())
}
