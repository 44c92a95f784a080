//! One property out of a remote value.

use rekey_api::policy::Decoding;
use serde_json::Value;

use super::RenderError;
use crate::SecretBytes;

/// Nesting that a remote JSON value may have before it is refused (security rule X11).
const MAX_DEPTH: usize = 32;

/// Takes `property` out of `value`: the literal key first, else the dotted path. Without a property it is the whole
/// value. Strings are taken as they are; other JSON values as compact JSON.
///
/// # Errors
/// `NotJson` when a property is asked of something that is no JSON object, `PropertyNotFound` when it has no such
/// property (the message lists no names of others: names can be secrets too).
pub fn property(value: &SecretBytes, key: &str, property: Option<&str>) -> Result<SecretBytes, RenderError> {
    let Some(property) = property else {
        return Ok(value.clone());
    };
    let object = object(value, key)?;
    let missing = || RenderError::PropertyNotFound { key: key.to_owned(), property: property.to_owned() };
    let mut found = object.get(property);
    if found.is_none() {
        let mut at = &object;
        for part in property.split('.') {
            at = step(at, part).ok_or_else(missing)?;
        }
        found = Some(at);
    }
    Ok(match found.ok_or_else(missing)? {
        Value::String(text) => SecretBytes::from(text.as_str()),
        other => SecretBytes::from(other.to_string()),
    })
}

/// Parses a remote value as a JSON object.
///
/// # Errors
/// `NotJson` when it is not one, or is nested deeper than 32 levels.
pub fn object(value: &SecretBytes, key: &str) -> Result<Value, RenderError> {
    let parsed: Option<Value> = serde_json::from_slice(value.expose()).ok();
    match parsed {
        Some(parsed) if parsed.is_object() && depth(&parsed) <= MAX_DEPTH => Ok(parsed),
        _ => Err(RenderError::NotJson { key: key.to_owned() }),
    }
}

/// Applies the decoding of a reference.
///
/// # Errors
/// `NotBase64` when the value cannot be decoded.
pub fn decode(value: SecretBytes, decoding: Decoding, secret_key: &str) -> Result<SecretBytes, RenderError> {
    use base64::Engine as _;
    match decoding {
        Decoding::None => Ok(value),
        Decoding::Base64 => {
            let text: Vec<u8> = value.expose().iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
            base64::engine::general_purpose::STANDARD
                .decode(SecretBytes::new(text).expose())
                .map(SecretBytes::new)
                .map_err(|_| RenderError::NotBase64 { secret_key: secret_key.to_owned() })
        }
    }
}

fn step<'a>(at: &'a Value, part: &str) -> Option<&'a Value> {
    match at {
        Value::Object(members) => members.get(part),
        Value::Array(items) => items.get(part.parse::<usize>().ok()?),
        _ => None,
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(json: &str, name: &str) -> Result<String, RenderError> {
        property(&SecretBytes::from(json), "shop/db", Some(name))
            .map(|value| value.expose_text().unwrap_or_default().to_owned())
    }

    #[test]
    fn literal_key_goes_before_the_dotted_path() {
        let json = r#"{"a.b": "literal", "a": {"b": "path", "list": [1, {"x": true}]}, "n": 7}"#;
        for (name, expected) in
            [("a.b", "literal"), ("a.list.1.x", "true"), ("n", "7"), ("a", r#"{"b":"path","list":[1,{"x":true}]}"#)]
        {
            assert_eq!(take(json, name), Ok(expected.to_owned()), "{name}");
        }
    }

    #[test]
    fn what_is_missing_is_named_without_any_value() {
        let error = take(r#"{"other": "hunter2"}"#, "password").map_err(|error| error.to_string());
        let text = error.err().unwrap_or_default();
        assert!(text.contains("\"password\"") && text.contains("shop/db"), "{text}");
        assert!(!text.contains("hunter2") && !text.contains("other"), "{text}");
    }

    #[test]
    fn text_that_is_no_object_and_bombs_are_refused() {
        let bomb = format!("{}1{}", r#"{"a":"#.repeat(40), "}".repeat(40));
        for json in ["plain", "[1]", "\"x\"", bomb.as_str()] {
            assert!(matches!(take(json, "a"), Err(RenderError::NotJson { .. })), "{json}");
        }
    }

    #[test]
    fn base64_is_decoded_with_line_breaks_and_refused_when_broken() {
        let decoded = decode(SecretBytes::from("aGVs\nbG8="), Decoding::Base64, "k");
        assert_eq!(decoded, Ok(SecretBytes::from("hello")));
        assert!(decode(SecretBytes::from("%%"), Decoding::Base64, "k").is_err());
    }
}
