//! Reading JSON.

use std::collections::BTreeMap;

use super::digits;
use crate::render::{
    functions::{
        call::{Call, Failure, MAX_STRUCTURE, Outcome, VALUE},
        cast::int64,
    },
    json::MAX_DEPTH,
    template::{
        format,
        value::{List, Map, Unsigned, Value},
    },
};

const WRONG: &str = "the text is not JSON";
const DEEP: &str = "the text is nested more than 32 levels deep";

pub fn from_json(call: &Call<'_>) -> Outcome {
    let Ok(text) = std::str::from_utf8(call.bytes(0)?) else {
        return call.fail("bytes that are no UTF-8 text cannot be JSON; encode them with b64enc");
    };
    call.spend(text.len())?;
    let mut reader = Reader { call, rest: text, left: MAX_STRUCTURE };
    let value = reader.value(MAX_DEPTH)?;
    reader.blank();
    if reader.rest.is_empty() { Ok(value) } else { call.fail(WRONG) }
}

struct Reader<'a> {
    call: &'a Call<'a>,
    rest: &'a str,
    left: usize,
}

impl Reader<'_> {
    fn wrong<T>(&self) -> Result<T, Failure> {
        self.call.fail(WRONG)
    }

    fn take(&mut self, bytes: usize) -> Result<(), Failure> {
        self.call.take(&mut self.left, bytes)
    }

    fn blank(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// Takes `byte`, if it comes next.
    fn skip(&mut self, text: &str) -> bool {
        self.blank();
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, Failure> {
        self.take(VALUE)?;
        self.blank();
        match self.rest.bytes().next() {
            Some(b'{' | b'[') if depth == 0 => self.call.fail(DEEP),
            Some(b'{') => self.object(depth - 1),
            Some(b'[') => self.array(depth - 1),
            Some(b'"') => Ok(self.text()?.into()),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ if self.skip("true") => Ok(true.into()),
            _ if self.skip("false") => Ok(false.into()),
            _ if self.skip("null") => Ok(Value::Nil),
            _ => self.wrong(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, Failure> {
        let mut members = BTreeMap::new();
        self.skip("{");
        if self.skip("}") {
            return Ok(Map::of_any(members).into());
        }
        loop {
            self.blank();
            if !self.rest.starts_with('"') {
                return self.wrong();
            }
            self.take(2 * VALUE)?;
            let name = self.text()?;
            if !self.skip(":") {
                return self.wrong();
            }
            let member = self.value(depth)?;
            members.insert(name.into(), member);
            if self.skip("}") {
                return Ok(Map::of_any(members).into());
            }
            if !self.skip(",") {
                return self.wrong();
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, Failure> {
        let mut items = Vec::new();
        self.skip("[");
        if self.skip("]") {
            return Ok(List::of_any(items).into());
        }
        loop {
            items.push(self.value(depth)?);
            if self.skip("]") {
                return Ok(List::of_any(items).into());
            }
            if !self.skip(",") {
                return self.wrong();
            }
        }
    }

    /// A text in quotes; it starts with one.
    fn text(&mut self) -> Result<String, Failure> {
        let mut text = String::new();
        let mut characters = self.rest[1..].char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = &self.rest[at + 2..];
                    self.take(text.len())?;
                    return Ok(text);
                }
                '\\' => {
                    let behind = &self.rest[at + 2..];
                    let Some((character, length)) = escaped(behind) else { return self.wrong() };
                    text.push(character);
                    // Escapes are all of ASCII.
                    characters.nth(length - 1);
                }
                '\0'..='\x1f' => return self.wrong(),
                _ => text.push(character),
            }
        }
        self.wrong()
    }

    fn number(&mut self) -> Result<Value, Failure> {
        let end = self.rest.find(|character: char| !matches!(character, '0'..='9' | '+' | '-' | '.' | 'e' | 'E'));
        let (text, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        if !is_number(text) {
            return self.wrong();
        }
        self.rest = rest;
        self.take(text.len())?;
        number(text)
    }
}

/// What an escape stands for, and how long it is behind its backslash. Halves of a pair stand for U+FFFD.
fn escaped(text: &str) -> Option<(char, usize)> {
    let character = match text.bytes().next()? {
        byte @ (b'"' | b'\\' | b'/') => char::from(byte),
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let first = unit(&text[1..])?;
            if let Some(character) = char::from_u32(first) {
                return Some((character, 5));
            }
            let second = text.get(5..7).filter(|mark| *mark == "\\u").and_then(|_| unit(&text[7..]));
            return Some(match second {
                Some(second @ 0xDC00..0xE000) if first < 0xDC00 => {
                    (char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00))?, 11)
                }
                _ => (char::REPLACEMENT_CHARACTER, 5),
            });
        }
        _ => return None,
    };
    Some((character, 1))
}

fn unit(text: &str) -> Option<u32> {
    let digits = text.get(..4)?;
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
}

fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    let (number, power) = text.split_once(['e', 'E']).map_or((text, None), |(number, power)| (number, Some(power)));
    let (whole, places) = number.split_once('.').map_or((number, None), |(whole, places)| (whole, Some(places)));
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && places.is_none_or(digits)
        && power.is_none_or(|power| digits(power.strip_prefix(['+', '-']).unwrap_or(power)))
}

/// A number: a float as Go has it if that prints the same digits, else one that does.
pub fn number(text: &str) -> Result<Value, Failure> {
    let float = text.parse::<f64>().ok().filter(|float| float.is_finite());
    if let Some(float) = float {
        let value = Value::Float(float);
        let is_written = !text.contains(['.', 'e', 'E']);
        if format::text_of(&value)?[..] == *text.as_bytes() || !is_written && same_digits(text, float) {
            return Ok(value);
        }
    }
    if let Ok(number) = text.parse::<i64>() {
        return Ok(int64(number));
    }
    Ok(text.parse::<u64>().map_or_else(|_| digits(text), |number| Value::Uint(number, Unsigned::Uint64)))
}

/// Whether the shortest form of the float has the same digits and the same power.
fn same_digits(text: &str, float: f64) -> bool {
    fn parts(text: &str) -> Option<(bool, String, i64)> {
        let (number, power) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, places) = number.split_once('.').unwrap_or((number, ""));
        let digits = format!("{}{places}", whole.trim_start_matches('-'));
        let cut = digits.trim_end_matches('0');
        let zeros = i64::try_from(digits.len() - cut.len()).ok()?;
        let power = power.parse::<i64>().ok()?.checked_sub(i64::try_from(places.len()).ok()?)?.checked_add(zeros)?;
        let cut = cut.trim_start_matches('0');
        Some((whole.starts_with('-'), cut.to_owned(), if cut.is_empty() { 0 } else { power }))
    }
    parts(text).is_some_and(|parts_of| Some(parts_of) == parts(&format!("{float:e}")))
}
