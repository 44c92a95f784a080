//! Regular expressions in the syntax of the crate `regex`, which is that of Go but for rare classes, and as bounded.

use gotmpl::Value;
use regex::Regex;

use super::{
    Entry,
    call::{Call, Failure, MAX_RESULT, Outcome, list, string},
};
use crate::store::NamePattern;

/// The functions of this file.
pub const TABLE: &[Entry] = &[
    ("regexMatch", matches),
    ("mustRegexMatch", matches),
    ("regexFind", find),
    ("mustRegexFind", find),
    ("regexFindAll", find_all),
    ("mustRegexFindAll", find_all),
    ("regexReplaceAll", |call| replace(call, false)),
    ("mustRegexReplaceAll", |call| replace(call, false)),
    ("regexReplaceAllLiteral", |call| replace(call, true)),
    ("mustRegexReplaceAllLiteral", |call| replace(call, true)),
    ("regexSplit", split),
    ("mustRegexSplit", split),
    ("regexQuoteMeta", |call| {
        call.takes(1, "one text")?;
        Ok(string(regex::escape(&call.text(0)?)))
    }),
];

/// Compiling takes time that the length of the expression does not show.
fn pattern(call: &Call<'_>) -> Result<Regex, Failure> {
    call.compile()?;
    // The expression may hold a value: what is wrong with it is not told.
    NamePattern::new(&call.text(0)?)
        .compile()
        .map_or_else(|_| call.fail("its first argument is no regular expression, or too large a one"), Ok)
}

fn matches(call: &Call<'_>) -> Outcome {
    call.takes(2, "an expression and a text")?;
    Ok(Value::Bool(pattern(call)?.is_match(&call.text(1)?)))
}

fn find(call: &Call<'_>) -> Outcome {
    call.takes(2, "an expression and a text")?;
    let text = call.text(1)?;
    Ok(string(pattern(call)?.find(&text).map_or("", |found| found.as_str())))
}

/// Less than 0: no limit.
fn limit(number: i64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn find_all(call: &Call<'_>) -> Outcome {
    call.takes(3, "an expression, a text and a count (-1 for all)")?;
    let (text, count) = (call.text(1)?, limit(call.int(2)?));
    let pattern = pattern(call)?;
    Ok(list(pattern.find_iter(&text).take(count).map(|found| string(found.as_str())).collect()))
}

fn replace(call: &Call<'_>, literal: bool) -> Outcome {
    call.takes(3, "an expression, a text and the replacement")?;
    let (text, replacement) = (call.text(1)?, call.text(2)?);
    let pattern = pattern(call)?;
    let mut result = String::new();
    let mut end = 0;
    for found in pattern.captures_iter(&text) {
        let Some(whole) = found.get(0) else { continue };
        result.push_str(&text[end..whole.start()]);
        let references = replacement.matches('$').count();
        if references.saturating_mul(whole.len()).saturating_add(replacement.len()) > MAX_RESULT {
            return call.fail("its result is larger than 1 MiB");
        }
        if literal {
            result.push_str(&replacement);
        } else {
            found.expand(&replacement, &mut result);
        }
        end = whole.end();
        if result.len() > MAX_RESULT {
            return call.fail("its result is larger than 1 MiB");
        }
    }
    result.push_str(&text[end..]);
    Ok(string(result))
}

fn split(call: &Call<'_>) -> Outcome {
    call.takes(3, "an expression, a text and a count (-1 for all)")?;
    let (text, count) = (call.text(1)?, limit(call.int(2)?));
    let pattern = pattern(call)?;
    Ok(list(pattern.splitn(&text, count).map(string).collect()))
}
