//! What a policy may not say: parts of the API that are not built yet, and names that are not the user's to set.

use std::collections::BTreeMap;

use rekey_api::{
    SecretPolicy, names,
    policy::{Immutability, Include, OnFailure, Rollout, Template},
};

use super::{Hold, Source};
use crate::SpecError;

/// Refuses what this version does not act on.
pub fn unsupported(object: &SecretPolicy) -> Result<(), SpecError> {
    let spec = &object.spec;
    rollout(&spec.rollout)?;
    refuse(spec.immutability == Immutability::Versioned, "spec.immutability: Versioned", "use None or Locked")?;
    let keeps = spec
        .versions
        .as_ref()
        .is_some_and(|versions| versions.keep.unwrap_or_default() > 0 || versions.references.is_some());
    refuse(keeps, "spec.versions", "remove it")?;
    for name in [names::ROLLBACK_TO, names::UNLOCK] {
        let present = object.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(name));
        refuse(present, &format!("the annotation {name}"), "remove it")?;
    }
    Ok(())
}

/// Refuses wishes that exclude each other.
pub fn contradictions(object: &SecretPolicy, source: &Source, hold: Hold) -> Result<(), SpecError> {
    let template = object.spec.target.template.as_ref();
    let templated = |template: &Template, name: &str| {
        template.data.contains_key(name) || template.from.iter().any(|from| from.secret_key == name)
    };
    match source {
        Source::Existing if template.is_some() => Err(SpecError::field(
            "spec.target.template",
            "remove it; with source.existing somebody else makes the Secret",
        )),
        // What was generated stands nowhere but in the Secret.
        Source::Generated(_) if template.is_some_and(|template| template.include == Include::Replace) => {
            Err(SpecError::field(
                "spec.target.template.include",
                "write Merge; generated values are kept in the Secret only",
            ))
        }
        Source::Generated(recipes) => {
            match recipes.keys().find(|name| template.is_some_and(|template| templated(template, name))) {
                Some(name) => {
                    let fix = format!("{name:?} is a generated key; give the template another one");
                    Err(SpecError::field("spec.target.template.data", fix))
                }
                None => Ok(()),
            }
        }
        Source::Remote(remote) if remote.delete_when_gone && hold != Hold::Whole => {
            Err(SpecError::field("spec.source.remote.onMissing", "write Keep; the Secret is somebody else's"))
        }
        Source::Existing | Source::Remote(_) | Source::Engine(_) => Ok(()),
    }
}

fn refuse(present: bool, field: &str, fix: &str) -> Result<(), SpecError> {
    if present { Err(SpecError::not_yet(field, fix)) } else { Ok(()) }
}

fn rollout(rollout: &Rollout) -> Result<(), SpecError> {
    refuse(rollout.canary.is_some(), "spec.rollout.canary", "remove it")?;
    refuse(rollout.on_failure != OnFailure::Hold, "spec.rollout.onFailure", "use Hold")?;
    refuse(!rollout.windows.is_empty(), "spec.rollout.windows", "remove it")
}

/// Labels of a Secret: not those that other tools decide ownership by.
pub fn labels(field: &str, labels: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, SpecError> {
    foreign(field, &labels)?;
    if labels.contains_key(names::MANAGED_BY) {
        return Err(SpecError::field(field, format!("{} is set by Rekey; remove it", names::MANAGED_BY)));
    }
    Ok(labels)
}

/// Annotations of a Secret: none that Kubernetes or Rekey act on. Consent is among these: whoever owns a credential gives it,
/// not whoever writes a policy.
pub fn annotations(field: &str, annotations: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, SpecError> {
    foreign(field, &annotations)?;
    Ok(annotations)
}

fn foreign(field: &str, names_and_values: &BTreeMap<String, String>) -> Result<(), SpecError> {
    let reserved = |name: &str| {
        let prefix = name.split_once('/').map_or("", |(prefix, _)| prefix);
        let kubernetes = name != names::MANAGED_BY
            && !name.starts_with("app.kubernetes.io/")
            && (prefix == "kubernetes.io" || prefix.ends_with(".kubernetes.io"));
        kubernetes || prefix == names::GROUP || names::NEVER_COPIED.iter().any(|never| name.starts_with(never))
    };
    match names_and_values.keys().find(|name| reserved(name)) {
        Some(name) => Err(SpecError::field(field, format!("{name:?} belongs to other software; remove it"))),
        None => Ok(()),
    }
}
