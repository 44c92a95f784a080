//! What a policy's template asks for.

use std::collections::{BTreeMap, BTreeSet};

use rekey_api::policy::{Include, MergePolicy, Template, TemplateFrom, TemplateInto, TemplateYields};

use super::{PolicySpec, Source, refuse, tags::Tags};
use crate::{SpecError, render::kinds};

/// The field that holds the template of a policy.
pub const AT: &str = "spec.target.template";

/// A parsed template.
#[derive(Default)]
pub struct Templates {
    /// Templates by key.
    pub data: BTreeMap<String, String>,
    /// Entries of `from`, in their order.
    pub entries: Vec<Entry>,
    /// Whether only templated keys are published.
    pub replace: bool,
    /// Labels and annotations of the Secret as they are written.
    pub fixed: Tags,
    /// Templates that make labels and annotations.
    pub tags: Tags,
}

/// An entry of `from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The template.
    pub text: EntryText,
    /// What the rendered text becomes; `None`: it is a YAML mapping of names and values.
    pub name: Option<String>,
    /// Where that goes.
    pub into: TemplateInto,
}

/// The template of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryText {
    /// This one.
    Literal(String),
    /// One that is read.
    Elsewhere(TemplateRef),
}

/// A template in another object of the namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TemplateRef {
    /// What the object is.
    pub kind: TemplateKind,
    /// Its name.
    pub name: String,
    /// Its key.
    pub key: String,
}

/// An object that can hold a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TemplateKind {
    /// A `ConfigMap`.
    ConfigMap,
    /// A Secret: nothing of the template may be quoted.
    Secret,
}

impl Templates {
    pub fn parse(spec: Option<&Template>, source: &Source) -> Result<Self, SpecError> {
        let Some(spec) = spec else { return Ok(Self::default()) };
        if let Some(name) = spec.data.keys().find(|name| !kinds::valid_key(name)) {
            return Err(SpecError::field(&format!("{AT}.data"), no_key(name)));
        }
        let metadata = spec.metadata.clone().unwrap_or_default();
        for (into, tags) in
            [(TemplateInto::Labels, &metadata.labels), (TemplateInto::Annotations, &metadata.annotations)]
        {
            refuse::tags(into, tags)?;
        }
        let (tags, fixed) = Tags { labels: metadata.labels, annotations: metadata.annotations }.apart(is_template);
        Ok(Self {
            data: spec.data.clone(),
            entries: entries(&spec.from)?,
            replace: replaces(spec, source)?,
            fixed,
            tags,
        })
    }
}

/// Whether rendering a text may change it.
pub fn is_template(text: &str) -> bool {
    text.contains("{{")
}

impl PolicySpec {
    /// Templates of other objects.
    #[must_use]
    pub fn template_refs(&self) -> BTreeSet<TemplateRef> {
        let refs = self.entries.iter().filter_map(|entry| match &entry.text {
            EntryText::Literal(_) => None,
            EntryText::Elsewhere(at) => Some(at.clone()),
        });
        refs.collect()
    }

    /// Whether templates make labels or annotations of the Secret, which are then not known before they have run.
    #[must_use]
    pub fn makes_tags(&self) -> bool {
        !self.tags.is_empty() || self.entries.iter().any(|entry| entry.into != TemplateInto::Data)
    }

    /// Of labels and annotations, those that may be made by templates.
    #[must_use]
    pub fn made_of(&self, tags: &Tags) -> Tags {
        tags.filtered(|into, name| self.may_make(into, name) && refuse::tag_name(into, name).is_ok())
    }

    fn may_make(&self, into: TemplateInto, name: &str) -> bool {
        let fixed = self.fixed(into);
        let of_entry = |entry: &Entry| entry.into == into && entry.name.as_deref().is_none_or(|made| made == name);
        !fixed.contains_key(name) && (self.tags.of(into).contains_key(name) || self.entries.iter().any(of_entry))
    }

    fn fixed(&self, into: TemplateInto) -> &BTreeMap<String, String> {
        match into {
            TemplateInto::Labels => &self.labels,
            TemplateInto::Data | TemplateInto::Annotations => &self.annotations,
        }
    }

    /// Names what the templates are, for the fingerprint of what was issued. What earlier versions knew is written as
    /// they did.
    pub(super) fn templates_text(&self) -> String {
        let mut text = String::new();
        for (name, template) in &self.templates {
            text.extend(["\0", name, "=", template]);
        }
        let mut configs = BTreeMap::new();
        let mut others = Vec::new();
        for Entry { text, name, into } in &self.entries {
            match (text, name, into) {
                (EntryText::Elsewhere(at), Some(name), TemplateInto::Data) if at.kind == TemplateKind::ConfigMap => {
                    configs.insert(name, at);
                }
                (EntryText::Elsewhere(at), name, into) => {
                    others.push(format!("\0{into:?} {name:?}:{:?} {}/{}", at.kind, at.name, at.key));
                }
                (EntryText::Literal(text), name, into) => others.push(format!("\0{into:?} {name:?}={text}")),
            }
        }
        for (name, at) in configs {
            text.extend(["\0", name, ":", &at.name, "/", &at.key]);
        }
        text.extend(others);
        for into in [TemplateInto::Labels, TemplateInto::Annotations] {
            for (name, template) in self.tags.of(into) {
                text.extend([format!("\0{into:?} {name}={template}")]);
            }
        }
        text
    }
}

fn no_key(name: &str) -> String {
    format!("{name:?} cannot be a key of a Secret: use letters, digits, `-`, `_` and `.`")
}

fn entries(entries: &[TemplateFrom]) -> Result<Vec<Entry>, SpecError> {
    let at = format!("{AT}.from");
    let mut places = BTreeSet::new();
    let mut parsed = Vec::new();
    for entry in entries {
        let into = entry.into.unwrap_or_default();
        if entry.name.is_some() == (entry.yields == Some(TemplateYields::KeysAndValues)) {
            let fix =
                "set `as`, the key that the rendered text becomes; only with yields: KeysAndValues it is left out";
            return Err(SpecError::field(&at, fix));
        }
        if let Some(name) = &entry.name {
            match into {
                TemplateInto::Data if !kinds::valid_key(name) => return Err(SpecError::field(&at, no_key(name))),
                TemplateInto::Data => {}
                TemplateInto::Labels | TemplateInto::Annotations => {
                    refuse::tag_name(into, name).map_err(|fix| SpecError::field(&at, fix))?;
                }
            }
            if !places.insert((into, name)) {
                return Err(SpecError::field(&at, format!("two entries become {name:?}; give each another `as`")));
            }
        }
        let elsewhere = |kind, name: &String, key: &String| {
            EntryText::Elsewhere(TemplateRef { kind, name: name.clone(), key: key.clone() })
        };
        let text = match (&entry.config_map_ref, &entry.secret_ref, &entry.literal) {
            (Some(config), None, None) => elsewhere(TemplateKind::ConfigMap, &config.name, &config.key),
            (None, Some(secret), None) => elsewhere(TemplateKind::Secret, &secret.name, &secret.key),
            (None, None, Some(literal)) => EntryText::Literal(literal.clone()),
            _ => {
                return Err(SpecError::field(&at, "set exactly one of configMapRef, secretRef, literal in each entry"));
            }
        };
        parsed.push(Entry { text, name: entry.name.clone(), into });
    }
    Ok(parsed)
}

/// Whether the Secret has the templated values only. An object that has the earlier `include`, which had `Merge` as the
/// default of its schema, keeps its keys; `mergePolicy` beside that default counts.
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
        // Generated values are in the Secret only.
        let fix = "write Merge, or remove it; generated values are kept in the Secret only";
        return Err(SpecError::field(&format!("{AT}.{field}"), fix));
    }
    Ok(replaces)
}
