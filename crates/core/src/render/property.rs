//! One value out of a remote value, or all of them.

use std::collections::BTreeMap;

use rekey_api::policy::{Decoding, RemoteRef};
use serde_json::value::RawValue;

use super::{
    RenderError,
    expression::Expression,
    json::{self, Object},
    keys::Rewrites,
    work::{Resource, Work},
};
use crate::{SecretBytes, SpecError};

/// Which part of a remote value is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it, byte for byte.
    Whole,
    /// A property: the literal key, else the dotted path.
    Property(String),
    /// What a `JMESPath` expression gives. It is its text: parsed it takes hundreds of times as much, for each of the
    /// entries of an object.
    Expression(String),
}

impl Part {
    /// Reads what a reference asks for. `field` is the path of the reference, for example
    /// `spec.source.remote.data.remoteRef`.
    ///
    /// # Errors
    /// When a property is named beside an expression.
    pub fn parse(reference: &RemoteRef, field: &str) -> Result<Self, SpecError> {
        match (&reference.property, &reference.jmes_path) {
            (None, None) => Ok(Self::Whole),
            (Some(property), None) => Ok(Self::Property(property.clone())),
            (None, Some(text)) => Ok(Self::Expression(text.clone())),
            (Some(_), Some(_)) => Err(SpecError::field(field, "set at most one of property, jmesPath")),
        }
    }

    /// Looks at the expression, if it is one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn prove(&self, field: &str) -> Result<(), SpecError> {
        match self {
            Self::Whole | Self::Property(_) => Ok(()),
            Self::Expression(text) => {
                let wrong = |wrong| SpecError::field(&format!("{field}.jmesPath"), wrong);
                Expression::parse(text).map(drop).map_err(wrong)
            }
        }
    }

    /// Takes the part out of the value at `key`.
    ///
    /// # Errors
    /// As for [`property`] and [`Expression::evaluate`], and when `work` has not as much left.
    pub fn take(&self, value: &SecretBytes, key: &str, work: &Work) -> Result<SecretBytes, RenderError> {
        match self {
            Self::Whole => property(value, key, None),
            Self::Property(name) => {
                work.spend(Resource::Parsed, value.len())?;
                property(value, key, Some(name))
            }
            Self::Expression(text) => {
                let failed = |text| RenderError::ExpressionFailed { key: key.to_owned(), text };
                let expression = Expression::parse(text).map_err(failed)?;
                work.spend(Resource::Parsed, expression.cost(value.len()))?;
                expression.evaluate(value, key)
            }
        }
    }
}

/// Takes `property` out of `value`: the literal key first, else the dotted path. Without a property it is the whole
/// value. Strings are taken as they are; other JSON values as compact JSON.
///
/// # Errors
/// `NotJson` when a property is asked of something that is no JSON object, `PropertyNotFound` when it has no such
/// property or that is `null` (the message lists no names of others: names can be secrets too).
pub fn property(value: &SecretBytes, key: &str, property: Option<&str>) -> Result<SecretBytes, RenderError> {
    let Some(property) = property else {
        return Ok(value.clone());
    };
    let object = json::object(value, key)?;
    let found = match object.get(property) {
        Some(literal) => Some(literal.as_ref()),
        None => path(&object, property),
    };
    match found {
        Some(found) if !json::is_null(found) => Ok(json::text(found)),
        Some(_) | None => Err(RenderError::PropertyNotFound { key: key.to_owned(), property: property.to_owned() }),
    }
}

/// Every property of the object at `key` as a key of the Secret: strings as they are, all else as compact JSON, then
/// decoded.
///
/// # Errors
/// `NotJson`, `NotBase64`, when `work` has not as much left, and what [`Rewrites::apply`] refuses.
pub fn extract(
    value: &SecretBytes,
    key: &str,
    decoding: Decoding,
    rewrites: &Rewrites,
    work: &Work,
) -> Result<BTreeMap<String, SecretBytes>, RenderError> {
    work.spend(Resource::Parsed, value.len())?;
    let mut members = BTreeMap::new();
    for (name, member) in json::object(value, key)? {
        let decoded = decode(json::text(&member), decoding, &name)?;
        members.insert(name, decoded);
    }
    rewrites.apply(members, work)
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

fn path<'a>(object: &'a Object, property: &str) -> Option<&'a RawValue> {
    let mut parts = property.split('.');
    let mut at = object.get(parts.next()?)?.as_ref();
    for part in parts {
        at = step(at, part)?;
    }
    Some(at)
}

fn step<'a>(at: &'a RawValue, part: &str) -> Option<&'a RawValue> {
    if at.get().starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(at.get()).ok()?;
        items.get(part.parse::<usize>().ok()?).copied()
    } else {
        let mut members: BTreeMap<String, &RawValue> = serde_json::from_str(at.get()).ok()?;
        members.remove(part)
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
    fn numbers_keep_their_digits() {
        let json = r#"{"id": 12345678901234567890123, "a": {"price": 1.10}}"#;
        assert_eq!(take(json, "id"), Ok("12345678901234567890123".to_owned()));
        assert_eq!(take(json, "a.price"), Ok("1.10".to_owned()));
    }

    #[test]
    fn what_is_missing_is_named_without_any_value() {
        for json in [r#"{"other": "hunter2"}"#, r#"{"other": "hunter2", "password": null}"#] {
            let error = take(json, "password").map_err(|error| error.to_string());
            let text = error.err().unwrap_or_default();
            assert!(text.contains("\"password\"") && text.contains("shop/db"), "{text}");
            assert!(!text.contains("hunter2") && !text.contains("other"), "{text}");
        }
        for name in ["a.x", "a.0", "a.b.c", "s.t", "list.2", "list.x", "", "a..b"] {
            let json = r#"{"a": {"b": "path"}, "s": "text", "list": [1, 2]}"#;
            assert!(matches!(take(json, name), Err(RenderError::PropertyNotFound { .. })), "{name}");
        }
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

    #[test]
    fn extract_takes_every_property() -> Result<(), RenderError> {
        let value = SecretBytes::from(r#"{"user": "a", "port": 5432, "id": 12345678901234567890123, "tags": [ "x" ]}"#);
        let taken = extract(&value, "shop/db", Decoding::None, &Rewrites::default(), &Work::default())?;
        let expected: BTreeMap<String, SecretBytes> =
            [("user", "a"), ("port", "5432"), ("id", "12345678901234567890123"), ("tags", r#"["x"]"#)]
                .into_iter()
                .map(|(name, value)| (name.to_owned(), SecretBytes::from(value)))
                .collect();
        assert_eq!(taken, expected);
        Ok(())
    }

    #[test]
    fn extract_decodes_and_names_what_it_cannot() {
        let value = SecretBytes::from(r#"{"good": "aGk=", "bad": "%hunter2%"}"#);
        let error = extract(&value, "shop/db", Decoding::Base64, &Rewrites::default(), &Work::default()).err();
        assert_eq!(error, Some(RenderError::NotBase64 { secret_key: "bad".to_owned() }));
        let value = SecretBytes::from(r#"{"a key": "hunter2"}"#);
        let error = extract(&value, "shop/db", Decoding::None, &Rewrites::default(), &Work::default()).err();
        assert_eq!(error, Some(RenderError::InvalidKey { key: "a key".to_owned() }));
    }

    #[test]
    fn a_reference_is_parsed_at_the_door() {
        let parse = |property: Option<&str>, jmes_path: Option<&str>| {
            let reference = RemoteRef {
                key: "k".to_owned(),
                property: property.map(str::to_owned),
                jmes_path: jmes_path.map(str::to_owned),
                ..RemoteRef::default()
            };
            let part = Part::parse(&reference, "remoteRef").and_then(|part| part.prove("remoteRef").map(|()| part));
            part.map_err(|error| error.to_string())
        };
        assert_eq!(parse(None, None), Ok(Part::Whole));
        assert_eq!(parse(Some("a"), None), Ok(Part::Property("a".to_owned())));
        assert!(parse(Some("a"), Some("b")).is_err());
        let text = parse(None, Some("a[")).err().unwrap_or_default();
        assert!(text.starts_with("remoteRef.jmesPath: "), "{text}");
        let part = parse(None, Some("a.b"));
        let taken = part.map(|part| part.take(&SecretBytes::from(r#"{"a": {"b": "x"}}"#), "k", &Work::default()));
        assert_eq!(taken, Ok(Ok(SecretBytes::from("x"))));
    }
}
