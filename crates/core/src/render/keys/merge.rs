//! One object made of values that are objects themselves, as External Secrets makes it.

use std::collections::BTreeMap;

use rekey_api::policy::{MergeConflictPolicy, MergePriorityPolicy, MergeRewrite, MergeStrategy};
use serde_json::value::RawValue;

use super::{Named, shown};
use crate::{
    SecretBytes, SpecError,
    published::MOST_KEYS,
    render::{
        RenderError, json, kinds,
        work::{Resource, Work},
    },
};

/// How values become one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merge {
    /// The key that gets the object; `None`: its members become keys.
    into: Option<String>,
    /// Whether to refuse two equal members.
    is_strict: bool,
    /// Names whose values come last.
    priority: Vec<String>,
    /// Whether all of them must exist.
    needs_all: bool,
}

/// Members of the object so far: whose value it is, and the value.
type Members<'v> = BTreeMap<String, (&'v str, &'v RawValue)>;

impl Merge {
    /// Parses a merge. `at` is its path.
    ///
    /// # Errors
    /// When the object has nowhere to go.
    pub fn parse(at: &str, spec: &MergeRewrite) -> Result<Self, SpecError> {
        let into = match (spec.strategy.unwrap_or_default(), &spec.into) {
            (MergeStrategy::Extract, _) => None,
            (MergeStrategy::Json, Some(into)) => Some(into.clone()),
            (MergeStrategy::Json, None) => {
                let fix = "name the key that gets the merged object; strategy JSON needs it";
                return Err(SpecError::field(&format!("{at}.merge.into"), fix));
            }
        };
        Ok(Self {
            into,
            is_strict: spec.conflict_policy.unwrap_or_default() == MergeConflictPolicy::Error,
            priority: spec.priority.clone(),
            needs_all: spec.priority_policy.unwrap_or_default() == MergePriorityPolicy::Strict,
        })
    }

    /// Merges; later values win. First come all values in the order of their names, then those of `priority` in its
    /// order.
    ///
    /// # Errors
    /// `MergeFailed`, `TooManyKeys`, `TooLarge`, and when `work` has not as much left.
    pub fn apply(&self, at: &str, mut named: Named, work: &Work) -> Result<Named, RenderError> {
        let failed = |text: String| RenderError::MergeFailed { at: at.to_owned(), text };
        let mut members = Members::new();
        for name in self.order(&named) {
            let Some((_, value)) = named.get(name) else {
                if self.needs_all {
                    let name = shown(name);
                    return Err(failed(format!(
                        "{name:?} of priority does not exist; remove it, or set priorityPolicy to IgnoreNotFound"
                    )));
                }
                continue;
            };
            for (member, value) in objects(at, name, value, work)? {
                let before = members.insert(member.clone(), (name, value));
                if let Some((other, _)) = before.filter(|_| self.is_strict) {
                    let (member, other, name) = (shown(&member), shown(other), shown(name));
                    return Err(failed(format!(
                        "{other:?} and {name:?} both have the member {member:?}; set conflictPolicy to Ignore to take \
                         the last one, and priority to choose which comes last"
                    )));
                }
            }
        }
        if members.len() > MOST_KEYS {
            return Err(RenderError::TooManyKeys { keys: members.len() });
        }
        let merged = match &self.into {
            None => {
                members.into_iter().map(|(member, (_, value))| (member.clone(), (member, json::text(value)))).collect()
            }
            Some(into) => {
                let object = object(&members);
                named.insert(into.clone(), (into.clone(), object));
                named
            }
        };
        // Each merge may double the size.
        let size = merged.values().map(|(_, value)| value.len()).sum::<usize>();
        if size > kinds::MAX_SIZE { Err(RenderError::TooLarge { size }) } else { Ok(merged) }
    }

    fn order<'a>(&'a self, named: &'a Named) -> impl Iterator<Item = &'a str> {
        let others = named.keys().filter(|name| !self.priority.contains(name));
        others.chain(&self.priority).map(String::as_str)
    }
}

/// The members of a value.
fn objects<'v>(at: &str, name: &str, value: &'v SecretBytes, work: &Work) -> Result<json::Object<'v>, RenderError> {
    work.spend(Resource::Parsed, (json::PASSES + 1) * value.len())?;
    let name = shown(name);
    let none = || RenderError::MergeFailed {
        at: at.to_owned(),
        text: format!("the value of {name:?} is not a JSON object of at most {} levels", json::MAX_DEPTH),
    };
    match json::document(value, name) {
        Ok(document) if json::is_null(document) => Ok(json::Object::new()),
        Ok(_) => json::object(value, name, MOST_KEYS).map_err(|error| match error {
            RenderError::NotJson { .. } => none(),
            other => other,
        }),
        Err(_) => Err(none()),
    }
}

/// The object as JSON: each value as in the store.
fn object(members: &Members<'_>) -> SecretBytes {
    let mut json = Vec::from(*b"{");
    for (member, (_, value)) in members {
        if json.len() > 1 {
            json.push(b',');
        }
        json.extend(serde_json::Value::from(member.as_str()).to_string().into_bytes());
        json.push(b':');
        json.extend(value.get().as_bytes());
    }
    json.push(b'}');
    SecretBytes::new(json)
}
