//! Texts.

use std::collections::BTreeSet;

use gotmpl::Value;

use super::{
    Entry,
    call::{Call, Failure, MAX_RESULT, Outcome, string},
};

/// The functions of this file.
pub const TABLE: &[Entry] = &[
    ("trim", |call| one(call, |text| text.trim().to_owned())),
    ("trimAll", |call| two(call, trim_all)),
    ("trimall", |call| two(call, trim_all)),
    ("trimPrefix", |call| two(call, |part, text| text.strip_prefix(part).unwrap_or(text).to_owned())),
    ("trimSuffix", |call| two(call, |part, text| text.strip_suffix(part).unwrap_or(text).to_owned())),
    ("upper", |call| one(call, str::to_uppercase)),
    ("lower", |call| one(call, str::to_lowercase)),
    ("title", |call| one(call, title)),
    ("untitle", |call| one(call, untitle)),
    ("nospace", |call| one(call, |text| text.chars().filter(|character| !character.is_whitespace()).collect())),
    ("initials", |call| one(call, |text| text.split_whitespace().filter_map(|word| word.chars().next()).collect())),
    ("replace", replace),
    ("repeat", repeat),
    ("substr", substr),
    ("trunc", trunc),
    ("abbrev", abbrev),
    ("contains", |call| test(call, |part, text| text.contains(part))),
    ("hasPrefix", |call| test(call, |part, text| text.starts_with(part))),
    ("hasSuffix", |call| test(call, |part, text| text.ends_with(part))),
    ("quote", |call| spaced(call, |text| format!("{text:?}").replace("\\'", "'"))),
    ("squote", |call| spaced(call, |text| format!("'{text}'"))),
    ("cat", |call| spaced(call, str::to_owned)),
    ("indent", |call| indent(call, "")),
    ("nindent", |call| indent(call, "\n")),
    ("split", split),
    ("splitn", splitn),
    ("splitList", |call| {
        call.takes(2, "a separator and a text")?;
        let (separator, text) = (call.text(0)?, call.text(1)?);
        call.collected(parts(&text, &separator).map(string))
    }),
    ("join", join),
    ("toString", |call| {
        call.takes(1, "one value")?;
        Ok(string(call.value(0)?.to_string()))
    }),
    ("toStrings", |call| {
        call.takes(1, "one list")?;
        call.collected(call.list(0)?.iter().map(|item| string(item.to_string())))
    }),
];

fn one(call: &Call<'_>, change: fn(&str) -> String) -> Outcome {
    call.takes(1, "one text")?;
    Ok(string(change(&call.text(0)?)))
}

fn two(call: &Call<'_>, change: fn(&str, &str) -> String) -> Outcome {
    call.takes(2, "what to look for and a text")?;
    Ok(string(change(&call.text(0)?, &call.text(1)?)))
}

fn test(call: &Call<'_>, holds: fn(&str, &str) -> bool) -> Outcome {
    call.takes(2, "what to look for and a text")?;
    Ok(Value::Bool(holds(&call.text(0)?, &call.text(1)?)))
}

/// Both may be long, so the set is made one first.
fn trim_all(set: &str, text: &str) -> String {
    let set: BTreeSet<char> = set.chars().collect();
    text.trim_matches(|character| set.contains(&character)).to_owned()
}

fn title(text: &str) -> String {
    let mut before = ' ';
    let mut titled = String::with_capacity(text.len());
    for character in text.chars() {
        if before.is_alphanumeric() || before == '_' || before == '\'' {
            titled.push(character);
        } else {
            titled.extend(character.to_uppercase());
        }
        before = character;
    }
    titled
}

fn untitle(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().into_iter().flat_map(char::to_lowercase).chain(characters).collect()
}

fn replace(call: &Call<'_>) -> Outcome {
    call.takes(3, "what to replace, the replacement and the text")?;
    let (from, to, text) = (call.text(0)?, call.text(1)?, call.text(2)?);
    let places = text.matches(from.as_ref()).count();
    fits(call, places.saturating_mul(to.len()).saturating_add(text.len()))?;
    Ok(string(text.replace(from.as_ref(), &to)))
}

fn repeat(call: &Call<'_>) -> Outcome {
    call.takes(2, "a count and a text")?;
    let (count, text) = (call.size(0)?, call.text(1)?);
    fits(call, count.saturating_mul(text.len()))?;
    Ok(string(text.repeat(count)))
}

/// Refuses a result before it takes memory.
fn fits(call: &Call<'_>, bytes: usize) -> Result<(), Failure> {
    // What is replaced makes room, so the bound is not exact.
    if bytes <= 2 * MAX_RESULT { Ok(()) } else { call.fail("its result is larger than 1 MiB") }
}

/// Positions are in characters; Go counts bytes, and cuts characters apart.
fn substr(call: &Call<'_>) -> Outcome {
    call.takes(3, "a start, an end and a text")?;
    let (start, end, text) = (call.int(0)?, call.int(1)?, call.text(2)?);
    let start = usize::try_from(start).unwrap_or(0);
    let count = usize::try_from(end).map_or(usize::MAX, |end| end.saturating_sub(start));
    Ok(string(text.chars().skip(start).take(count).collect::<String>()))
}

fn trunc(call: &Call<'_>) -> Outcome {
    call.takes(2, "a length and a text")?;
    let (length, text) = (call.int(0)?, call.text(1)?);
    let size = usize::try_from(length.unsigned_abs()).unwrap_or(usize::MAX);
    let all = text.chars().count();
    let skipped = if length < 0 { all.saturating_sub(size) } else { 0 };
    Ok(string(text.chars().skip(skipped).take(size).collect::<String>()))
}

fn abbrev(call: &Call<'_>) -> Outcome {
    call.takes(2, "a length and a text")?;
    let (length, text) = (call.size(0)?, call.text(1)?);
    if length < 4 || text.chars().count() <= length {
        return Ok(string(text));
    }
    Ok(string(text.chars().take(length - 3).chain("...".chars()).collect::<String>()))
}

/// The arguments that are there, each in its form, with spaces between them.
fn spaced(call: &Call<'_>, form: fn(&str) -> String) -> Outcome {
    call.takes_at_least(1, "at least one value")?;
    let there = call.arguments.iter().filter(|argument| !matches!(argument, Value::Nil));
    Ok(string(there.map(|argument| form(&argument.to_string())).collect::<Vec<_>>().join(" ")))
}

fn indent(call: &Call<'_>, before: &str) -> Outcome {
    call.takes(2, "a number of spaces and a text")?;
    let (spaces, text) = (call.size(0)?, call.text(1)?);
    fits(call, text.lines().count().saturating_add(1).saturating_mul(spaces).saturating_add(text.len()))?;
    let pad = " ".repeat(spaces);
    Ok(string(format!("{before}{pad}{}", text.replace('\n', &format!("\n{pad}")))))
}

/// Go splits at every character when the separator is empty, and leaves no empty ends then.
fn parts<'a>(text: &'a str, separator: &'a str) -> impl Iterator<Item = &'a str> {
    let ends = usize::from(separator.is_empty());
    let count = text.split(separator).count();
    text.split(separator).skip(ends).take(count.saturating_sub(2 * ends))
}

fn split(call: &Call<'_>) -> Outcome {
    call.takes(2, "a separator and a text")?;
    let (separator, text) = (call.text(0)?, call.text(1)?);
    numbered(call, parts(&text, &separator))
}

fn splitn(call: &Call<'_>) -> Outcome {
    call.takes(3, "a separator, a count and a text")?;
    let (separator, count, text) = (call.text(0)?, call.size(1)?, call.text(2)?);
    numbered(call, text.splitn(count, separator.as_ref()))
}

fn numbered<'a>(call: &Call<'_>, parts: impl Iterator<Item = &'a str>) -> Outcome {
    call.members(parts.enumerate().map(|(position, part)| (format!("_{position}").into(), string(part))))
}

fn join(call: &Call<'_>) -> Outcome {
    call.takes(2, "a separator and a list")?;
    let separator = call.text(0)?;
    let texts: Vec<String> = match call.value(1)? {
        Value::List(items) => items.iter().filter(|item| !matches!(item, Value::Nil)).map(Value::to_string).collect(),
        other => vec![other.to_string()],
    };
    let bytes = texts.iter().map(String::len).fold(0, usize::saturating_add);
    fits(call, separator.len().saturating_mul(texts.len()).saturating_add(bytes))?;
    Ok(string(texts.join(&separator)))
}
