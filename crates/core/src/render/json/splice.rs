//! An object with some of its members replaced: every other byte stays as it is.

use std::collections::{BTreeMap, BTreeSet};

use super::{not_json, pick};
use crate::{SecretBytes, render::RenderError};

/// The object at `key` with these members set to texts. Of equal names it sets the last one, which counts; missing
/// members come behind the last one.
///
/// # Errors
/// `NotJson` when it is no object, or is nested deeper than 32 levels.
pub fn with_members(
    value: &SecretBytes,
    key: &str,
    texts: &BTreeMap<String, SecretBytes>,
) -> Result<SecretBytes, RenderError> {
    let refused = || not_json(key);
    let whole = value.expose_text().ok_or_else(refused)?;
    let names: BTreeSet<&str> = texts.keys().map(String::as_str).collect();
    let found = pick(value, key, &names)?;
    // Each member is a part of the whole text.
    let at = |member: &str| member.as_ptr().addr() - whole.as_ptr().addr();
    let mut places: Vec<(usize, usize, &str)> =
        found.iter().map(|(name, member)| (at(member.get()), member.get().len(), *name)).collect();
    places.sort_unstable();
    let (mut changed, mut done) = (String::with_capacity(whole.len()), 0);
    for (start, length, name) in places {
        changed.push_str(&whole[done..start]);
        changed.push_str(&quoted(texts, name));
        done = start + length;
    }
    let end = whole.rfind('}').ok_or_else(refused)?;
    let last = whole[..end].trim_end().len().max(done);
    changed.push_str(&whole[done..last]);
    let mut between = if changed.trim_end().ends_with('{') { "" } else { "," };
    for name in names.into_iter().filter(|name| !found.contains_key(name)) {
        changed.extend([between, &serde_json::to_string(name).unwrap_or_default(), ":", &quoted(texts, name)]);
        between = ",";
    }
    changed.push_str(&whole[last..]);
    Ok(SecretBytes::from(changed))
}

/// The text of a member as JSON; every text has such a form.
fn quoted(texts: &BTreeMap<String, SecretBytes>, name: &str) -> String {
    let text = texts.get(name).and_then(SecretBytes::expose_text).unwrap_or_default();
    serde_json::to_string(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(json: &str, pairs: &[(&str, &str)]) -> Result<String, RenderError> {
        let texts = pairs.iter().map(|(name, text)| ((*name).to_owned(), SecretBytes::from(*text))).collect();
        let changed = with_members(&SecretBytes::from(json), "k", &texts)?;
        Ok(changed.expose_text().unwrap_or_default().to_owned())
    }

    #[test]
    fn all_else_stays_byte_for_byte() {
        let json = " {\n  \"z\" : 12345678901234567890123,\t\"password\": { \"old\": \"}\" } ,\"rate\":1.10,\n  \"\\u0061\":[ 1e5,\"\\u0026 & {\" ], \"p\": 1 , \"p\":null }\n";
        let expected = " {\n  \"z\" : 12345678901234567890123,\t\"password\": \"a\\\"b&\" ,\"rate\":1.10,\n  \"\\u0061\":[ 1e5,\"\\u0026 & {\" ], \"p\": 1 , \"p\":\"}\" }\n";
        assert_eq!(with(json, &[("password", "a\"b&"), ("p", "}")]), Ok(expected.to_owned()));
        assert_eq!(with(json, &[]), Ok(json.to_owned()));
        assert_eq!(with(r#"{"\u0061": 1}"#, &[("a", "x")]), Ok(r#"{"\u0061": "x"}"#.to_owned()), "a name in escapes");
    }

    #[test]
    fn what_is_new_comes_last() {
        for (json, expected) in [
            ("{}", r#"{"n":"1","o":"2"}"#),
            (" { } ", r#" {"n":"1","o":"2" } "#),
            (r#"{"a":1}"#, r#"{"a":1,"n":"1","o":"2"}"#),
            ("{\n  \"a\": {}\n}\n", "{\n  \"a\": {},\"n\":\"1\",\"o\":\"2\"\n}\n"),
            (r#"{"o": 7 }"#, r#"{"o": "2","n":"1" }"#),
        ] {
            assert_eq!(with(json, &[("n", "1"), ("o", "2")]), Ok(expected.to_owned()), "{json}");
        }
        for json in ["", "[]", "\"text\"", "{", "{} {}"] {
            assert!(with(json, &[("n", "1")]).is_err(), "{json}");
        }
    }
}
