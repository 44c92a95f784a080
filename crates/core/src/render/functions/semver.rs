//! Versions as semver.org has them, and constraints of them.

use std::{cmp::Ordering, rc::Rc};

use super::{
    Entry, Signature, Type,
    call::{Call, Failure},
    signature::takes,
};
use crate::render::template::value::{Object, Text, Unsigned, Value};

mod constraint;

/// The functions of this file.
pub const TABLE: &[Entry] = &[
    ("semver", takes(&[Type::Text]), |call| Ok(Value::Object(Rc::new(version(call, 0)?)))),
    ("semverCompare", COMPARE, |call| {
        let constraint = call.text(0)?;
        if constraint.len() > LONGEST {
            return call.fail("its first argument is longer than 4 KiB");
        }
        match constraint::Constraint::read(&constraint) {
            Some(constraint) => Ok(constraint.allows(&version(call, 1)?).into()),
            None => call.fail("its first argument is no constraint of versions"),
        }
    }),
];

/// Bytes of a constraint.
const LONGEST: usize = 4 * 1024;

const COMPARE: Signature = takes(&[Type::Text, Type::Text]);

fn version(call: &Call<'_>, position: usize) -> Result<Version, Failure> {
    let wrong = || call.fail(format!("argument {} is no version", position + 1));
    Version::read(&call.text(position)?).map_or_else(wrong, Ok)
}

/// What Go calls the type of a version.
pub const TYPE: &str = "*semver.Version";

/// A version of zeros.
pub fn blank() -> Value {
    Value::Object(Rc::new(Version::default()))
}

/// A version. A missing minor or patch number is 0.
#[derive(Clone, Debug, Default)]
pub struct Version {
    major: u64,
    minor: u64,
    patch: u64,
    /// The part behind `-`.
    pre: String,
    /// The part behind `+`.
    metadata: String,
    original: String,
}

impl Version {
    /// Reads `v1.2.3-pre+metadata`, of which all but the first number may be missing.
    pub fn read(text: &str) -> Option<Self> {
        let (plain, metadata) = cut(text.strip_prefix('v').unwrap_or(text), '+')?;
        let (numbers, pre) = cut(plain, '-')?;
        let mut parts = numbers.split('.').map(number);
        let major = parts.next()??;
        let minor = parts.next().unwrap_or(Some(0))?;
        let patch = parts.next().unwrap_or(Some(0))?;
        let is_zero_before =
            |part: &str| part.len() > 1 && part.starts_with('0') && part.bytes().all(|byte| byte.is_ascii_digit());
        if parts.next().is_some() || pre.split('.').any(is_zero_before) {
            return None;
        }
        Some(Self {
            major,
            minor,
            patch,
            pre: pre.to_owned(),
            metadata: metadata.to_owned(),
            original: text.to_owned(),
        })
    }

    fn order(&self, other: &Self) -> Ordering {
        let numbers = |version: &Self| (version.major, version.minor, version.patch);
        numbers(self).cmp(&numbers(other)).then_with(|| match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => order_of_pre(&self.pre, &other.pre),
        })
    }
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// The parts before and behind a mark; `None`: there is nothing, or no name, behind it.
fn cut(text: &str, mark: char) -> Option<(&str, &str)> {
    let Some((before, behind)) = text.split_once(mark) else { return Some((text, "")) };
    let is_name =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    behind.split('.').all(is_name).then_some((before, behind))
}

/// Part by part: numbers as such, and before names.
fn order_of_pre(one: &str, other: &str) -> Ordering {
    let (mut ones, mut others) = (one.split('.'), other.split('.'));
    loop {
        let order = match (ones.next(), others.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(one), Some(other)) => match (one.parse::<u64>().ok(), other.parse::<u64>().ok()) {
                (Some(one), Some(other)) => one.cmp(&other),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => one.cmp(other),
            },
        };
        if order.is_ne() {
            return order;
        }
    }
}

impl Object for Version {
    fn type_name(&self) -> &'static str {
        TYPE
    }

    fn text(&self) -> Text {
        let mut text = format!("{}.{}.{}", self.major, self.minor, self.patch);
        for (mark, part) in [('-', &self.pre), ('+', &self.metadata)] {
            if !part.is_empty() {
                text.push(mark);
                text.push_str(part);
            }
        }
        text.into()
    }

    fn member(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, Failure>> {
        let number = |number: u64| Value::Uint(number, Unsigned::Uint64);
        let value = match name {
            "Major" => number(self.major),
            "Minor" => number(self.minor),
            "Patch" => number(self.patch),
            "Prerelease" => self.pre.clone().into(),
            "Metadata" => self.metadata.clone().into(),
            "Original" => self.original.clone().into(),
            "String" => self.text().into(),
            _ => return None,
        };
        Some(if arguments.is_empty() { Ok(value) } else { Err(Failure(format!("{name} takes no arguments"))) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_an_order() {
        let all = ["1", "1.0.1-1", "1.0.1-2", "1.0.1-10", "1.0.1-a", "1.0.1-a.1", "v1.0.1", "1.1+b", "2.0.0"];
        let all: Vec<Version> = all.iter().filter_map(|text| Version::read(text)).collect();
        assert_eq!(all.len(), 9);
        assert!(all.is_sorted_by(|one, other| one.order(other).is_lt()));
        for wrong in ["", "a", "1.2.3.4", "1.2.3-", "1.2.3-01", "1..2", "1.2.3+", " 1", "99999999999999999999"] {
            assert!(Version::read(wrong).is_none(), "{wrong}");
        }
    }
}
