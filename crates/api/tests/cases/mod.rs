//! Objects that the API server must accept or refuse, as data: the same table is checked against the schema here and applied to a
//! real API server by the end-to-end tests.
//!
//! Each file names a kind, some valid base objects, and cases. The object of a case is its base with `merge` laid over it (JSON merge
//! patch: null removes, a list replaces). With `before`, the object first exists with that patch and the case is an update.
//! `refused` is a part of what the API server says (of at least one message, where it has several); without it the object is
//! accepted.

#![expect(clippy::panic, reason = "a broken table is a broken test")]

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

const FILES: [(&str, &str); 4] = [
    ("cluster_remote_store.yaml", include_str!("cluster_remote_store.yaml")),
    ("remote_store.yaml", include_str!("remote_store.yaml")),
    ("rotation_schedule.yaml", include_str!("rotation_schedule.yaml")),
    ("secret_policy.yaml", include_str!("secret_policy.yaml")),
];

/// One object and what becomes of it.
pub struct Case {
    /// File and name, for messages of tests.
    pub title: String,
    /// Kind of the object.
    pub kind: String,
    /// The object to create, or to update to. Its name is `case` and it has no namespace.
    pub object: Value,
    /// The object that exists before, for an update.
    pub before: Option<Value>,
    /// A part of what is said when it is refused; none if it is accepted.
    pub refused: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    kind: String,
    bases: BTreeMap<String, Value>,
    cases: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    base: String,
    #[serde(default)]
    merge: Value,
    before: Option<Value>,
    refused: Option<String>,
}

/// Every case of every file; each base is an accepted case, too.
pub fn all() -> Vec<Case> {
    FILES.iter().flat_map(|(name, text)| read(name, text)).collect()
}

fn read(name: &str, text: &str) -> Vec<Case> {
    let file: File = serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
    let bases: Vec<Entry> = file
        .bases
        .keys()
        .map(|base| Entry {
            name: "as it is".to_owned(),
            base: base.clone(),
            merge: Value::Null,
            before: None,
            refused: None,
        })
        .collect();
    let object = |entry: &Entry, patch: &Value| {
        let base = file.bases.get(&entry.base).unwrap_or_else(|| panic!("{name}: no base {}", entry.base));
        let mut object = json!({"apiVersion": "rekey.dev/v1alpha1", "kind": file.kind, "metadata": {"name": "case"}});
        lay_over(&mut object, base);
        lay_over(&mut object, patch);
        object
    };
    bases
        .iter()
        .chain(&file.cases)
        .map(|entry| Case {
            title: format!("{name}: {}: {}", entry.base, entry.name),
            kind: file.kind.clone(),
            object: object(entry, &entry.merge),
            before: entry.before.as_ref().map(|patch| object(entry, patch)),
            refused: entry.refused.clone(),
        })
        .collect()
}

/// JSON merge patch (RFC 7386); a patch that is null at the top changes nothing.
fn lay_over(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        if !patch.is_null() {
            *target = patch.clone();
        }
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    if let Some(target) = target.as_object_mut() {
        for (name, value) in patch {
            if value.is_null() {
                target.remove(name);
            } else {
                lay_over(target.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
    }
}
