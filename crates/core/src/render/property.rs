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

/// Which part of a remote value to take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it, byte for byte.
    Whole,
    /// A property: the literal key, else the dotted path.
    Property(String),
    /// The result of a `JMESPath` expression. We keep its text: parsed it takes hundreds of times as much memory, for
    /// each entry of an object.
    Expression(String),
}

impl Part {
    /// Parses a reference. `field` is the path of the reference, for example `spec.source.remote.data.remoteRef`.
    ///
    /// # Errors
    /// When the reference has a property and an expression.
    pub fn parse(reference: &RemoteRef, field: &str) -> Result<Self, SpecError> {
        match (&reference.property, &reference.jmes_path) {
            (None, None) => Ok(Self::Whole),
            (Some(property), None) => Ok(Self::Property(property.clone())),
            (None, Some(text)) => Ok(Self::Expression(text.clone())),
            (Some(_), Some(_)) => Err(SpecError::field(field, "set at most one of property, jmesPath")),
        }
    }

    /// Checks the expression, if it is one.
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

/// A remote value to take parts out of. It is parsed once for all properties that are announced before the first is
/// taken.
pub struct Source<'v> {
    value: &'v SecretBytes,
    key: &'v str,
    /// Members that properties may be, or start at.
    names: BTreeSet<&'v str>,
    /// Those of them that exist; `None`: not parsed yet.
    members: Option<BTreeMap<&'v str, &'v RawValue>>,
}

impl<'v> Source<'v> {
    /// The value at `key`.
    #[must_use]
    pub fn new(value: &'v SecretBytes, key: &'v str) -> Self {
        Self { value, key, names: BTreeSet::new(), members: None }
    }

    /// Announces that `part` will be taken.
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

    /// Takes `property` out: the literal key first, else the dotted path. Strings come as they are, `null` as an empty
    /// value, other JSON values as their text in the store.
    ///
    /// # Errors
    /// `NotJson` when the value is no JSON object, `PropertyNotFound` when it has no such property (the message lists
    /// no other names: names can be secrets too), and when `work` has not as much left.
    pub fn property(&mut self, property: &'v str, work: &Work) -> Result<SecretBytes, RenderError> {
        self.name(property);
        let key = self.key;
        let members = self.members(work)?;
        let found = match members.get(property) {
            Some(literal) => Some(*literal),
            None => path(members, property, work)?,
        };
        let missing = || RenderError::PropertyNotFound { key: key.to_owned(), property: property.to_owned() };
        let found = found.ok_or_else(missing)?;
        work.spend(Resource::Parsed, found.get().len())?;
        Ok(json::text(found))
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

/// How often we read a value for one property, beside the one pass for all of its properties.
#[must_use]
pub fn steps(property: &str) -> usize {
    property.matches('.').count().min(json::MAX_DEPTH)
}

/// Every property of the object at `key` as a key of the Secret: strings as they are, `null` as an empty value, all
/// else as its text in the store; rewritten, then decoded.
///
/// # Errors
/// `NotJson`, `EmptyAnswer` when no property has a value, `NotBase64`, `TooManyKeys`, when `work` has not as much left,
/// and the errors of [`Rewrites::apply`].
pub fn extract(
    value: &SecretBytes,
    key: &str,
    decoding: Decoding,
    rewrites: &Rewrites,
    work: &Work,
) -> Result<BTreeMap<String, SecretBytes>, RenderError> {
    work.spend(Resource::Parsed, (json::PASSES + 1) * value.len())?;
    let object = json::object(value, key, MOST_KEYS)?;
    if object.values().all(|member| json::is_null(member)) {
        return Err(RenderError::EmptyAnswer { key: key.to_owned() });
    }
    let members = object.into_iter().map(|(name, member)| (name, json::text(member)));
    let mut named = rewrites.apply(members.collect(), work)?;
    for (name, member) in &mut named {
        *member = decode(std::mem::take(member), decoding, name, work)?;
    }
    Ok(named)
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
mod tests;
