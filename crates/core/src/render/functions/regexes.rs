//! Regular expressions of Go, and as bounded.

mod haystack;
mod syntax;

use regex::{Captures, Regex, RegexBuilder};

use self::haystack::Haystack;
use super::{
    Entry, Signature, Type,
    call::{Call, Failure, MAX_RESULT, Outcome},
    runes::{Rune, first, is_digit, is_letter},
    signature::takes,
};
use crate::render::{
    replace::Reads,
    template::value::{List, Of, Text, Value},
};

const TWO: Signature = takes(&[Type::Text, Type::Text]);
const COUNTED: Signature = takes(&[Type::Text, Type::Text, Type::Int]);
const THREE: Signature = takes(&[Type::Text, Type::Text, Type::Text]);

/// The functions of this file.
pub const TABLE: &[Entry] = &[
    ("regexMatch", TWO, matches),
    ("mustRegexMatch", TWO, matches),
    ("regexFind", TWO, find),
    ("mustRegexFind", TWO, find),
    ("regexFindAll", COUNTED, find_all),
    ("mustRegexFindAll", COUNTED, find_all),
    ("regexReplaceAll", THREE, |call| replace(call, true)),
    ("mustRegexReplaceAll", THREE, |call| replace(call, true)),
    ("regexReplaceAllLiteral", THREE, |call| replace(call, false)),
    ("mustRegexReplaceAllLiteral", THREE, |call| replace(call, false)),
    ("regexSplit", COUNTED, split),
    ("mustRegexSplit", COUNTED, split),
    ("regexQuoteMeta", takes(&[Type::Text]), |call| {
        let marks = br"\.+*?()|[]{}^$";
        let escaped =
            call.bytes(0)?.iter().flat_map(|byte| marks.contains(byte).then_some(b'\\').into_iter().chain([*byte]));
        Ok(escaped.collect::<Vec<u8>>().into())
    }),
];

/// Sizes that an expression may have in memory, in bytes, and about how many states it has then.
const SIZES: [(usize, usize); 3] = [(16 * 1024, 200), (64 * 1024, 900), (256 * 1024, 3500)];
/// States times bytes that one search goes through in about a microsecond, at worst.
const SPEED: usize = 150;
/// Bytes of an expression: reading one takes about a hundred times as much memory before its size is known. Longer ones
/// are too large in nearly all cases anyway.
const LONGEST: usize = 16 * 1024;
/// Microseconds to read an expression.
const COMPILE: usize = 500;
/// Characters of classes whose other case is found in a microsecond.
const FOLDED: usize = 200;
/// Classes of Unicode in an expression: more are too large in nearly all cases anyway, and known to be only when each of them is
/// in memory.
const TABLES: usize = 64;

/// An expression with the names of its groups.
struct Pattern {
    regex: Regex,
    names: Vec<(String, usize)>,
}

/// The first argument, to search in `text`. What it takes to read an expression, and to search with it, its length does
/// not show.
fn pattern(call: &Call<'_>, text: &str) -> Result<Pattern, Failure> {
    // The expression may hold a value: what is wrong with it is not told.
    let wrong = "its first argument is no regular expression";
    call.compile()?;
    let pattern = call.bytes(0)?;
    if pattern.len() > LONGEST {
        return call.fail("its first argument is an expression of more than 16 KiB");
    }
    let pattern = std::str::from_utf8(pattern).ok().and_then(syntax::translated);
    let Some(pattern) = pattern else { return call.fail(wrong) };
    if pattern.tables > TABLES {
        return call.fail("its first argument has more than 64 classes like \\pL");
    }
    let classes = if pattern.folds { pattern.characters / FOLDED } else { 10 * pattern.tables };
    for (size, states) in SIZES {
        call.slow(COMPILE + classes)?;
        match RegexBuilder::new(&pattern.pattern).size_limit(size).dfa_size_limit(size).build() {
            Ok(regex) => {
                call.slow(states.saturating_mul(text.len()) / SPEED)?;
                return Ok(Pattern { regex, names: pattern.names });
            }
            Err(regex::Error::CompiledTooBig(_)) => {}
            Err(_) => return call.fail(wrong),
        }
    }
    call.fail("its first argument is too large a regular expression")
}

fn matches(call: &Call<'_>) -> Outcome {
    let text = Haystack::new(call.bytes(1)?);
    Ok(pattern(call, text.text())?.regex.is_match(text.text()).into())
}

fn find(call: &Call<'_>) -> Outcome {
    let text = Haystack::new(call.bytes(1)?);
    let found = pattern(call, text.text())?.regex.find(text.text()).map(|found| found.range());
    Ok(found.map_or_else(|| "".into(), |range| text.bytes(range).into()))
}

/// Less than 0: no limit.
fn limit(number: i64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Counts a search that starts here, before the next one.
fn counted(call: &Call<'_>, reads: &mut Reads, rest: usize) -> Result<(), Failure> {
    call.go_on()?;
    match reads.one(rest) {
        Some(()) => Ok(()),
        None => call.fail("the expression has too many matches in a text this large, of more than 64 MiB of reads"),
    }
}

fn find_all(call: &Call<'_>) -> Outcome {
    let (text, count) = (Haystack::new(call.bytes(1)?), limit(call.int(2)?));
    let pattern = pattern(call, text.text())?;
    let (mut found, mut reads) = (Vec::new(), Reads::default());
    for one in pattern.regex.find_iter(text.text()).take(count) {
        counted(call, &mut reads, text.text().len() - one.start())?;
        found.push(Value::from(text.bytes(one.range())));
    }
    if found.is_empty() { Ok(List::nil(Of::Text).into()) } else { call.collected_of(Of::Text, found.into_iter()) }
}

fn replace(call: &Call<'_>, has_groups: bool) -> Outcome {
    let (text, replacement) = (Haystack::new(call.bytes(1)?), call.bytes(2)?);
    let pattern = pattern(call, text.text())?;
    let (mut result, mut end, mut reads) = (Vec::new(), 0, Reads::default());
    for found in pattern.regex.captures_iter(text.text()) {
        let Some(whole) = found.get(0) else { continue };
        counted(call, &mut reads, text.text().len() - whole.start())?;
        result.extend_from_slice(text.bytes(end..whole.start()));
        if has_groups {
            expand(call, &pattern, replacement, &found, &text, &mut result)?;
        } else {
            result.extend_from_slice(replacement);
        }
        end = whole.end();
        if result.len() > MAX_RESULT {
            return call.fail("its result is larger than 1 MiB");
        }
    }
    if end == 0 && result.is_empty() {
        return Ok(call.bytes(1)?.clone().into());
    }
    result.extend_from_slice(text.bytes(end..text.text().len()));
    Ok(result.into())
}

/// Writes the replacement, with what groups have matched for `$1` and `${name}`.
fn expand(
    call: &Call<'_>,
    pattern: &Pattern,
    replacement: &Text,
    found: &Captures<'_>,
    text: &Haystack<'_>,
    result: &mut Vec<u8>,
) -> Result<(), Failure> {
    // It is read for each match.
    call.spend(replacement.len())?;
    let mut rest = &replacement[..];
    while let Some(mark) = rest.iter().position(|byte| *byte == b'$') {
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
        let number = group_number(name).or_else(|| {
            let named = pattern.names.iter().find(|(known, _)| known == name);
            named.map(|(_, number)| *number)
        });
        if let Some(group) = number.and_then(|number| found.get(number)) {
            result.extend_from_slice(text.bytes(group.range()));
        }
        if result.len() > 2 * MAX_RESULT {
            return call.fail("its result is larger than 1 MiB");
        }
    }
    result.extend_from_slice(rest);
    Ok(())
}

/// The name behind a `$`, with or without braces, and what follows it.
fn group_name(text: &[u8]) -> Option<(&str, &[u8])> {
    let (inside, has_braces) = text.strip_prefix(b"{").map_or((text, false), |inside| (inside, true));
    // Character by character: there may be as many names as bytes, and no look at all that follows for each.
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

fn split(call: &Call<'_>) -> Outcome {
    let (text, count) = (Haystack::new(call.bytes(1)?), call.int(2)?);
    let pattern = pattern(call, text.text())?;
    if count == 0 {
        return Ok(List::nil(Of::Text).into());
    }
    if !call.bytes(0)?.is_empty() && text.text().is_empty() {
        return call.collected_of(Of::Text, std::iter::once("".into()));
    }
    let (mut parts, mut begin, mut end, mut reads) = (Vec::new(), 0, 0, Reads::default());
    for found in pattern.regex.find_iter(text.text()).take(limit(count)) {
        counted(call, &mut reads, text.text().len() - found.start())?;
        if count > 0 && parts.len() == limit(count) - 1 {
            break;
        }
        end = found.start();
        if found.end() != 0 {
            parts.push(Value::from(text.bytes(begin..end)));
        }
        begin = found.end();
    }
    if end != text.text().len() {
        parts.push(Value::from(text.bytes(begin..text.text().len())));
    }
    call.collected_of(Of::Text, parts.into_iter())
}
