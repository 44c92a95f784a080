//! JSON: bounds on what comes from outside, how deep it may be nested and how many objects it may hold; and an object of texts.

use std::collections::BTreeMap;

use rekey_core::SecretBytes;
use serde_json::Value;

/// The deepest nesting that is read.
const DEEPEST: usize = 32;

/// The most objects in one answer: a list of 100 secrets with 50 tags each has 5,100.
const MOST_OBJECTS: usize = 20_000;

/// Whether `text` holds no more objects than allowed: a parser with types makes several hundred bytes of `{}`. Says nothing
/// about whether it is valid JSON.
pub(crate) fn is_sparse(text: &[u8]) -> bool {
    let (mut objects, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' if !quoted => objects += 1,
            _ => {}
        }
    }
    objects <= MOST_OBJECTS
}

/// Whether `text` nests objects and arrays no deeper than allowed. Says nothing about whether it is valid JSON.
pub(crate) fn is_shallow(text: &[u8]) -> bool {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                depth += 1;
                if depth > DEEPEST {
                    return false;
                }
            }
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    true
}

/// These names and texts as a JSON object.
pub(crate) fn object(texts: &BTreeMap<String, String>) -> SecretBytes {
    let object: Value = texts.iter().map(|(name, text)| (name.clone(), text.clone())).collect();
    SecretBytes::from(object.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects() {
        assert!(is_sparse("{},".repeat(MOST_OBJECTS).as_bytes()));
        assert!(!is_sparse("{},".repeat(MOST_OBJECTS + 1).as_bytes()));
        assert!(
            is_sparse(format!("\"{}\"", "{\\\"".repeat(MOST_OBJECTS + 1)).as_bytes()),
            "braces in strings do not count"
        );
    }

    #[test]
    fn depth() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(is_shallow(b"{}"));
        assert!(is_shallow(nested(32).as_bytes()));
        assert!(!is_shallow(nested(33).as_bytes()));
        assert!(!is_shallow("{\"a\":".repeat(33).as_bytes()));
        assert!(is_shallow(format!("[\"{}\"]", "[{\\\"".repeat(100)).as_bytes()), "brackets in strings do not count");
        assert!(is_shallow("[],".repeat(100).as_bytes()), "what is closed does not count");
    }
}
