//! What a policy may not say: parts of the API that are not built yet, and names that are not the user's to set.

use std::collections::BTreeMap;

use rekey_api::{
    SecretPolicy, SecretPolicySpec, names,
    policy::{
        DataFrom, Immutability, MetadataPolicy, OnFailure, RemoteData, Template, TemplateFrom, TemplateInto,
        TemplateYields, rollout::STABLE_FOR,
    },
};

use super::{Hold, Source};
use crate::{
    SpecError,
    unbuilt::{self, Unbuilt},
};

/// What this version does not act on. Canaries are named before the mode that they need.
pub static UNBUILT: [Unbuilt<SecretPolicySpec>; 15] = [
    Unbuilt::field("spec.rollout.canary", "remove it", |spec| spec.rollout.canary.is_some()),
    Unbuilt::choice(("spec.rollout.onFailure", "RollBack"), "use Hold", |spec| {
        spec.rollout.on_failure == OnFailure::RollBack
    }),
    Unbuilt::field("spec.rollout.windows", "remove it", |spec| !spec.rollout.windows.is_empty()),
    Unbuilt::using(("spec.rollout.stableFor", "another value than 10s"), "write 10s, or remove it", |spec| {
        spec.rollout.stable_for != STABLE_FOR
    }),
    Unbuilt::choice(("spec.immutability", "Versioned"), "use None or Locked", |spec| {
        spec.immutability == Immutability::Versioned
    }),
    Unbuilt::field("spec.versions", "remove it", |spec| {
        let versions = spec.versions.as_ref();
        versions.is_some_and(|versions| versions.keep.unwrap_or_default() > 0 || versions.references.is_some())
    }),
    Unbuilt::choice(("spec.source.remote.data.remoteRef.metadataPolicy", "Fetch"), "use None", |spec| {
        items(spec).any(|item| item.remote_ref.metadata_policy == MetadataPolicy::Fetch)
    }),
    Unbuilt::choice(("spec.source.remote.dataFrom.extract.metadataPolicy", "Fetch"), "use None", |spec| {
        let mut extracts = sets(spec).filter_map(|set| set.extract.as_ref());
        extracts.any(|extract| extract.metadata_policy == Some(MetadataPolicy::Fetch))
    }),
    Unbuilt::field("spec.target.template.from.secretRef", "use configMapRef", |spec| {
        entries(spec).any(|from| from.secret_ref.is_some())
    }),
    Unbuilt::field("spec.target.template.from.literal", "use spec.target.template.data", |spec| {
        entries(spec).any(|from| from.literal.is_some())
    }),
    Unbuilt::choice(("spec.target.template.from.yields", "KeysAndValues"), "use Value", |spec| {
        entries(spec).any(|from| from.yields == Some(TemplateYields::KeysAndValues))
    }),
    Unbuilt::choice(("spec.target.template.from.into", "Labels"), "use Data", |spec| {
        entries(spec).any(|from| from.into == Some(TemplateInto::Labels))
    }),
    Unbuilt::choice(("spec.target.template.from.into", "Annotations"), "use Data", |spec| {
        entries(spec).any(|from| from.into == Some(TemplateInto::Annotations))
    }),
    Unbuilt::using(("spec.target.template.metadata.labels", "a template as a value"), TEXT, |spec| {
        template(spec).and_then(|template| template.metadata.as_ref()).is_some_and(|at| is_templated(&at.labels))
    }),
    Unbuilt::using(("spec.target.template.metadata.annotations", "a template as a value"), TEXT, |spec| {
        template(spec).and_then(|template| template.metadata.as_ref()).is_some_and(|at| is_templated(&at.annotations))
    }),
];

const TEXT: &str = "write the text itself, without {{ and }}";

fn items(spec: &SecretPolicySpec) -> impl Iterator<Item = &RemoteData> {
    spec.source.remote.iter().flat_map(|remote| &remote.data)
}

fn sets(spec: &SecretPolicySpec) -> impl Iterator<Item = &DataFrom> {
    spec.source.remote.iter().flat_map(|remote| &remote.data_from)
}

fn template(spec: &SecretPolicySpec) -> Option<&Template> {
    spec.target.template.as_ref()
}

fn entries(spec: &SecretPolicySpec) -> impl Iterator<Item = &TemplateFrom> {
    template(spec).into_iter().flat_map(|template| &template.from)
}

fn is_templated(values: &BTreeMap<String, String>) -> bool {
    values.values().any(|value| value.contains("{{"))
}

/// Refuses what this version does not act on.
pub fn unsupported(object: &SecretPolicy) -> Result<(), SpecError> {
    unbuilt::refuse(&UNBUILT, &object.spec)?;
    for name in [names::ROLLBACK_TO, names::UNLOCK] {
        if object.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(name)) {
            return Err(SpecError::not_yet(&format!("the annotation {name}"), "remove it"));
        }
    }
    Ok(())
}

/// Refuses wishes that exclude each other.
pub fn contradictions(object: &SecretPolicy, source: &Source, hold: Hold) -> Result<(), SpecError> {
    let template = object.spec.target.template.as_ref();
    let templated = |template: &Template, name: &str| {
        template.data.contains_key(name) || template.from.iter().any(|from| from.name.as_deref() == Some(name))
    };
    match source {
        Source::Existing if template.is_some() => Err(SpecError::field(
            "spec.target.template",
            "remove it; with source.existing somebody else makes the Secret",
        )),
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

/// Labels of a Secret. What a template names is meant, also where other tools act on it: Argo CD finds its repositories and
/// clusters by a label.
pub fn labels(field: &str, labels: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, SpecError> {
    foreign(field, &labels)?;
    if labels.contains_key(names::MANAGED_BY) {
        return Err(SpecError::field(field, format!("{} is set by Rekey; remove it", names::MANAGED_BY)));
    }
    if let Some((name, _)) = labels.iter().find(|(_, value)| !is_label_value(value)) {
        let fix = format!(
            "the value of {name:?} has at most 63 letters, digits, '-', '_' and '.', and neither begins nor ends with one of \
             the last three"
        );
        return Err(SpecError::field(field, fix));
    }
    Ok(labels)
}

fn is_label_value(value: &str) -> bool {
    let at_ends = |at: Option<char>| at.is_none_or(|character| character.is_ascii_alphanumeric());
    let inside = |character: char| character.is_ascii_alphanumeric() || ['-', '_', '.'].contains(&character);
    value.len() <= 63 && value.chars().all(inside) && at_ends(value.chars().next()) && at_ends(value.chars().last())
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
        kubernetes || prefix == names::GROUP
    };
    match names_and_values.keys().find(|name| reserved(name)) {
        Some(name) => Err(SpecError::field(field, format!("{name:?} belongs to other software; remove it"))),
        None => Ok(()),
    }
}
