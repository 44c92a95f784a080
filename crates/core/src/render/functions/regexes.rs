//! Regular expressions of Go, with bounds.

use super::{
    Entry, Signature, Type,
    call::{Call, Failure, MAX_RESULT, Outcome},
    signature::takes,
};
use crate::{
    regexp::{COMPILE, Expression, Haystack, Reads, Regexp, Replacement, TooMuch, Wrong},
    render::template::value::{List, Of, Value},
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
const MANY: &str = "the expression has too many matches in a text this large, of more than 64 MiB of reads";
/// The first argument, to search in `text`. The length of an expression does not show what reading it and searching
/// with it costs.
fn pattern(call: &Call<'_>, text: &str) -> Result<Regexp, Failure> {
    let refused = |wrong| {
        // The expression may hold a value, so the message does not say what is wrong with it.
        call.fail(match wrong {
            Wrong::Syntax => "its first argument is no regular expression",
            Wrong::Long => "its first argument is an expression of more than 16 KiB",
            Wrong::Classes => "its first argument has more than 64 classes like \\pL",
            Wrong::Large => "its first argument is too large a regular expression",
        })
    };
    call.compile()?;
    let read = std::str::from_utf8(call.bytes(0)?).map_err(|_| Wrong::Syntax).and_then(Expression::read);
    let expression = match read {
        Ok(expression) => expression,
        Err(wrong) => return refused(wrong),
    };
    for (size, states) in SIZES {
        call.slow(COMPILE + expression.price())?;
        match expression.compile(size) {
            Ok(regexp) => {
                call.slow(states.saturating_mul(text.len()) / SPEED)?;
                return Ok(regexp);
            }
            Err(Wrong::Large) => {}
            Err(wrong) => return refused(wrong),
        }
    }
    refused(Wrong::Large)
}

fn matches(call: &Call<'_>) -> Outcome {
    let text = Haystack::new(call.bytes(1)?);
    Ok(pattern(call, text.text())?.regex().is_match(text.text()).into())
}

fn find(call: &Call<'_>) -> Outcome {
    let text = Haystack::new(call.bytes(1)?);
    let found = pattern(call, text.text())?.regex().find(text.text()).map(|found| found.range());
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
        None => call.fail(MANY),
    }
}

fn find_all(call: &Call<'_>) -> Outcome {
    let (text, count) = (Haystack::new(call.bytes(1)?), limit(call.int(2)?));
    let pattern = pattern(call, text.text())?;
    let (mut found, mut reads) = (Vec::new(), Reads::default());
    for one in pattern.regex().find_iter(text.text()).take(count) {
        counted(call, &mut reads, text.text().len() - one.start())?;
        found.push(Value::from(text.bytes(one.range())));
    }
    if found.is_empty() { Ok(List::nil(Of::Text).into()) } else { call.collected_of(Of::Text, found.into_iter()) }
}

fn replace(call: &Call<'_>, has_groups: bool) -> Outcome {
    let (text, replacement) = (Haystack::new(call.bytes(1)?), call.bytes(2)?);
    let regexp = pattern(call, text.text())?;
    let replacement = Replacement { text: replacement, has_groups, limit: MAX_RESULT };
    // A replacement with groups is read for each match.
    let again = if has_groups { replacement.text.len() } else { 0 };
    match replacement.apply(&regexp, &text, || call.go_on().and_then(|()| call.spend(again)))? {
        Ok(result) => Ok(result.into()),
        Err(TooMuch::Reads) => call.fail(MANY),
        Err(TooMuch::Result) => call.fail("its result is larger than 1 MiB"),
    }
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
    for found in pattern.regex().find_iter(text.text()).take(limit(count)) {
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
