//! JSON as it stands in a store: members are taken out of the text itself, so that numbers keep every digit.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::RenderError;
use crate::SecretBytes;

/// Nesting that a remote JSON value may have before it is refused (security rule X11).
const MAX_DEPTH: usize = 32;

/// A JSON object by member; each member is the text that stands in the store. A name that stands twice has its last
/// value.
pub type Object = BTreeMap<String, Box<RawValue>>;

/// Parses a remote value as a JSON object.
///
/// # Errors
/// `NotJson` when it is not one, or is nested deeper than 32 levels.
pub fn object(value: &SecretBytes, key: &str) -> Result<Object, RenderError> {
    serde_json::from_str(document(value, key)?.get()).map_err(|_| not_json(key))
}

/// Parses a remote value as any JSON.
///
/// # Errors
/// `NotJson` when it is none, or is nested deeper than 32 levels.
pub fn document<'a>(value: &'a SecretBytes, key: &str) -> Result<&'a RawValue, RenderError> {
    let parsed: &RawValue = serde_json::from_slice(value.expose()).map_err(|_| not_json(key))?;
    if depth(parsed.get()) <= MAX_DEPTH { Ok(parsed) } else { Err(not_json(key)) }
}

/// A JSON value as the value of a Secret: strings as their text, all else as compact JSON, members in the order they
/// stand in.
#[must_use]
pub fn text(value: &RawValue) -> SecretBytes {
    match serde_json::from_str::<String>(value.get()) {
        Ok(text) => SecretBytes::from(text),
        Err(_) => SecretBytes::from(compact(value.get())),
    }
}

/// Whether it is `null`.
#[must_use]
pub fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

fn not_json(key: &str) -> RenderError {
    RenderError::NotJson { key: key.to_owned() }
}

/// Calls `visit` for each character with whether it stands inside a string. The text is valid JSON.
fn scan(json: &str, mut visit: impl FnMut(char, bool)) {
    let (mut inside, mut escaped) = (false, false);
    for character in json.chars() {
        visit(character, inside);
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = inside,
            '"' => inside = !inside,
            _ => {}
        }
    }
}

fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    scan(json, |character, inside| match character {
        '{' | '[' if !inside => {
            depth += 1;
            deepest = deepest.max(depth);
        }
        '}' | ']' if !inside => depth = depth.saturating_sub(1),
        _ => {}
    });
    deepest
}

/// How many values it has, and members of its objects.
#[must_use]
pub fn items(value: &RawValue) -> usize {
    let mut items = 1;
    scan(value.get(), |character, inside| items += usize::from(!inside && matches!(character, ',' | ':' | '[' | '{')));
    items
}

fn compact(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    scan(json, |character, inside| {
        if inside || !character.is_ascii_whitespace() {
            text.push(character);
        }
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_stand_as_they_are_in_the_store() -> Result<(), RenderError> {
        let json = r#"{ "id": 12345678901234567890123, "price": 1.10, "list": [ 1e5, {"z": "a b\" ]", "a": -0 } ], "s": "\u00e9" }"#;
        let members = object(&SecretBytes::from(json), "k")?;
        for (name, expected) in [
            ("id", "12345678901234567890123"),
            ("price", "1.10"),
            ("list", r#"[1e5,{"z":"a b\" ]","a":-0}]"#),
            ("s", "é"),
        ] {
            assert_eq!(text(&members[name]), SecretBytes::from(expected), "{name}");
        }
        Ok(())
    }

    #[test]
    fn depth_is_bounded_and_brackets_in_strings_do_not_count() {
        let nested = |levels: usize| SecretBytes::from(format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels)));
        assert!(object(&nested(32), "k").is_ok());
        assert!(object(&nested(33), "k").is_err());
        assert!(object(&nested(100_000), "k").is_err());
        let brackets = SecretBytes::from(format!(r#"{{"a": "\"{}"}}"#, "[{".repeat(40)));
        assert!(object(&brackets, "k").is_ok());
    }
}
