//! What a policy may not say: parts of the API that are not built yet, and names that are not the user's to set.

use std::collections::BTreeMap;

use rekey_api::{
    SecretPolicy, SecretPolicySpec, names,
    policy::{Immutability, OnFailure, OnMissing, Template, TemplateInto, VersionReferences},
};

use super::{Scope, Source, templates::is_template, versioned};
use crate::{
    SecretNames, SpecError,
    unbuilt::{self, Unbuilt},
};

/// What this version does not act on.
pub static UNBUILT: [Unbuilt<SecretPolicySpec>; 1] = [
    // It would take away, one after the other, the versions that pods still need.
    Unbuilt::using(("spec.source.remote.onMissing", "Delete with immutability: Versioned"), "write Keep", |spec| {
        let has_versions = spec.versions.as_ref().is_some_and(|versions| versions.references.is_some());
        let remote =
            spec.source.remote.as_ref().filter(|_| spec.immutability == Immutability::Versioned || has_versions);
        remote.is_some_and(|remote| remote.on_missing == Some(OnMissing::Delete))
    }),
];

/// Refuses what this version does not act on.
pub fn unsupported(object: &SecretPolicy) -> Result<(), SpecError> {
    unbuilt::refuse(&UNBUILT, &object.spec)
}

/// Refuses settings that exclude each other.
pub fn contradictions(object: &SecretPolicy, source: &Source, scope: Scope) -> Result<(), SpecError> {
    let rollout = &object.spec.rollout;
    if rollout.stable_for.get() >= rollout.progress_deadline.get() {
        let fix = format!(
            "make it shorter than spec.rollout.progressDeadline ({}), or no restart can become healthy in time",
            rollout.progress_deadline
        );
        return Err(SpecError::field("spec.rollout.stableFor", fix));
    }
    versions(object)?;
    earlier_values(object, source, scope)?;
    let template = object.spec.target.template.as_ref();
    let templated = |template: &Template, name: &str| {
        template.data.contains_key(name)
            || template
                .from
                .iter()
                .any(|from| from.name.as_deref() == Some(name) && from.into.unwrap_or_default() == TemplateInto::Data)
    };
    match source {
        Source::Existing if template.is_some() => Err(SpecError::field(
            "spec.target.template",
            "remove it; with source.existing another tool makes the Secret",
        )),
        Source::Generated(recipes) => {
            match recipes.keys().find(|name| template.is_some_and(|template| templated(template, name))) {
                Some(name) => {
                    let fix = format!("{name:?} is a generated key; give the template another key");
                    Err(SpecError::field("spec.target.template.data", fix))
                }
                None => Ok(()),
            }
        }
        Source::Remote(remote) if remote.delete_when_gone && scope != Scope::Whole => {
            Err(SpecError::field("spec.source.remote.onMissing", "write Keep; the Secret belongs to another tool"))
        }
        Source::Existing | Source::Remote(_) | Source::Engine(_) => Ok(()),
    }
}

/// Refuses what only fits where each value has a name of its own, and names without room for that.
fn versions(object: &SecretPolicy) -> Result<(), SpecError> {
    let spec = &object.spec;
    let references = spec.versions.as_ref().and_then(|versions| versions.references);
    let keeps = spec.versions.as_ref().is_some_and(|versions| versions.keep.unwrap_or_default() > 0);
    let refused = match (spec.immutability, references) {
        (Immutability::Versioned, None) => {
            Some("set Publish or Move; immutability Versioned gives each value a new name")
        }
        (Immutability::None, Some(_)) | (Immutability::Locked, Some(VersionReferences::Publish)) => Some(
            "remove it, or set immutability to Versioned, or to Locked with Move; otherwise the Secret keeps its name",
        ),
        (Immutability::Versioned, Some(_))
        | (Immutability::Locked, Some(VersionReferences::Move))
        | (Immutability::None | Immutability::Locked, None) => None,
    };
    if let Some(fix) = refused {
        return Err(SpecError::field("spec.versions.references", fix));
    }
    if spec.rollout.canary.is_some() && references != Some(VersionReferences::Move) {
        let fix = "set immutability to Versioned and versions.references to Move, or remove the canary; otherwise pods \
                   take a new value before the canary has shown that it is good";
        return Err(SpecError::field("spec.rollout.canary", fix));
    }
    if references.is_some() || keeps || spec.rollout.on_failure == OnFailure::RollBack {
        versioned::fits(SecretNames::of(object).base())?;
    }
    Ok(())
}

/// Refuses going back where there is nothing to go back to.
fn earlier_values(object: &SecretPolicy, source: &Source, scope: Scope) -> Result<(), SpecError> {
    let spec = &object.spec;
    let (keep, references) =
        spec.versions.as_ref().map_or((None, None), |versions| (versions.keep, versions.references));
    if keep.unwrap_or_default() > 0 && scope != Scope::Whole {
        let fix = "remove it; another tool makes the Secret, and Rekey keeps no copies of it";
        return Err(SpecError::field("spec.versions.keep", fix));
    }
    let fix = match (source, spec.immutability) {
        _ if spec.rollout.on_failure == OnFailure::Hold => return Ok(()),
        (Source::Engine(_) | Source::Generated(_), _) => {
            "write Hold; this source makes its values anew, so that one that was taken back is not known again"
        }
        _ if scope != Scope::Whole => "write Hold; another tool makes the Secret, and Rekey keeps no copies of it",
        (Source::Existing, _) => "write Hold; with source.existing no Secret of Rekey's says which value worked last",
        (_, Immutability::Locked) => "write Hold; a locked Secret does not change",
        (_, Immutability::Versioned) if references == Some(VersionReferences::Publish) => {
            "write Hold, or set versions.references to Move; with Publish Rekey moves no workload"
        }
        (_, Immutability::None) if keep == Some(0) => {
            "write Hold, or set versions.keep to 1 or more: there would be no earlier value to go back to"
        }
        (Source::Remote(_), Immutability::None | Immutability::Versioned) => return Ok(()),
    };
    Err(SpecError::field("spec.rollout.onFailure", fix))
}

/// Labels, or annotations, of a Secret: none that Kubernetes or Rekey decide by. What a template names is meant, also
/// where other tools act on it: Argo CD finds its repositories and clusters by a label. Values that are templates are
/// looked at when they are rendered.
pub fn tags(into: TemplateInto, tags: &BTreeMap<String, String>) -> Result<(), SpecError> {
    let field = match into {
        TemplateInto::Labels => "spec.target.template.metadata.labels",
        TemplateInto::Data | TemplateInto::Annotations => "spec.target.template.metadata.annotations",
    };
    for (name, value) in tags {
        let looked_at = if is_template(value) { Ok(()) } else { tag_value(into, &format!("{name:?}"), value) };
        tag_name(into, name).and(looked_at).map_err(|fix| SpecError::field(field, fix))?;
    }
    Ok(())
}

/// Whether a label or annotation of this name may be set. Consent is among those that may not: whoever owns a
/// credential gives it, not whoever writes a policy.
pub fn tag_name(into: TemplateInto, name: &str) -> Result<(), String> {
    let prefix = name.split_once('/').map_or("", |(prefix, _)| prefix);
    let kubernetes = name != names::MANAGED_BY
        && !name.starts_with("app.kubernetes.io/")
        && (prefix == "kubernetes.io" || prefix.ends_with(".kubernetes.io"));
    if kubernetes || prefix == names::GROUP {
        return Err(format!("{name:?} belongs to other software; remove it"));
    }
    if into == TemplateInto::Labels && name == names::MANAGED_BY {
        return Err(format!("{} is set by Rekey; remove it", names::MANAGED_BY));
    }
    if is_tag_name(name) {
        return Ok(());
    }
    let name: String = name.chars().take(317).collect();
    Err(format!(
        "{name:?} cannot be the name of a label or annotation: use at most 63 letters, digits, '-', '_' and '.', with \
         a domain and '/' before them if you need one"
    ))
}

/// Whether a label or annotation whose name a template makes may be set: it may come from whoever writes into the
/// store, and must not steer other tools. Who writes such a name in the policy means it.
pub fn steering(name: &str) -> Result<(), String> {
    if names::NEVER_COPIED.iter().any(|prefix| name.starts_with(prefix)) {
        return Err(format!("{name:?} steers other tools; write it in spec.target.template.metadata"));
    }
    Ok(())
}

fn is_tag_name(name: &str) -> bool {
    let (prefix, rest) = name.split_once('/').map_or((None, name), |(prefix, rest)| (Some(prefix), rest));
    let is_part = |part: &str| {
        let is_inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !part.is_empty() && !part.starts_with('-') && !part.ends_with('-') && part.bytes().all(is_inside)
    };
    let is_domain = |prefix: &str| prefix.len() <= 253 && prefix.split('.').all(is_part);
    !rest.is_empty() && is_label_value(rest) && prefix.is_none_or(is_domain)
}

/// Whether a label or annotation may have this value. The text names the label as it is `shown` and never says the
/// value.
pub fn tag_value(into: TemplateInto, shown: &str, value: &str) -> Result<(), String> {
    if into != TemplateInto::Labels || is_label_value(value) {
        return Ok(());
    }
    Err(format!(
        "the value of {shown} has at most 63 letters, digits, '-', '_' and '.', and neither begins nor ends with one \
         of the last three"
    ))
}

fn is_label_value(value: &str) -> bool {
    let at_ends = |at: Option<char>| at.is_none_or(|character| character.is_ascii_alphanumeric());
    let inside = |character: char| character.is_ascii_alphanumeric() || ['-', '_', '.'].contains(&character);
    value.len() <= 63 && value.chars().all(inside) && at_ends(value.chars().next()) && at_ends(value.chars().last())
}
