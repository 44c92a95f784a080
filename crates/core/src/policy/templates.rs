//! What a policy's template asks for.

use std::collections::{BTreeMap, BTreeSet};

use rekey_api::{
    policy::{Include, MergePolicy, Template, TemplateFrom, TemplateInto, TemplateYields},
    reference::ConfigMapKeyRef,
};

use super::{Source, refuse};
use crate::{SpecError, render::kinds};

const AT: &str = "spec.target.template";

/// A parsed template.
#[derive(Default)]
pub struct Templates {
    /// Templates by key.
    pub data: BTreeMap<String, String>,
    /// Templates that stand in `ConfigMap`s, by key.
    pub refs: BTreeMap<String, ConfigMapKeyRef>,
    /// Whether only templated keys are published.
    pub replace: bool,
    /// Labels of the Secret.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the Secret.
    pub annotations: BTreeMap<String, String>,
}

impl Templates {
    pub fn parse(spec: Option<&Template>, source: &Source) -> Result<Self, SpecError> {
        let Some(spec) = spec else { return Ok(Self::default()) };
        if let Some(name) = spec.data.keys().find(|name| !kinds::valid_key(name)) {
            return Err(SpecError::field(&format!("{AT}.data"), no_key(name)));
        }
        let metadata = spec.metadata.clone().unwrap_or_default();
        Ok(Self {
            data: spec.data.clone(),
            refs: refs(&spec.from)?,
            replace: replaces(spec, source)?,
            labels: refuse::labels(&format!("{AT}.metadata.labels"), metadata.labels)?,
            annotations: refuse::annotations(&format!("{AT}.metadata.annotations"), metadata.annotations)?,
        })
    }
}

fn no_key(name: &str) -> String {
    format!("{name:?} cannot be a key of a Secret: use letters, digits, `-`, `_` and `.`")
}

/// Entries that this version does not act on are refused before.
fn refs(entries: &[TemplateFrom]) -> Result<BTreeMap<String, ConfigMapKeyRef>, SpecError> {
    let at = format!("{AT}.from");
    let mut places = BTreeSet::new();
    let mut refs = BTreeMap::new();
    for entry in entries {
        let into = entry.into.unwrap_or_default();
        let name = match (&entry.name, entry.yields.unwrap_or_default()) {
            (Some(name), TemplateYields::Value) => name,
            (None, TemplateYields::KeysAndValues) => continue,
            (None, TemplateYields::Value) | (Some(_), TemplateYields::KeysAndValues) => {
                let fix =
                    "set `as`, the key that the rendered text becomes; only with yields: KeysAndValues it is left out";
                return Err(SpecError::field(&at, fix));
            }
        };
        if into == TemplateInto::Data && !kinds::valid_key(name) {
            return Err(SpecError::field(&at, no_key(name)));
        }
        if !places.insert((into, name)) {
            return Err(SpecError::field(&at, format!("two entries become {name:?}; give each another `as`")));
        }
        match (&entry.config_map_ref, &entry.secret_ref, &entry.literal) {
            (Some(reference), None, None) => refs.insert(name.clone(), reference.clone()),
            _ => {
                return Err(SpecError::field(&at, "set exactly one of configMapRef, secretRef, literal in each entry"));
            }
        };
    }
    Ok(refs)
}

/// Whether the Secret has the templated values only. An object that has the earlier `include`, which had `Merge` as the default
/// of its schema, keeps its keys; `mergePolicy` beside that default counts.
fn replaces(spec: &Template, source: &Source) -> Result<bool, SpecError> {
    let makes_data =
        !spec.data.is_empty() || spec.from.iter().any(|from| from.into.unwrap_or_default() == TemplateInto::Data);
    let (field, replaces) = match (spec.merge_policy, spec.include) {
        (Some(MergePolicy::Merge), Some(Include::Replace)) => {
            let fix = "remove it; it says Replace, and mergePolicy, its new name, says Merge";
            return Err(SpecError::field(&format!("{AT}.include"), fix));
        }
        (Some(policy), _) => ("mergePolicy", policy == MergePolicy::Replace),
        (None, Some(include)) => ("include", include == Include::Replace),
        (None, None) => match source {
            Source::Remote(_) | Source::Engine(_) => ("mergePolicy", makes_data),
            Source::Generated(_) | Source::Existing => ("mergePolicy", false),
        },
    };
    if replaces && matches!(source, Source::Generated(_)) {
        // What was generated stands nowhere but in the Secret.
        let fix = "write Merge, or remove it; generated values are kept in the Secret only";
        return Err(SpecError::field(&format!("{AT}.{field}"), fix));
    }
    Ok(replaces)
}
