//! The part of an API server's validation that is not CEL: types, bounds, patterns, required fields, keys of lists.

use regex::Regex;
use serde_json::Value;

/// Messages as the API server words them.
pub fn check(schema: &Value, value: &Value) -> Vec<String> {
    let mut said = Vec::new();
    visit("", schema, value, &mut said);
    said
}

fn visit(path: &str, schema: &Value, value: &Value, said: &mut Vec<String>) {
    let fits = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("boolean") => value.is_boolean(),
        _ => true,
    };
    if !fits {
        said.push(format!("{path}: must be of type {}", schema["type"]));
        return;
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        said.push(format!("{path}: Unsupported value: {value}"));
    }
    match value {
        Value::Object(members) => object(path, schema, members, said),
        Value::Array(items) => array(path, schema, items, said),
        Value::String(text) => string(path, schema, text, said),
        Value::Number(number) => {
            if let (Some(number), Some(minimum)) =
                (number.as_f64(), schema["minimum"].as_f64().filter(|bound| number.as_f64() < Some(*bound)))
            {
                said.push(format!("{path}: {number} should be greater than or equal to {minimum}"));
            }
            if let (Some(number), Some(maximum)) =
                (number.as_f64(), schema["maximum"].as_f64().filter(|bound| number.as_f64() > Some(*bound)))
            {
                said.push(format!("{path}: {number} should be less than or equal to {maximum}"));
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

fn object(path: &str, schema: &Value, members: &serde_json::Map<String, Value>, said: &mut Vec<String>) {
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !members.contains_key(name) {
            said.push(format!("{path}.{name}: Required value"));
        }
    }
    let size = members.len() as u64;
    if schema["maxProperties"].as_u64().is_some_and(|max| size > max) {
        said.push(format!("{path}: Too many: {size}"));
    }
    if let Some(min) = schema["minProperties"].as_u64().filter(|min| size < *min) {
        said.push(format!("{path}: should have at least {min} properties"));
    }
    for (name, member) in members {
        let below = format!("{path}.{name}");
        if schema["properties"][name].is_object() {
            visit(&below, &schema["properties"][name], member, said);
        } else if schema["additionalProperties"].is_object() {
            visit(&below, &schema["additionalProperties"], member, said);
        } else if !path.is_empty() {
            said.push(format!("{below}: unknown field"));
        }
    }
}

fn array(path: &str, schema: &Value, items: &[Value], said: &mut Vec<String>) {
    let size = items.len() as u64;
    if let Some(max) = schema["maxItems"].as_u64().filter(|max| size > *max) {
        said.push(format!("{path}: Too many: {size}: must have at most {max} items"));
    }
    if let Some(min) = schema["minItems"].as_u64().filter(|min| size < *min) {
        said.push(format!("{path}: should have at least {min} items"));
    }
    let identity = |item: &Value| match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => Some(item.clone()),
        Some("map") => {
            let keys = schema["x-kubernetes-list-map-keys"].as_array()?;
            Some(keys.iter().filter_map(Value::as_str).map(|key| item[key].clone()).collect())
        }
        _ => None,
    };
    let identities: Vec<Value> = items.iter().filter_map(identity).collect();
    for (index, identity) in identities.iter().enumerate() {
        if identities[..index].contains(identity) {
            said.push(format!("{path}[{index}]: Duplicate value: {identity}"));
        }
    }
    for (index, item) in items.iter().enumerate() {
        visit(&format!("{path}[{index}]"), &schema["items"], item, said);
    }
}

fn string(path: &str, schema: &Value, text: &str, said: &mut Vec<String>) {
    let size = text.chars().count() as u64;
    if let Some(max) = schema["maxLength"].as_u64().filter(|max| size > *max) {
        said.push(format!("{path}: Too long: may not be more than {max} bytes"));
    }
    if let Some(min) = schema["minLength"].as_u64().filter(|min| size < *min) {
        said.push(format!("{path}: should be at least {min} chars long"));
    }
    if let Some(pattern) = schema["pattern"].as_str()
        && !Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
    {
        said.push(format!("{path}: should match '{pattern}'"));
    }
}
