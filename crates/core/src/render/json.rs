//! JSON as it is in a store: we take members out of the text itself, so that numbers keep every digit.

mod members;
mod splice;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;

pub use self::splice::with_members;

use super::RenderError;
use crate::SecretBytes;

/// The deepest nesting of a remote JSON value (security rule X11).
pub const MAX_DEPTH: usize = 32;

/// A JSON object by member; each member is its text in the store. A name that appears twice has its last value.
pub type Object<'v> = BTreeMap<String, &'v RawValue>;

/// How often [`object`] and [`pick`] read each byte of a value.
pub const PASSES: usize = 3;

/// Parses a remote value as a JSON object of at most so many members.
///
/// # Errors
/// `NotJson` when it is not one, or is nested deeper than 32 levels; `TooManyKeys`.
pub fn object<'v>(value: &'v SecretBytes, key: &str, most: usize) -> Result<Object<'v>, RenderError> {
    let members = members::all(document(value, key)?.get(), most).ok_or_else(|| not_json(key))?;
    match members.more {
        0 => Ok(members.first),
        more => Err(RenderError::TooManyKeys { keys: members.first.len() + more }),
    }
}

/// Parses a remote value as a JSON object, but keeps only the members with these names.
///
/// # Errors
/// `NotJson` when it is not one, or is nested deeper than 32 levels.
pub fn pick<'v, 'n>(
    value: &'v SecretBytes,
    key: &str,
    names: &BTreeSet<&'n str>,
) -> Result<BTreeMap<&'n str, &'v RawValue>, RenderError> {
    members::named(document(value, key)?.get(), names).ok_or_else(|| not_json(key))
}

/// The value inside another one under a name, or at a position of a list. Reads each byte of the outer value once.
#[must_use]
pub fn step<'v>(at: &'v RawValue, part: &str) -> Option<&'v RawValue> {
    if at.get().starts_with('[') {
        members::item(at.get(), part.parse().ok()?)
    } else {
        members::named(at.get(), &BTreeSet::from([part]))?.remove(part)
    }
}

/// Parses a remote value as any JSON.
///
/// # Errors
/// `NotJson` when it is none, or is nested deeper than 32 levels.
pub fn document<'a>(value: &'a SecretBytes, key: &str) -> Result<&'a RawValue, RenderError> {
    let parsed: &RawValue = serde_json::from_slice(value.expose()).map_err(|_| not_json(key))?;
    if depth(parsed.get()) <= MAX_DEPTH { Ok(parsed) } else { Err(not_json(key)) }
}

/// Those of the named members that an object has, as values of a Secret.
///
/// # Errors
/// As [`pick`].
pub fn texts<'n>(
    bytes: &SecretBytes,
    key: &str,
    names: impl Iterator<Item = &'n String>,
) -> Result<BTreeMap<String, SecretBytes>, RenderError> {
    let names: BTreeSet<&str> = names.map(String::as_str).collect();
    Ok(pick(bytes, key, &names)?.into_iter().map(|(name, value)| (name.to_owned(), text(value))).collect())
}

/// A JSON value as the value of a Secret: strings as their text, `null` as an empty value, all else as in the store,
/// byte for byte.
#[must_use]
pub fn text(value: &RawValue) -> SecretBytes {
    match serde_json::from_str::<String>(value.get()) {
        Ok(text) => SecretBytes::from(text),
        Err(_) if is_null(value) => SecretBytes::default(),
        Err(_) => SecretBytes::from(value.get()),
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

/// Calls `visit` for each character with whether it is inside a string. The text is valid JSON.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_stand_as_they_are_in_the_store() -> Result<(), RenderError> {
        let value = SecretBytes::from(
            r#"{ "id": 12345678901234567890123, "price": 1.10, "list": [ 1e5, {"z": "a b\" ]", "a": -0 } ], "s": "\u00e9" }"#,
        );
        let members = object(&value, "k", 9)?;
        for (name, expected) in [
            ("id", "12345678901234567890123"),
            ("price", "1.10"),
            ("list", r#"[ 1e5, {"z": "a b\" ]", "a": -0 } ]"#),
            ("s", "é"),
        ] {
            assert_eq!(text(members[name]), SecretBytes::from(expected), "{name}");
        }
        Ok(())
    }

    #[test]
    fn depth_is_bounded_and_brackets_in_strings_do_not_count() {
        let nested = |levels: usize| SecretBytes::from(format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels)));
        assert!(object(&nested(32), "k", 9).is_ok());
        assert!(object(&nested(33), "k", 9).is_err());
        assert!(object(&nested(100_000), "k", 9).is_err());
        let brackets = SecretBytes::from(format!(r#"{{"a": "\"{}"}}"#, "[{".repeat(40)));
        assert!(object(&brackets, "k", 9).is_ok());
    }

    #[test]
    fn members_that_are_too_many_are_counted_and_not_kept() {
        let members = |count: usize| {
            let members: Vec<String> = (0..count).map(|number| format!(r#""k{number}":"""#)).collect();
            SecretBytes::from(format!("{{{}}}", members.join(",")))
        };
        assert_eq!(object(&members(5_000), "k", 5_000).map(|object| object.len()), Ok(5_000));
        let refused = object(&members(80_000), "k", 5_000).map(|object| object.len());
        assert_eq!(refused, Err(RenderError::TooManyKeys { keys: 80_000 }));
        let value = members(80_000);
        let picked = pick(&value, "k", &["k7", "k79999", "other"].into());
        assert_eq!(picked.map(|picked| picked.into_keys().collect()), Ok(vec!["k7", "k79999"]));
    }

    #[test]
    fn of_equal_names_the_last_counts() {
        let value = SecretBytes::from(r#"{"a": 1, "b": {"c": 3}, "\u0061": 2, "b": {"c": [4, 5], "c": [6, 7]}}"#);
        let object = object(&value, "k", 9).unwrap();
        let picked = pick(&value, "k", &["a", "b"].into()).unwrap();
        assert_eq!((object["a"].get(), picked["a"].get()), ("2", "2"));
        let last = step(picked["b"], "c").and_then(|list| step(list, "1"));
        assert_eq!(last.map(RawValue::get), Some("7"));
    }
}
