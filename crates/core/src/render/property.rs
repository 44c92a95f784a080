//! One value out of a remote value, or all of them.

use std::collections::{BTreeMap, BTreeSet};

use rekey_api::policy::{Decoding, RemoteRef};
use serde_json::value::RawValue;

use super::{
    RenderError, decoding,
    expression::Expression,
    json,
    keys::Rewrites,
    work::{Resource, Work},
};
use crate::{SecretBytes, SpecError, published::MOST_KEYS};

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

    /// Takes the part out of a value.
    ///
    /// # Errors
    /// As for [`Source::property`] and [`Expression::evaluate`], and when `work` has not as much left.
    pub fn take<'v>(&'v self, source: &mut Source<'v>, work: &Work) -> Result<SecretBytes, RenderError> {
        let Source { value, key, .. } = *source;
        match self {
            Self::Whole => Ok(value.clone()),
            Self::Property(name) => source.property(name, work),
            Self::Expression(text) => {
                let failed = |text| RenderError::ExpressionFailed { key: key.to_owned(), text };
                let expression = Expression::parse(text).map_err(failed)?;
                work.spend(Resource::Parsed, expression.cost(value.len()))?;
                expression.evaluate(value, key)
            }
        }
    }
}

/// A remote value that parts are taken out of. It is read once for all the properties that are wanted before the first is
/// taken.
pub struct Source<'v> {
    value: &'v SecretBytes,
    key: &'v str,
    /// Members that properties may be, or start at.
    names: BTreeSet<&'v str>,
    /// Those of them that there are; `None`: not read yet.
    members: Option<BTreeMap<&'v str, &'v RawValue>>,
}

impl<'v> Source<'v> {
    /// The value at `key`.
    #[must_use]
    pub fn new(value: &'v SecretBytes, key: &'v str) -> Self {
        Self { value, key, names: BTreeSet::new(), members: None }
    }

    /// Says that `part` will be taken.
    pub fn want(&mut self, part: &'v Part) {
        match part {
            Part::Property(name) => self.name(name),
            Part::Whole | Part::Expression(_) => {}
        }
    }

    fn name(&mut self, property: &'v str) {
        for name in [property, first(property)] {
            if self.names.insert(name) {
                self.members = None;
            }
        }
    }

    /// Takes `property` out: the literal key first, else the dotted path. Strings are taken as they are; other JSON values
    /// as compact JSON.
    ///
    /// # Errors
    /// `NotJson` when the value is no JSON object, `PropertyNotFound` when it has no such property or that is `null` (the
    /// message lists no names of others: names can be secrets too), and when `work` has not as much left.
    pub fn property(&mut self, property: &'v str, work: &Work) -> Result<SecretBytes, RenderError> {
        self.name(property);
        let key = self.key;
        let members = self.members(work)?;
        let found = match members.get(property) {
            Some(literal) => Some(*literal),
            None => path(members, property, work)?,
        };
        match found {
            Some(found) if !json::is_null(found) => {
                work.spend(Resource::Parsed, found.get().len())?;
                Ok(json::text(found))
            }
            Some(_) | None => Err(RenderError::PropertyNotFound { key: key.to_owned(), property: property.to_owned() }),
        }
    }

    fn members(&mut self, work: &Work) -> Result<&BTreeMap<&'v str, &'v RawValue>, RenderError> {
        let members = if let Some(members) = self.members.take() {
            members
        } else {
            work.spend(Resource::Parsed, json::PASSES * self.value.len())?;
            json::pick(self.value, self.key, &self.names)?
        };
        Ok(self.members.insert(members))
    }
}

/// How often a value is looked at for a property, beside the once for all of its properties.
#[must_use]
pub fn steps(property: &str) -> usize {
    property.matches('.').count().min(json::MAX_DEPTH)
}

/// Every property of the object at `key` as a key of the Secret: strings as they are, all else as compact JSON, then
/// decoded.
///
/// # Errors
/// `NotJson`, `NotBase64`, `TooManyKeys`, when `work` has not as much left, and what [`Rewrites::apply`] refuses.
pub fn extract(
    value: &SecretBytes,
    key: &str,
    decoding: Decoding,
    rewrites: &Rewrites,
    work: &Work,
) -> Result<BTreeMap<String, SecretBytes>, RenderError> {
    work.spend(Resource::Parsed, (json::PASSES + 1) * value.len())?;
    let mut members = BTreeMap::new();
    for (name, member) in json::object(value, key, MOST_KEYS)? {
        let decoded = decode(json::text(member), decoding, &name, work)?;
        members.insert(name, decoded);
    }
    rewrites.apply(members, work)
}

/// Applies the decoding of a reference.
///
/// # Errors
/// `NotBase64` when the value cannot be decoded, and when `work` has not as much left.
pub fn decode(
    value: SecretBytes,
    decoding: Decoding,
    secret_key: &str,
    work: &Work,
) -> Result<SecretBytes, RenderError> {
    if decoding == Decoding::None {
        return Ok(value);
    }
    work.spend(Resource::Parsed, value.len())?;
    decoding::decoded(&value, decoding).ok_or_else(|| RenderError::NotBase64 { secret_key: secret_key.to_owned() })
}

fn path<'v>(
    members: &BTreeMap<&str, &'v RawValue>,
    property: &str,
    work: &Work,
) -> Result<Option<&'v RawValue>, RenderError> {
    let mut at = members.get(first(property)).copied();
    for part in property.split('.').skip(1) {
        let Some(value) = at else { break };
        work.spend(Resource::Parsed, value.get().len())?;
        at = json::step(value, part);
    }
    Ok(at)
}

/// The member that a dotted path starts at.
fn first(property: &str) -> &str {
    property.split_once('.').map_or(property, |(first, _)| first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(json: &str, name: &str) -> Result<String, RenderError> {
        let value = SecretBytes::from(json);
        let taken = Source::new(&value, "shop/db").property(name, &Work::default());
        taken.map(|value| value.expose_text().unwrap_or_default().to_owned())
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

    /// A value whose members stand inside of each other.
    fn nested(levels: usize, size: usize) -> SecretBytes {
        SecretBytes::from(format!("{}\"{}\"{}", r#"{"a":"#.repeat(levels), "x".repeat(size), "}".repeat(levels)))
    }

    fn spent(work: &Work) -> usize {
        usize::try_from(Resource::Parsed.limit()).unwrap_or_default() - work.left(Resource::Parsed)
    }

    #[test]
    fn each_step_of_a_path_costs_what_it_reads() -> Result<(), RenderError> {
        let (value, work, path) = (nested(31, 50_000), Work::default(), ["a"; 31].join("."));
        Source::new(&value, "k").property(&path, &work)?;
        let passes = spent(&work) / 50_000;
        assert_eq!((passes, steps(&path)), (json::PASSES + 30 + 1, 30), "the whole, each step, and what is taken");
        assert_eq!(steps(&".".repeat(1_000)), json::MAX_DEPTH, "nothing is nested deeper");
        let mut source = Source::new(&value, "k");
        let ended = (0..256).find_map(|_| source.property(&path, &work).err());
        assert!(matches!(ended, Some(RenderError::TooMuchWork { .. })), "{ended:?}");
        Ok(())
    }

    #[test]
    fn a_value_is_read_once_for_all_properties_that_are_wanted() -> Result<(), RenderError> {
        let members: Vec<String> = (0..256).map(|number| format!(r#""p{number}":"{}""#, "x".repeat(2_000))).collect();
        let value = SecretBytes::from(format!("{{{}}}", members.join(",")));
        let parts: Vec<Part> = (0..256).map(|number| Part::Property(format!("p{number}"))).collect();
        let (work, mut source) = (Work::default(), Source::new(&value, "k"));
        for part in &parts {
            source.want(part);
        }
        for part in &parts {
            assert_eq!(part.take(&mut source, &work)?.len(), 2_000);
        }
        assert!(spent(&work) <= (json::PASSES + 1) * value.len(), "{} of {}", spent(&work), value.len());
        Ok(())
    }

    #[test]
    fn blanks_that_decode_to_nothing_cost_what_they_take() {
        let (value, work) = (SecretBytes::from(" ".repeat(1 << 20)), Work::default());
        let ended = (0..256).find_map(|_| decode(value.clone(), Decoding::Base64, "k", &work).err());
        assert!(matches!(ended, Some(RenderError::TooMuchWork { .. })), "{ended:?}");
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
        let decoded = decode(SecretBytes::from("aGVs\nbG8="), Decoding::Base64, "k", &Work::default());
        assert_eq!(decoded, Ok(SecretBytes::from("hello")));
        assert!(decode(SecretBytes::from("%%"), Decoding::Base64, "k", &Work::default()).is_err());
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
        let value = SecretBytes::from(r#"{"a": {"b": "x"}}"#);
        for part in [parse(None, Some("a.b")), parse(Some("a.b"), None)] {
            let taken = part.map(|part| part.take(&mut Source::new(&value, "k"), &Work::default()));
            assert_eq!(taken, Ok(Ok(SecretBytes::from("x"))));
        }
    }
}
