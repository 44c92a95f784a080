//! Texts. They are bytes, and positions count bytes, as in Go.

use std::collections::BTreeSet;

use super::{
    Entry, Signature, Type,
    call::{Call, Failure, MAX_ITEMS, MAX_RESULT, Outcome},
    cast::{texts, written},
    signature::{takes, variadic},
};
use crate::{
    render::template::{
        format,
        value::{Of, Value},
    },
    runes::{Rune, last, runes},
};

const ONE: Signature = takes(&[Type::Text]);
const TWO: Signature = takes(&[Type::Text, Type::Text]);
const NUMBER_AND_TEXT: Signature = takes(&[Type::Int, Type::Text]);
const ANY: Signature = variadic(&[], Type::Any);

/// The functions of this file.
pub const TABLE: &[Entry] = &[
    ("hello", takes(&[]), |_| Ok("Hello!".into())),
    ("trim", ONE, |call| Ok(trimmed(call.bytes(0)?, char::is_whitespace).into())),
    ("trimAll", TWO, trim_all),
    ("trimall", TWO, trim_all),
    ("trimPrefix", TWO, |call| {
        let (part, text) = (call.bytes(0)?, call.bytes(1)?);
        Ok(text.strip_prefix(&part[..]).unwrap_or(text).into())
    }),
    ("trimSuffix", TWO, |call| {
        let (part, text) = (call.bytes(0)?, call.bytes(1)?);
        Ok(text.strip_suffix(&part[..]).unwrap_or(text).into())
    }),
    ("replace", takes(&[Type::Text, Type::Text, Type::Text]), replace),
    ("repeat", NUMBER_AND_TEXT, |call| {
        let (count, text) = (call.size(0)?, call.bytes(1)?);
        fits(call, count.saturating_mul(text.len()))?;
        Ok(text.repeat(count).into())
    }),
    ("substr", takes(&[Type::Int, Type::Int, Type::Text]), substr),
    ("trunc", NUMBER_AND_TEXT, trunc),
    ("abbrev", NUMBER_AND_TEXT, |call| Ok(abbreviated(0, call.int(0)?, call.bytes(1)?).into())),
    ("abbrevboth", takes(&[Type::Int, Type::Int, Type::Text]), |call| {
        let (left, right, text) = (call.int(0)?, call.int(1)?, call.bytes(2)?);
        // Too narrow for dots on both sides.
        if left > 0 && right < 7 { Ok(text.clone().into()) } else { Ok(abbreviated(left, right, text).into()) }
    }),
    ("contains", TWO, |call| Ok(memchr::memmem::find(call.bytes(1)?, call.bytes(0)?).is_some().into())),
    ("hasPrefix", TWO, |call| Ok(call.bytes(1)?.starts_with(call.bytes(0)?).into())),
    ("hasSuffix", TWO, |call| Ok(call.bytes(1)?.ends_with(call.bytes(0)?).into())),
    ("quote", ANY, |call| spaced(call, |value| Ok(format::quote(&written(value)?)))),
    ("squote", ANY, |call| spaced(call, |value| Ok([b"'", &format::text_of(value)?[..], b"'"].concat()))),
    ("cat", ANY, |call| spaced(call, |value| Ok(format::text_of(value)?.to_vec()))),
    ("indent", NUMBER_AND_TEXT, |call| indent(call, b"")),
    ("nindent", NUMBER_AND_TEXT, |call| indent(call, b"\n")),
    ("plural", takes(&[Type::Text, Type::Text, Type::Int]), |call| {
        Ok(call.bytes(usize::from(call.int(2)? != 1))?.clone().into())
    }),
    ("split", TWO, |call| numbered(call, &split(call.bytes(1)?, call.bytes(0)?, None))),
    ("splitn", takes(&[Type::Text, Type::Int, Type::Text]), |call| {
        let count = usize::try_from(call.int(1)?).ok();
        numbered(call, &split(call.bytes(2)?, call.bytes(0)?, count))
    }),
    ("splitList", TWO, |call| {
        let parts = split(call.bytes(1)?, call.bytes(0)?, None);
        call.collected_of(Of::Text, parts.into_iter().map(Value::from))
    }),
    ("join", takes(&[Type::Text, Type::Any]), join),
    ("toString", takes(&[Type::Any]), |call| Ok(written(call.value(0)?)?.into())),
    ("toStrings", takes(&[Type::Any]), |call| match call.value(0)? {
        // It is that already.
        Value::List(list) if list.of() == Of::Text => Ok(list.clone().into()),
        value => call.collected_of(Of::Text, texts(value)?.into_iter().map(Value::from)),
    }),
    ("sortAlpha", takes(&[Type::Any]), |call| {
        let mut sorted = match call.value(0)? {
            Value::List(list) if list.of() == Of::Text && list.is_nil() => return Ok(list.clone().into()),
            Value::Nil => vec!["<nil>".into()],
            list => texts(list)?,
        };
        sorted.sort();
        call.collected_of(Of::Text, sorted.into_iter().map(Value::from))
    }),
    ("wrap", NUMBER_AND_TEXT, |call| wrapped(call, call.bytes(1)?, b"\n", false)),
    ("wrapWith", takes(&[Type::Int, Type::Text, Type::Text]), |call| {
        let line_end = call.bytes(1)?;
        wrapped(call, call.bytes(2)?, if line_end.is_empty() { b"\n" } else { line_end }, true)
    }),
];

/// Refuses a result before it takes memory.
fn fits(call: &Call<'_>, bytes: usize) -> Result<(), Failure> {
    // The replaced text makes room, so the bound is not exact.
    if bytes <= 2 * MAX_RESULT { Ok(()) } else { call.fail("its result is larger than 1 MiB") }
}

/// The positions of a part in a text; an empty part is before each character and at the end.
fn finds<'a>(text: &'a [u8], part: &'a [u8]) -> Box<dyn Iterator<Item = usize> + 'a> {
    if part.is_empty() {
        let ends = runes(text).scan(0, |end, Rune { width, .. }| {
            *end += width;
            Some(*end)
        });
        return Box::new(std::iter::once(0).chain(ends));
    }
    Box::new(memchr::memmem::find_iter(text, part))
}

fn trimmed(text: &[u8], goes: impl Fn(char) -> bool) -> &[u8] {
    let gone = runes(text).take_while(|rune| goes(rune.character)).map(|rune| rune.width).sum::<usize>();
    let mut text = &text[gone..];
    while let Some(Rune { character, width }) = last(text) {
        if !goes(character) {
            break;
        }
        text = &text[..text.len() - width];
    }
    text
}

fn trim_all(call: &Call<'_>) -> Outcome {
    // Both may be long, so the set is made one first.
    let set: BTreeSet<char> = runes(call.bytes(0)?).map(|rune| rune.character).collect();
    Ok(trimmed(call.bytes(1)?, |character| set.contains(&character)).into())
}

fn replace(call: &Call<'_>) -> Outcome {
    let (from, to, text) = (call.bytes(0)?, call.bytes(1)?, call.bytes(2)?);
    fits(call, finds(text, from).count().saturating_mul(to.len()).saturating_add(text.len()))?;
    let (mut replaced, mut end) = (Vec::with_capacity(text.len()), 0);
    for place in finds(text, from) {
        replaced.extend_from_slice(&text[end..place]);
        replaced.extend_from_slice(to);
        end = place + from.len();
    }
    replaced.extend_from_slice(&text[end..]);
    Ok(replaced.into())
}

fn substr(call: &Call<'_>) -> Outcome {
    let (start, end, text) = (call.int(0)?, call.int(1)?, call.bytes(2)?);
    let (start, end) = (usize::try_from(start), usize::try_from(end));
    let part = match (start, end) {
        (Err(_), Ok(end)) => text.get(..end),
        (Err(_), Err(_)) => None,
        (Ok(start), Ok(end)) if end <= text.len() => text.get(start..end),
        (Ok(start), _) => text.get(start..),
    };
    part.map_or_else(|| call.fail("the text is shorter than the positions say"), |part| Ok(part.into()))
}

fn trunc(call: &Call<'_>) -> Outcome {
    let (length, text) = (call.int(0)?, call.bytes(1)?);
    let size = usize::try_from(length.unsigned_abs()).unwrap_or(usize::MAX);
    Ok(match text.len().checked_sub(size) {
        Some(skipped) if length < 0 && skipped > 0 => text[skipped..].into(),
        Some(_) if length >= 0 => text[..size].into(),
        _ => text.clone().into(),
    })
}

/// With dots for what is left out, in `width` bytes at most, from about `offset` on.
fn abbreviated(offset: i64, width: i64, text: &[u8]) -> Vec<u8> {
    let Some(width) = usize::try_from(width).ok().filter(|width| *width >= 4 && *width < text.len()) else {
        return text.to_vec();
    };
    let room = width - 3;
    let offset = usize::try_from(offset).unwrap_or(0).min(text.len() - room);
    if offset <= 4 {
        return [&text[..room], b"..."].concat();
    }
    let rest = if offset + room < text.len() {
        abbreviated(0, i64::try_from(room).unwrap_or(i64::MAX), &text[offset..])
    } else {
        text[text.len() - room..].to_vec()
    };
    [b"...", &rest[..]].concat()
}

/// The arguments that are not nil, each in its form, with spaces between them.
fn spaced(call: &Call<'_>, form: fn(&Value) -> Result<Vec<u8>, Failure>) -> Outcome {
    let mut all = Vec::new();
    for value in call.arguments.iter().filter(|argument| !matches!(argument, Value::Nil)) {
        all.push(form(value)?);
    }
    Ok(all.join(&b' ').into())
}

fn indent(call: &Call<'_>, before: &[u8]) -> Outcome {
    let (spaces, text) = (call.size(0)?, call.bytes(1)?);
    let lines = memchr::memchr_iter(b'\n', text).count() + 1;
    fits(call, lines.saturating_mul(spaces).saturating_add(text.len()))?;
    let pad = b" ".repeat(spaces);
    let mut indented = [before, &pad].concat();
    for byte in text.iter() {
        indented.push(*byte);
        if *byte == b'\n' {
            indented.extend_from_slice(&pad);
        }
    }
    Ok(indented.into())
}

/// The parts between separators, at most so many; an empty separator splits between all characters.
fn split<'a>(text: &'a [u8], separator: &[u8], most: Option<usize>) -> Vec<&'a [u8]> {
    let most = most.unwrap_or(usize::MAX);
    if most == 0 {
        return Vec::new();
    }
    // A list cannot have more anyway.
    let most = most.min(MAX_ITEMS + 2);
    let (mut parts, mut end) = (Vec::new(), 0);
    if separator.is_empty() && text.is_empty() {
        return parts;
    }
    // An empty separator splits neither before the first character nor after the last one.
    let is_between = |place: &usize| !separator.is_empty() || *place > 0 && *place < text.len();
    for place in finds(text, separator).filter(is_between).take(most - 1) {
        parts.push(&text[end..place]);
        end = place + separator.len();
    }
    parts.push(&text[end..]);
    parts
}

fn numbered(call: &Call<'_>, parts: &[&[u8]]) -> Outcome {
    let named = parts.iter().enumerate().map(|(position, part)| (format!("_{position}").into(), Value::from(*part)));
    call.members(Of::Text, named)
}

fn join(call: &Call<'_>) -> Outcome {
    let (separator, texts) = (call.bytes(0)?, texts(call.value(1)?)?);
    let bytes = texts.iter().map(|text| text.len()).fold(0, usize::saturating_add);
    fits(call, separator.len().saturating_mul(texts.len()).saturating_add(bytes))?;
    let texts: Vec<&[u8]> = texts.iter().map(|text| &text[..]).collect();
    Ok(texts.join(&separator[..]).into())
}

/// Lines of at most so many bytes, ended at spaces; a longer word is `cut`, or longer than the line.
fn wrapped(call: &Call<'_>, text: &[u8], line_end: &[u8], cut: bool) -> Outcome {
    let width = usize::try_from(call.int(0)?).unwrap_or(0).max(1);
    let (mut lines, mut at) = (Vec::new(), 0);
    fits(call, (text.len() / width).saturating_mul(line_end.len()).saturating_add(text.len()))?;
    while text.len() - at > width {
        if text[at] == b' ' {
            at += 1;
            continue;
        }
        let is_space = |byte: &u8| *byte == b' ';
        let (end, next) = match text[at..=at + width].iter().rposition(is_space) {
            Some(space) => (at + space, at + space + 1),
            None if cut => (at + width, at + width),
            None => match text[at + width..].iter().position(is_space) {
                Some(space) => (at + width + space, at + width + space + 1),
                None => break,
            },
        };
        lines.extend_from_slice(&text[at..end]);
        lines.extend_from_slice(line_end);
        at = next;
    }
    lines.extend_from_slice(&text[at..]);
    Ok(lines.into())
}
