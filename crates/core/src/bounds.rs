//! Checks live objects against the schema again: the API server checks an object only when it is written, and an object
//! may be older than a bound. It uses the schema that the API server gets, so there is no second list of bounds, and a
//! new bound counts here at once.
//!
//! This module checks bounds, patterns, choices, keys of lists and lengths of time. The other CEL rules relate fields
//! to each other; the parsers of this crate repeat them. A test checks both with the cases of `crates/api/tests/cases`.
//!
//! [`fit()`] holds our own status to its schema.

mod fit;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
    time::Duration,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Resource, core::object::HasSpec};
use regex_lite::Regex;
use rekey_api::{GoDuration, crds};
use serde::Serialize;
use serde_json::{Map, Value};

pub use fit::fit;

use crate::SpecError;

static SCHEMAS: LazyLock<BTreeMap<String, Schemas>> = LazyLock::new(|| {
    let mut patterns = Patterns::default();
    let schemas = |crd: &CustomResourceDefinition| {
        let schema = crd.spec.versions.first()?.schema.as_ref()?.open_api_v3_schema.as_ref()?;
        let mut part = |name: &str| {
            let part = serde_json::to_value(schema.properties.as_ref()?.get(name)?).ok()?;
            Some(Node::read(&part, &mut patterns))
        };
        Some((crd.spec.names.kind.clone(), Schemas { spec: part("spec")?, status: part("status")? }))
    };
    crds::all().iter().filter_map(schemas).collect()
});

/// The schemas of a kind.
struct Schemas {
    spec: Node,
    status: Node,
}

fn schemas(kind: &str) -> Option<&'static Schemas> {
    SCHEMAS.get(kind)
}

/// An object of ours whose spec has bounds.
pub trait Bounded: Resource<DynamicType = ()> {
    /// Checks the spec against the schema of the kind.
    ///
    /// # Errors
    /// Names the first field that is out of bounds.
    fn within_bounds(&self) -> Result<(), SpecError>;
}

impl<K> Bounded for K
where
    K: Resource<DynamicType = ()> + HasSpec,
    K::Spec: Serialize,
{
    fn within_bounds(&self) -> Result<(), SpecError> {
        let kind = K::kind(&());
        let schemas = schemas(kind.as_ref()).ok_or_else(|| SpecError::field("kind", "this is not a kind of Rekey"))?;
        let spec =
            serde_json::to_value(self.spec()).map_err(|_| SpecError::field("spec", "it cannot be written as JSON"))?;
        schemas.spec.check("spec", &spec)
    }
}

/// One value of a schema.
#[derive(Default)]
struct Node {
    /// Of a text, in characters.
    length: Span,
    /// Of a list or a map, in entries.
    entries: Span,
    /// Of a number.
    number: Span,
    pattern: Option<Arc<Regex>>,
    choices: Vec<Value>,
    required: Vec<String>,
    members: BTreeMap<String, Node>,
    /// What the entries of a list or a map have in common.
    each: Option<Box<Node>>,
    identity: Identity,
    times: Vec<TimeRule>,
}

/// Each pattern once, however many fields have it. `regex-lite` reads `\s` and `\w` as the API server does (ASCII), and
/// takes far less memory; the texts are short, and each is matched once.
#[derive(Default)]
struct Patterns(BTreeMap<String, Arc<Regex>>);

/// A range; both ends are included.
#[derive(Clone, Copy, Default)]
struct Span {
    least: Option<i64>,
    most: Option<i64>,
}

/// The fields by which the entries of a list differ.
#[derive(Default)]
enum Identity {
    #[default]
    None,
    /// The whole entry.
    Whole,
    /// These members.
    Members(Vec<String>),
}

/// A CEL rule of the form `duration(self) >= duration('1s')`, perhaps after `self == 'Unlimited' || `.
struct TimeRule {
    /// A word that stands for a time.
    word: Option<String>,
    is_least: bool,
    bound: Duration,
    message: String,
}

impl Patterns {
    fn get(&mut self, pattern: &str) -> Option<Arc<Regex>> {
        if let Some(known) = self.0.get(pattern) {
            return Some(Arc::clone(known));
        }
        let made = Arc::new(Regex::new(pattern).ok()?);
        self.0.insert(pattern.to_owned(), Arc::clone(&made));
        Some(made)
    }
}

impl Span {
    fn read(schema: &Value, least: &str, most: &str) -> Self {
        // The API server writes whole numbers; the generator may write `8.0`.
        #[expect(clippy::cast_possible_truncation, reason = "bounds are small whole numbers")]
        let number = |name: &str| schema[name].as_i64().or_else(|| schema[name].as_f64().map(|number| number as i64));
        Self { least: number(least), most: number(most) }
    }

    fn check(self, path: &str, number: i64, what: &str) -> Result<(), SpecError> {
        let fix = match self {
            Self { least: Some(least), .. } if number < least => {
                format!("{what} is {number}: at least {least} is allowed")
            }
            Self { most: Some(most), .. } if number > most => format!("{what} is {number}: at most {most} is allowed"),
            Self { .. } => return Ok(()),
        };
        Err(SpecError::field(path, fix))
    }
}

impl TimeRule {
    fn read(rule: &Value) -> Option<Self> {
        let text = rule["rule"].as_str()?;
        let (word, text) = match text.strip_prefix("self == '").and_then(|text| text.split_once("' || ")) {
            Some((word, text)) => (Some(word.to_owned()), text),
            None => (None, text),
        };
        let text = text.strip_prefix("duration(self) ")?;
        let (is_least, bound) = match text.strip_prefix(">= ") {
            Some(bound) => (true, bound),
            None => (false, text.strip_prefix("<= ")?),
        };
        let bound: GoDuration = bound.strip_prefix("duration('")?.strip_suffix("')")?.parse().ok()?;
        Some(Self { word, is_least, bound: bound.get(), message: rule["message"].as_str()?.to_owned() })
    }

    fn holds(&self, text: &str) -> bool {
        if self.word.as_deref() == Some(text) {
            return true;
        }
        let time = text.parse::<GoDuration>().ok().map(GoDuration::get);
        time.is_some_and(|time| if self.is_least { time >= self.bound } else { time <= self.bound })
    }
}

impl Node {
    fn read(schema: &Value, patterns: &mut Patterns) -> Self {
        let texts = |name: &str| {
            let all = schema[name].as_array().into_iter().flatten();
            all.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
        };
        let is_map = schema["type"] == "object";
        let each = if is_map { &schema["additionalProperties"] } else { &schema["items"] };
        let members = schema["properties"].as_object().into_iter().flatten();
        let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
        Self {
            length: Span::read(schema, "minLength", "maxLength"),
            entries: if is_map {
                Span::read(schema, "minProperties", "maxProperties")
            } else {
                Span::read(schema, "minItems", "maxItems")
            },
            number: Span::read(schema, "minimum", "maximum"),
            pattern: schema["pattern"].as_str().and_then(|pattern| patterns.get(pattern)),
            choices: schema["enum"].as_array().cloned().unwrap_or_default(),
            required: texts("required"),
            members: members.map(|(name, schema)| (name.clone(), Self::read(schema, patterns))).collect(),
            each: each.is_object().then(|| Box::new(Self::read(each, patterns))),
            identity: match schema["x-kubernetes-list-type"].as_str() {
                Some("set") => Identity::Whole,
                Some("map") => Identity::Members(texts("x-kubernetes-list-map-keys")),
                _ => Identity::None,
            },
            times: rules.filter_map(TimeRule::read).collect(),
        }
    }

    fn check(&self, path: &str, value: &Value) -> Result<(), SpecError> {
        if !self.choices.is_empty() && !self.choices.contains(value) {
            return Err(SpecError::field(path, format!("it is none of {}", Value::from(self.choices.clone()))));
        }
        match value {
            Value::String(text) => self.check_text(path, text),
            Value::Number(number) => number.as_i64().map_or(Ok(()), |number| self.number.check(path, number, "it")),
            Value::Array(items) => self.check_list(path, items),
            Value::Object(members) => self.check_members(path, members),
            Value::Null | Value::Bool(_) => Ok(()),
        }
    }

    fn check_text(&self, path: &str, text: &str) -> Result<(), SpecError> {
        self.length.check(path, count(text.chars().count()), "its length")?;
        if let Some(pattern) = self.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
            return Err(SpecError::field(path, format!("it should match {pattern}")));
        }
        let broken = self.times.iter().find(|rule| !rule.holds(text));
        broken.map_or(Ok(()), |rule| Err(SpecError::field(path, rule.message.as_str())))
    }

    fn check_list(&self, path: &str, items: &[Value]) -> Result<(), SpecError> {
        self.entries.check(path, count(items.len()), "the number of entries")?;
        let mut known = BTreeSet::new();
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            if self.identity.of(item).is_some_and(|identity| !known.insert(identity)) {
                return Err(SpecError::field(&path, "it appears twice; remove one of the two"));
            }
            if let Some(each) = &self.each {
                each.check(&path, item)?;
            }
        }
        Ok(())
    }

    fn check_members(&self, path: &str, members: &Map<String, Value>) -> Result<(), SpecError> {
        self.entries.check(path, count(members.len()), "the number of entries")?;
        if let Some(missing) = self.required.iter().find(|name| !members.contains_key(*name)) {
            return Err(SpecError::field(&format!("{path}.{missing}"), "it is missing"));
        }
        for (name, member) in members {
            let schema = self.members.get(name).or(self.each.as_deref());
            let path = format!("{path}.{name}");
            schema
                .ok_or_else(|| SpecError::field(&path, "this kind has no such field; remove it"))?
                .check(&path, member)?;
        }
        Ok(())
    }
}

impl Identity {
    fn of(&self, item: &Value) -> Option<String> {
        match self {
            Self::None => None,
            Self::Whole => Some(item.to_string()),
            Self::Members(names) => {
                Some(names.iter().map(|name| item[name.as_str()].to_string()).collect::<Vec<_>>().join(" "))
            }
        }
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
