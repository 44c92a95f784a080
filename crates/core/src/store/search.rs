//! Searches for keys of a store.

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    hash::{Hash, Hasher},
    sync::OnceLock,
};

use crate::{
    SpecError,
    regexp::{COMPILE, Expression, Regexp, Wrong, complaint},
};

/// A regular expression on names, with its size bounded. Two are equal when their texts are.
///
/// The first match compiles it, which takes milliseconds and [`SIZE`](Self::SIZE) bytes, and an object may name a
/// thousand. A clone is not compiled. So a holder of many uses a clone of one at a time.
#[derive(Debug)]
pub struct NamePattern {
    text: Box<str>,
    compiled: OnceLock<Option<Regexp>>,
}

impl NamePattern {
    /// The most memory of one expression, in bytes.
    const SIZE: usize = 256 * 1024;
    /// The most microseconds for its classes, enough for one with all characters. The cost comes wherever it is
    /// compiled.
    const PRICE: usize = 10_000;

    /// An expression in the syntax of Go (<https://pkg.go.dev/regexp/syntax>), which matches in linear time. It may be
    /// invalid: [`prove`](Self::prove) says so.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self { text: text.into(), compiled: OnceLock::new() }
    }

    /// The expression, ready for use.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub(crate) fn compile(&self) -> Result<Regexp, String> {
        self.read()?.compile(Self::SIZE).map_err(|wrong| self.why(wrong))
    }

    /// About how many microseconds it takes to compile it.
    pub(crate) fn price(&self) -> usize {
        self.read().map_or(0, |expression| COMPILE + expression.price())
    }

    fn read(&self) -> Result<Expression, String> {
        let expression = Expression::read(&self.text).map_err(|wrong| self.why(wrong))?;
        if expression.price() > Self::PRICE {
            return Err("its classes of characters are too large; remove (?i), or name fewer characters".to_owned());
        }
        Ok(expression)
    }

    /// The text is the author's own, so the message may say what is wrong with it.
    fn why(&self, wrong: Wrong) -> String {
        match wrong {
            Wrong::Syntax => complaint(&self.text)
                .unwrap_or_else(|| "Go does not accept it, see https://pkg.go.dev/regexp/syntax".to_owned()),
            Wrong::Long => "it has more than 16 KiB".to_owned(),
            Wrong::Classes => "it has more than 64 classes like \\pL".to_owned(),
            Wrong::Large => format!("it takes more than {} KiB of memory", Self::SIZE / 1024),
        }
    }

    /// Whether it can be compiled.
    ///
    /// # Errors
    /// Names `field` and what is wrong.
    pub fn prove(&self, field: &str) -> Result<(), SpecError> {
        let wrong = |why| SpecError::field(field, format!("{:?} is no regular expression: {why}", self.text));
        self.compile().map(drop).map_err(wrong)
    }

    /// Whether it matches somewhere in `name`. One that does not compile matches nothing.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let compiled = self.compiled.get_or_init(|| self.compile().ok());
        compiled.as_ref().is_some_and(|regexp| regexp.regex().is_match(name))
    }
}

impl Clone for NamePattern {
    fn clone(&self) -> Self {
        Self::new(&self.text)
    }
}

impl PartialEq for NamePattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for NamePattern {}

impl PartialOrd for NamePattern {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for NamePattern {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl Hash for NamePattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// A search for keys. All that is set must fit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Search {
    /// Keys below this path, as users write it (`shop/`): a key fits when it starts with it, up to a `/`.
    pub path: Option<String>,
    /// Keys that this matches. It sees the whole key, with its path.
    pub name: Option<NamePattern>,
    /// Keys that carry all these tags (KV v2: custom metadata).
    pub tags: BTreeMap<String, String>,
}

impl Search {
    /// Whether `key` lies below the path and fits the pattern; the store checks tags.
    #[must_use]
    pub fn fits(&self, key: &str) -> bool {
        let below = self.path.as_deref().is_none_or(|path| {
            let path = path.trim_end_matches('/');
            path.is_empty() || key.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        below && self.name.as_ref().is_none_or(|pattern| pattern.matches(key))
    }
}
