//! Replacing what a regular expression finds. A search takes linear time, but a text may have as many matches as
//! characters and each search may read to its end, so the caller may end it between two of them.

use regex::Captures;

use super::{Haystack, Regexp};
use crate::runes::{Rune, first, is_digit, is_letter};

/// Bytes that the searches of one replacement may read, if each reads the whole rest: on a text of 8 KiB no
/// expression gets as far.
const MAX_READ: usize = 64 * 1024 * 1024;

/// Counts what searches on one text read.
#[derive(Debug, Default)]
pub struct Reads(usize);

impl Reads {
    /// Counts a search that reads at most this many bytes; `None`: it is one too many.
    pub fn one(&mut self, rest: usize) -> Option<()> {
        self.0 = self.0.saturating_add(rest);
        (self.0 <= MAX_READ).then_some(())
    }
}

/// Why a replacement stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooMuch {
    /// Searches read more than 64 MiB.
    Reads,
    /// The result is larger than allowed.
    Result,
}

/// The text in place of each match.
#[derive(Clone, Copy, Debug)]
pub struct Replacement<'a> {
    /// The bytes.
    pub text: &'a [u8],
    /// Whether `$1` and `${name}` in it mean what groups have matched.
    pub has_groups: bool,
    /// The most bytes of the result.
    pub limit: usize,
}

impl Replacement<'_> {
    /// The text of `haystack` with each match replaced.
    ///
    /// # Errors
    /// What `go_on` returns, which is called before each replacement.
    pub fn apply<E>(
        &self,
        regexp: &Regexp,
        haystack: &Haystack<'_>,
        mut go_on: impl FnMut() -> Result<(), E>,
    ) -> Result<Result<Vec<u8>, TooMuch>, E> {
        let length = haystack.text().len();
        let (mut result, mut end, mut reads) = (Vec::new(), 0, Reads::default());
        for found in regexp.regex.captures_iter(haystack.text()) {
            let Some(whole) = found.get(0) else { continue };
            go_on()?;
            if reads.one(length - whole.start()).is_none() {
                return Ok(Err(TooMuch::Reads));
            }
            result.extend_from_slice(haystack.bytes(end..whole.start()));
            if self.add(regexp, &found, haystack, &mut result).is_none() {
                return Ok(Err(TooMuch::Result));
            }
            end = whole.end();
        }
        result.extend_from_slice(haystack.bytes(end..length));
        Ok(if result.len() > self.limit { Err(TooMuch::Result) } else { Ok(result) })
    }

    /// Adds the text in place of a match; `None`: there is too much.
    fn add(&self, regexp: &Regexp, found: &Captures<'_>, haystack: &Haystack<'_>, result: &mut Vec<u8>) -> Option<()> {
        let mut rest = self.text;
        while let Some(mark) = rest.iter().position(|byte| self.has_groups && *byte == b'$') {
            result.extend_from_slice(&rest[..mark]);
            rest = &rest[mark + 1..];
            if let Some(behind) = rest.strip_prefix(b"$") {
                result.push(b'$');
                rest = behind;
                continue;
            }
            let Some((name, behind)) = group_name(rest) else {
                result.push(b'$');
                continue;
            };
            rest = behind;
            let number = group_number(name).or_else(|| regexp.group(name));
            if let Some(group) = number.and_then(|number| found.get(number)) {
                result.extend_from_slice(haystack.bytes(group.range()));
            }
            if result.len() > self.limit {
                return None;
            }
        }
        result.extend_from_slice(rest);
        (result.len() <= self.limit).then_some(())
    }
}

/// The name behind a `$`, with or without braces, and what follows it.
fn group_name(text: &[u8]) -> Option<(&str, &[u8])> {
    let (inside, has_braces) = text.strip_prefix(b"{").map_or((text, false), |inside| (inside, true));
    // Character by character: there may be as many names as bytes, so none may cost a look at the whole rest.
    let belongs = |rune: &Rune| is_letter(rune.character) || is_digit(rune.character) || rune.character == '_';
    let mut end = 0;
    while let Some(rune) = first(&inside[end..]).filter(belongs) {
        end += rune.width;
    }
    let (name, rest) = inside.split_at(end);
    let name = std::str::from_utf8(name).ok()?;
    if name.is_empty() {
        return None;
    }
    if has_braces { rest.strip_prefix(b"}").map(|rest| (name, rest)) } else { Some((name, rest)) }
}

/// Whether it is a number, and which; one that no group has is one too.
fn group_number(name: &str) -> Option<usize> {
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit()) && !(name.len() > 1 && name.starts_with('0'));
    is_number.then(|| name.parse().unwrap_or(usize::MAX))
}
