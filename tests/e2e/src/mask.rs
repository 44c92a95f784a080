//! Makes end states of different runs comparable.

use std::{cell::RefCell, collections::HashMap};

use anyhow::Result;
use regex::{Captures, Regex};
use serde_json::{Map, Value};

/// Fields that differ in every run and say nothing.
const DROPPED: [&str; 4] = ["resourceVersion", "uid", "managedFields", "creationTimestamp"];
/// Fields that hold a random revision, or names and times in one text.
const REVISIONS: [&str; 4] = ["revision", "previous", "origins", "rekey.dev/revision"];

/// Replaces what differs by nature. Ids and digests become numbers in the order of their first appearance, so that the
/// comparison still sees which of them are equal.
pub struct Mask {
    namespace: String,
    time: Regex,
    token: Regex,
    numbers: RefCell<HashMap<String, usize>>,
}

impl Mask {
    /// For one run, which had this namespace.
    ///
    /// # Errors
    /// Never.
    pub fn new(namespace: &str) -> Result<Self> {
        Ok(Self {
            namespace: namespace.to_owned(),
            time: Regex::new(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")?,
            token: Regex::new(
                r"\b([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{8}\.[0-9a-f]{16}|[0-9a-f]{32}|[0-9a-f]{64})\b",
            )?,
            numbers: RefCell::default(),
        })
    }

    /// The value, masked.
    #[must_use]
    pub fn of(&self, value: &Value) -> Value {
        match value {
            Value::Object(map) => {
                let mut names: Vec<&String> = map.keys().filter(|name| !DROPPED.contains(&name.as_str())).collect();
                names.sort();
                let masked = names.into_iter().map(|name| (name.clone(), self.field(name, &map[name])));
                Value::Object(masked.collect::<Map<_, _>>())
            }
            Value::Array(all) => Value::Array(all.iter().map(|item| self.of(item)).collect()),
            Value::String(text) => Value::String(self.text(text)),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    fn field(&self, name: &str, value: &Value) -> Value {
        match value {
            Value::String(text) if REVISIONS.contains(&name) => Value::String(self.number(text)),
            Value::String(text) if text.starts_with('{') => match serde_json::from_str(text) {
                Ok(inner) => self.of(&inner),
                Err(_) => Value::String(self.text(text)),
            },
            _ => self.of(value),
        }
    }

    fn text(&self, text: &str) -> String {
        let text = text.replace(&self.namespace, "<namespace>");
        let text = self.time.replace_all(&text, "<time>");
        self.token.replace_all(&text, |found: &Captures<'_>| self.number(&found[0])).into_owned()
    }

    fn number(&self, token: &str) -> String {
        let mut numbers = self.numbers.borrow_mut();
        let next = numbers.len() + 1;
        format!("<{}>", numbers.entry(token.to_owned()).or_insert(next))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn equal_tokens_stay_equal_and_nothing_else_is_lost() {
        let mask = |namespace: &str, revisions: [&str; 2], time: &str| {
            let changes = format!(r#"{{"previous":"{}","time":"{time}"}}"#, revisions[0]);
            Mask::new(namespace).unwrap().of(&json!({
                "metadata": {"uid": time, "generation": 2, "annotations": {"rekey.dev/changes": changes}},
                "status": {"revision": revisions[1], "history": [{"revision": revisions[0]}, {"revision": revisions[1]}]},
                "key": format!("{namespace}/db"),
            }))
        };
        let one = mask("shop-1", ["aaaaaaaaaa", "bbbbbbbbbb"], "2026-01-01T00:00:00Z");
        assert_eq!(one, mask("shop-2", ["cccccccccc", "dddddddddd"], "2026-01-02T00:00:00.123Z"));
        assert_ne!(one, mask("shop-2", ["cccccccccc", "cccccccccc"], "2026-01-02T00:00:00.123Z"));
        assert_eq!(one["metadata"]["generation"], 2);
        assert_eq!(one["key"], "<namespace>/db");
    }
}
