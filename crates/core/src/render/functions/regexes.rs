//! Regular expressions in the syntax of the crate `regex`, which is that of Go but for rare classes, and as bounded.

use gotmpl::Value;
use regex::Regex;

use super::{
    Entry,
    call::{Call, Failure, MAX_RESULT, Outcome, string},
};
use crate::{
    render::replace::{Form, Reads, replaced},
    store::NamePattern,
};

/// The functions of this file.
pub const TABLE: &[Entry] = &[
    ("regexMatch", matches),
    ("mustRegexMatch", matches),
    ("regexFind", find),
    ("mustRegexFind", find),
    ("regexFindAll", find_all),
    ("mustRegexFindAll", find_all),
    ("regexReplaceAll", |call| replace(call, Form::Groups)),
    ("mustRegexReplaceAll", |call| replace(call, Form::Groups)),
    ("regexReplaceAllLiteral", |call| replace(call, Form::Literal)),
    ("mustRegexReplaceAllLiteral", |call| replace(call, Form::Literal)),
    ("regexSplit", split),
    ("mustRegexSplit", split),
    ("regexQuoteMeta", |call| {
        call.takes(1, "one text")?;
        Ok(string(regex::escape(&call.text(0)?)))
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

/// The first argument, to search in `text`. What it takes to read an expression, and to search with it, its length does
/// not show.
fn pattern(call: &Call<'_>, text: &str) -> Result<Regex, Failure> {
    call.compile()?;
    let pattern = call.text(0)?;
    if pattern.len() > LONGEST {
        return call.fail("its first argument is an expression of more than 16 KiB");
    }
    let pattern = NamePattern::new(&pattern);
    for (size, states) in SIZES {
        call.slow(COMPILE)?;
        if let Ok(regex) = pattern.within(size) {
            call.slow(states.saturating_mul(text.len()) / SPEED)?;
            return Ok(regex);
        }
    }
    // The expression may hold a value: what is wrong with it is not told.
    call.fail("its first argument is no regular expression, or too large a one")
}

fn matches(call: &Call<'_>) -> Outcome {
    call.takes(2, "an expression and a text")?;
    let text = call.text(1)?;
    Ok(Value::Bool(pattern(call, &text)?.is_match(&text)))
}

fn find(call: &Call<'_>) -> Outcome {
    call.takes(2, "an expression and a text")?;
    let text = call.text(1)?;
    Ok(string(pattern(call, &text)?.find(&text).map_or("", |found| found.as_str())))
}

/// Less than 0: no limit.
fn limit(number: i64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Matches, each looked for when the one before is done with.
fn all<'a>(call: &'a Call<'_>, pattern: &'a Regex, text: &'a str) -> impl Iterator<Item = Result<&'a str, Failure>> {
    let mut reads = Reads::default();
    pattern.find_iter(text).map(move |found| {
        call.go_on()?;
        match reads.one(text.len() - found.start()) {
            Some(()) => Ok(found.as_str()),
            None => call.fail("the expression has too many matches in a text this large"),
        }
    })
}

fn find_all(call: &Call<'_>) -> Outcome {
    call.takes(3, "an expression, a text and a count (-1 for all)")?;
    let (text, count) = (call.text(1)?, limit(call.int(2)?));
    let pattern = pattern(call, &text)?;
    let mut failed = None;
    let found = all(call, &pattern, &text).take(count).map_while(|found| found.map_err(|why| failed = Some(why)).ok());
    let found = call.collected(found.map(string))?;
    failed.map_or(Ok(found), Err)
}

fn replace(call: &Call<'_>, form: Form) -> Outcome {
    call.takes(3, "an expression, a text and the replacement")?;
    let (text, replacement) = (call.text(1)?, call.text(2)?);
    let pattern = pattern(call, &text)?;
    match replaced(&pattern, &text, &replacement, form, MAX_RESULT, || call.go_on())? {
        Some(result) => Ok(string(result)),
        None => {
            call.fail("its result is larger than 1 MiB, or the expression has too many matches in a text this large")
        }
    }
}

fn split(call: &Call<'_>) -> Outcome {
    call.takes(3, "an expression, a text and a count (-1 for all)")?;
    let (text, count) = (call.text(1)?, limit(call.int(2)?));
    let pattern = pattern(call, &text)?;
    let mut reads = Reads::default();
    let mut failed = None;
    let mut rest = text.len();
    let parts = pattern.splitn(&text, count).map_while(|part| {
        let next = call.go_on().and_then(|()| match reads.one(rest) {
            Some(()) => Ok(part),
            None => call.fail("the expression has too many matches in a text this large"),
        });
        rest = rest.saturating_sub(part.len());
        next.map_err(|why| failed = Some(why)).ok()
    });
    let parts = call.collected(parts.map(string))?;
    failed.map_or(Ok(parts), Err)
}
