//! Uids and resourceVersions in as little room as they take: there is one of each in every row.

use std::fmt::{Display, Formatter};

use uuid::Uuid;

/// An object's uid. API servers make them as UUIDs; any other text is kept as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Uid {
    /// A UUID that is written in the usual way.
    Uuid(Uuid),
    /// Anything else.
    Text(Box<str>),
}

impl Uid {
    /// Of this text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        match Uuid::try_parse(text) {
            Ok(uuid) if uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text => Self::Uuid(uuid),
            Ok(_) | Err(_) => Self::Text(text.into()),
        }
    }
}

impl Display for Uid {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Uuid(uuid) => uuid.hyphenated().fmt(formatter),
            Self::Text(text) => formatter.write_str(text),
        }
    }
}

/// An object's resourceVersion. Those of one kind are numbers that grow
/// (<https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>); any other text is kept as it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// A number that is written in the usual way.
    Number(u64),
    /// Anything else.
    Text(Box<str>),
}

impl Version {
    /// Of this text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        match text.parse::<u64>() {
            Ok(number) if is_plain(text) => Self::Number(number),
            Ok(_) | Err(_) => Self::Text(text.into()),
        }
    }

    /// Whether `other` is news to who knows this one: it is later, or it is another one and the order is not known.
    #[must_use]
    pub fn is_before(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(this), Self::Number(other)) => this < other,
            // Numbers that are kept as text are those that are too long.
            (Self::Number(_), Self::Text(other)) if is_plain(other) => true,
            (Self::Text(this), Self::Number(_)) if is_plain(this) => false,
            (Self::Text(this), Self::Text(other)) if is_plain(this) && is_plain(other) => {
                (this.len(), this) < (other.len(), other)
            }
            (Self::Number(_) | Self::Text(_), Self::Number(_) | Self::Text(_)) => self != other,
        }
    }
}

/// Whether this is a number as a server writes one: digits, and no zeros before them.
fn is_plain(text: &str) -> bool {
    let is_padded = text.len() > 1 && text.starts_with('0');
    !text.is_empty() && !is_padded && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl Display for Version {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(formatter),
            Self::Text(text) => formatter.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        for text in ["0b7f7d3e-3c1a-4f7b-9d0a-2f6f2a6f5a11", "0B7F7D3E-3C1A-4F7B-9D0A-2F6F2A6F5A11", "", "u", "{x}"] {
            assert_eq!(Uid::new(text).to_string(), text);
        }
        for text in ["1", "0", "18446744073709551615", "18446744073709551616", "007", "+7", "", "a"] {
            assert_eq!(Version::new(text).to_string(), text);
        }
        assert!(matches!(Uid::new("0b7f7d3e-3c1a-4f7b-9d0a-2f6f2a6f5a11"), Uid::Uuid(_)));
        assert!(matches!(Version::new("100"), Version::Number(100)));
    }

    #[test]
    fn numbers_grow_and_other_versions_only_differ() {
        let is_before = |this: &str, other: &str| Version::new(this).is_before(&Version::new(other));
        let (last, next, later) = ("18446744073709551615", "18446744073709551616", "18446744073709551617");
        for (this, other) in [(last, next), (next, later), (next, "100000000000000000000"), ("0", "1"), ("9", next)] {
            assert!(is_before(this, other) && !is_before(other, this), "{this} {other}");
        }
        assert!(is_before("9", "10") && !is_before("10", "9") && !is_before("9", "9"));
        assert!(is_before("b", "a") && !is_before("a", "a") && is_before("a", "1"));
    }
}
