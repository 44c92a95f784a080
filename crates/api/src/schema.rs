//! Cleans what the derives generate into what an API server should get.

use serde_json::{Map, Number, Value};

/// Formats that an API server checks; it ignores others, such as `uint32`.
const KNOWN_FORMATS: [&str; 4] = ["byte", "date-time", "int32", "int64"];

/// Cleans a schema and everything below it:
/// an optional field is absent, never null; formats that only Rust knows go; descriptions become single lines.
pub(crate) fn clean(schema: &mut Value) {
    let Some(node) = schema.as_object_mut() else {
        return;
    };
    node.remove("nullable");
    if node.get("default") == Some(&Value::Null) {
        node.remove("default");
    }
    if let Some(Value::Array(words)) = node.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    let format = node.get("format").and_then(Value::as_str);
    if format.is_some_and(|format| !KNOWN_FORMATS.contains(&format)) {
        node.remove("format");
    }
    if let Some(Value::String(description)) = node.get_mut("description") {
        *description = joined(description);
    }
    for child in children(node) {
        clean(child);
    }
}

/// The schemas of properties, items and map values.
fn children(node: &mut Map<String, Value>) -> Vec<&mut Value> {
    let mut children = Vec::new();
    for (keyword, value) in node.iter_mut() {
        match (keyword.as_str(), value) {
            ("properties", Value::Object(properties)) => children.extend(properties.values_mut()),
            ("items" | "additionalProperties", value) => children.push(value),
            _ => {}
        }
    }
    children
}

/// A description without the line breaks of its source; empty lines between paragraphs stay.
fn joined(description: &str) -> String {
    let paragraphs: Vec<String> =
        description.split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    paragraphs.join("\n\n")
}

/// Removes a property wherever it occurs.
pub(crate) fn remove_property(schema: &mut Value, name: &str) {
    let Some(node) = schema.as_object_mut() else {
        return;
    };
    if let Some(Value::Object(properties)) = node.get_mut("properties") {
        properties.remove(name);
    }
    for child in children(node) {
        remove_property(child, name);
    }
}

/// Writes whole numbers as integers: the Rust type of a bound is a float.
pub(crate) fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(whole) = whole(number) {
                *value = Value::from(whole);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(members) => members.values_mut().for_each(whole_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

fn whole(number: &Number) -> Option<i64> {
    if !number.is_f64() {
        return None;
    }
    number.to_string().strip_suffix(".0")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cleaning_keeps_properties_that_are_named_like_keywords() {
        let mut schema = json!({
            "type": "object",
            "nullable": true,
            "properties": {
                "nullable": {"type": "boolean", "nullable": true, "default": null},
                "format": {"type": "string", "format": "uint32", "description": "One\nline.\n\nTwo."},
                "state": {"type": "string", "enum": ["A", null], "nullable": true},
            },
        });
        clean(&mut schema);
        assert_eq!(
            schema,
            json!({
                "type": "object",
                "properties": {
                    "nullable": {"type": "boolean"},
                    "format": {"type": "string", "description": "One line.\n\nTwo."},
                    "state": {"type": "string", "enum": ["A"]},
                },
            })
        );
    }

    #[test]
    fn whole_numbers_lose_their_fraction_and_others_keep_it() {
        let mut value = json!({"maximum": 65535.0, "ratio": 0.5, "list": [1.0, 2]});
        whole_numbers(&mut value);
        assert_eq!(value, json!({"maximum": 65535, "ratio": 0.5, "list": [1, 2]}));
    }
}
