//! Writing YAML.

use std::{cmp::Ordering, fmt::Write as _};

use super::{
    super::{
        call::{Call, Failure, MAX_DEPTH, MAX_RESULT, Outcome},
        json,
    },
    resolve::{Plain, is_base_60, resolve},
};
use crate::{
    render::{
        template::value::{Text, Value},
        yaml::has_no_place,
    },
    runes::{is_digit, is_letter},
};

pub fn to_yaml(call: &Call<'_>) -> Outcome {
    let mut writer = Writer { call, out: Vec::new(), line: 0, indent: 0, is_fresh: true };
    writer.node(call.value(0)?, Context { level: 0, is_key: false, in_mapping: false, indent: None })?;
    if writer.out.ends_with(b"\n") {
        writer.out.pop();
    }
    Ok(writer.out.into())
}

/// The most characters of a name on one line with its colon.
const SIMPLE_KEY: usize = 128;

/// The width of a line, beyond which a text continues on the next.
const WIDTH: usize = 80;

/// The place of a node.
#[derive(Clone, Copy)]
struct Context {
    level: usize,
    is_key: bool,
    in_mapping: bool,
    /// The columns of the parents; none at the root.
    indent: Option<usize>,
}

struct Writer<'a> {
    call: &'a Call<'a>,
    out: Vec<u8>,
    /// Where the line starts.
    line: usize,
    indent: usize,
    /// Whether the line has only indentation and marks.
    is_fresh: bool,
}

impl Writer<'_> {
    fn node(&mut self, value: &Value, at: Context) -> Result<(), Failure> {
        if at.level > MAX_DEPTH {
            return self.call.fail("the value is nested more than 64 levels deep");
        }
        if self.out.len() > MAX_RESULT {
            return self.call.fail("its result is larger than 1 MiB");
        }
        match value {
            Value::List(items) if items.is_nil() => self.word("null"),
            Value::List(items) if items.is_empty() => self.word("[]"),
            Value::List(items) => {
                // Those of a dict are below its names.
                let indent = match at.indent {
                    None => 0,
                    Some(indent) if at.in_mapping && !self.is_fresh => indent,
                    Some(indent) => indent + 2,
                };
                for item in items.iter() {
                    self.start_line(indent);
                    self.mark("-");
                    self.node(
                        item,
                        Context { level: at.level + 1, is_key: false, in_mapping: false, indent: Some(indent) },
                    )?;
                }
            }
            Value::Map(map) if map.is_empty() => self.word("{}"),
            Value::Map(map) => {
                let indent = at.indent.map_or(0, |indent| indent + 2);
                let mut members = map.snapshot();
                let mut keyed = Vec::with_capacity(members.len());
                for (name, member) in members.drain(..) {
                    keyed.push((self.utf8(&name)?.to_owned(), member));
                }
                keyed.sort_by(|(one, _), (other, _)| order(one, other));
                for (name, member) in keyed {
                    self.member(&name, &member, at.level + 1, indent)?;
                }
            }
            Value::Text(text) => {
                let text = self.utf8(text)?.to_owned();
                self.text(&text, at);
            }
            other => self.scalar(other, at)?,
        }
        Ok(())
    }

    fn member(&mut self, name: &str, member: &Value, level: usize, indent: usize) -> Result<(), Failure> {
        self.start_line(indent);
        let inside = |is_key| Context { level, is_key, in_mapping: true, indent: Some(indent) };
        let is_simple = name.len() <= SIMPLE_KEY && !name.contains(is_break);
        if is_simple {
            self.text(name, inside(true));
            self.out.push(b':');
        } else {
            self.mark("?");
            self.text(name, inside(false));
            self.start_line(indent);
            self.mark(":");
        }
        self.node(member, inside(false))
    }

    /// Numbers, bools and other values, in their JSON form.
    fn scalar(&mut self, value: &Value, at: Context) -> Result<(), Failure> {
        let written = json::write(self.call, value, json::Form::Raw)?;
        let written = String::from_utf8_lossy(&written).into_owned();
        match value {
            Value::Float(number)
                if !written.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
                    || written.parse::<i64>().is_err() && written.parse::<u64>().is_err() =>
            {
                self.word(&general(*number));
            }
            Value::Float(_) if written == "-0" => self.word("0"),
            Value::Object(object) if object.type_name() != json::NUMBER => {
                let text = object.text();
                let text = self.utf8(&text)?.to_owned();
                self.text(&text, at);
            }
            _ => self.word(&written),
        }
        Ok(())
    }

    fn utf8<'t>(&self, text: &'t Text) -> Result<&'t str, Failure> {
        let wrong = || self.call.fail("bytes that are no UTF-8 text have no such form; encode them with b64enc");
        let text = std::str::from_utf8(text).or_else(|_| wrong())?;
        if text.contains(has_no_place) {
            return self.call.fail("a text with control characters has no such form; encode it with b64enc");
        }
        Ok(text)
    }

    fn text(&mut self, text: &str, at: Context) {
        let shape = Shape::of(text);
        // `<<` has a meaning only as a name.
        let is_plain = matches!(resolve(text), Plain::Text | Plain::Merge) && !is_base_60(text);
        if text.contains('\n') && shape.block && !at.is_key {
            self.literal(text, at.indent.map_or(2, |indent| indent + 2));
        } else if is_plain && !text.contains('\n') && shape.plain {
            self.folded(text, "", at);
        } else if is_plain && !text.contains('\n') && shape.single {
            self.folded(&text.replace('\'', "''"), "'", at);
        } else {
            self.folded(&double(text), "\"", at);
        }
    }

    /// A text in one of its forms, with a new line at each space beyond the width of a line. Names stay on theirs.
    fn folded(&mut self, text: &str, quote: &str, at: Context) {
        self.word(quote);
        if at.is_key || text.len() + self.out.len() - self.line <= WIDTH {
            self.out.extend_from_slice(text.as_bytes());
            self.out.extend_from_slice(quote.as_bytes());
            return;
        }
        let indent = at.indent.map_or(2, |indent| indent + 2);
        let mut column = String::from_utf8_lossy(&self.out[self.line..]).chars().count();
        let characters: Vec<char> = text.chars().collect();
        let (is_plain, is_double) = (quote.is_empty(), quote == "\"");
        let mut after_space = false;
        for (place, &character) in characters.iter().enumerate() {
            let next = characters.get(place + 1);
            let is_inside = is_plain || place > 0 && next.is_some();
            let breaks =
                character == ' ' && !after_space && column > WIDTH && is_inside && (is_double || next != Some(&' '));
            after_space = character == ' ';
            if !breaks {
                self.push(character);
                column += 1;
                continue;
            }
            self.end_line();
            self.out.extend(std::iter::repeat_n(b' ', indent));
            column = indent;
            if next == Some(&' ') {
                self.push('\\');
                column += 1;
            }
        }
        self.out.extend_from_slice(quote.as_bytes());
    }

    fn literal(&mut self, text: &str, indent: usize) {
        let hint = if text.starts_with(|first| first == ' ' || is_break(first)) { "2" } else { "" };
        let ends: Vec<char> = text.chars().rev().take(2).collect();
        let chomp = match ends[..] {
            [last] if is_break(last) => "+",
            [last, before] if is_break(last) && is_break(before) => "+",
            [last, ..] if is_break(last) => "",
            _ => "-",
        };
        self.word(&format!("|{hint}{chomp}"));
        self.end_line();
        let mut starts = true;
        for character in text.chars() {
            if character == '\n' {
                self.end_line();
                starts = true;
                continue;
            }
            if is_break(character) {
                self.push(character);
                self.line = self.out.len();
                starts = true;
                continue;
            }
            if std::mem::take(&mut starts) {
                self.out.extend(std::iter::repeat_n(b' ', indent));
            }
            self.push(character);
        }
        self.is_fresh = false;
    }

    fn push(&mut self, character: char) {
        self.out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }

    fn end_line(&mut self) {
        self.out.push(b'\n');
        self.line = self.out.len();
    }

    /// Goes to this column: of a new line, unless only marks stand in this one.
    fn start_line(&mut self, indent: usize) {
        let column = self.out.len() - self.line;
        if column > indent || !self.is_fresh && column > 0 {
            self.end_line();
        }
        let column = self.out.len() - self.line;
        self.out.extend(std::iter::repeat_n(b' ', indent - column.min(indent)));
        self.indent = indent;
        self.is_fresh = true;
    }

    /// `-`, `?` or `:` with a space behind it; the line still counts as new.
    fn mark(&mut self, mark: &str) {
        self.out.extend_from_slice(mark.as_bytes());
    }

    fn word(&mut self, word: &str) {
        if self.out.last().is_some_and(|last| !matches!(last, b' ' | b'\n')) {
            self.out.push(b' ');
        }
        self.out.extend_from_slice(word.as_bytes());
        self.is_fresh = false;
    }
}

/// The forms that a text can have.
struct Shape {
    plain: bool,
    single: bool,
    block: bool,
}

impl Shape {
    fn of(text: &str) -> Self {
        if text.is_empty() {
            return Self { plain: false, single: true, block: false };
        }
        let characters: Vec<char> = text.chars().collect();
        let is_blank = |character: Option<&char>| character.is_none_or(|character| matches!(character, ' ' | '\t'));
        let mut indicators = text.starts_with("---") || text.starts_with("...");
        let (mut special, mut breaks, mut break_space, mut space_break) = (false, false, false, false);
        let mut before = None;
        for (at, &character) in characters.iter().enumerate() {
            let ends = is_blank(characters.get(at + 1));
            let after_blank = before.is_none_or(|before| matches!(before, ' ' | '\t' | '\0') || is_break(before));
            indicators |= match character {
                '#' => after_blank,
                ':' => ends,
                '?' | '-' if at == 0 => ends,
                ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => at == 0,
                _ => false,
            };
            special |= !is_printable(character);
            breaks |= is_break(character);
            break_space |= character == ' ' && before.is_some_and(is_break);
            space_break |= is_break(character) && before == Some(' ');
            before = Some(character);
        }
        let is_edge =
            |character: Option<&char>| character.is_some_and(|character| *character == ' ' || is_break(*character));
        let edges = is_edge(characters.first()) || is_edge(characters.last());
        let hidden = space_break || special;
        Self {
            plain: !(edges || break_space || hidden || breaks || indicators),
            single: !(break_space || hidden),
            block: !hidden && characters.last() != Some(&' '),
        }
    }
}

fn is_break(character: char) -> bool {
    matches!(character, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Characters that need no escape. Those beyond the first 65,536 count as needing one.
fn is_printable(character: char) -> bool {
    matches!(character, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}

/// For double quotes.
fn double(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for character in text.chars() {
        let escape = match character {
            '\0' => '0',
            '\x07' => 'a',
            '\x08' => 'b',
            '\t' => 't',
            '\n' => 'n',
            '\x0b' => 'v',
            '\x0c' => 'f',
            '\r' => 'r',
            '\x1b' => 'e',
            '"' => '"',
            '\\' => '\\',
            '\u{85}' => 'N',
            '\u{2028}' => 'L',
            '\u{2029}' => 'P',
            _ if is_printable(character) => {
                quoted.push(character);
                continue;
            }
            _ => {
                let code = u32::from(character);
                let (mark, digits) = match code {
                    0..=0xFF => ('x', 2),
                    0x100..=0xFFFF => ('u', 4),
                    _ => ('U', 8),
                };
                write!(quoted, "\\{mark}{code:0digits$X}").ok();
                continue;
            }
        };
        quoted.push('\\');
        quoted.push(escape);
    }
    quoted
}

/// A float in its shortest form, with a power of ten from a million on.
fn general(number: f64) -> String {
    let text = format!("{number:e}");
    let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
    match power.parse::<i32>().unwrap_or_default() {
        -4..=5 => format!("{number}"),
        power => format!("{digits}e{}{:02}", if power < 0 { '-' } else { '+' }, power.abs()),
    }
}

/// The order of names: letters behind all else, and numbers by their value.
fn order(one: &str, other: &str) -> Ordering {
    let (ones, others): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    for (at, (&a, &b)) in ones.iter().zip(&others).enumerate() {
        if a == b {
            continue;
        }
        match (is_letter(a), is_letter(b)) {
            (true, true) => return a.cmp(&b),
            (true, false) => return Ordering::Greater,
            (false, true) => return Ordering::Less,
            (false, false) => {}
        }
        let is_inside = (a == '0' || b == '0')
            && ones[..at].iter().rev().take_while(|digit| is_digit(**digit)).any(|digit| *digit != '0');
        let number = |all: &[char]| {
            let digits = all[at..].iter().take_while(|digit| is_digit(**digit));
            let value = |number: i64, digit: &char| {
                number.wrapping_mul(10).wrapping_add(i64::from(u32::from(*digit)) - i64::from(u32::from('0')))
            };
            let count = digits.clone().count();
            (digits.fold(i64::from(is_inside), value), count)
        };
        return number(&ones).cmp(&number(&others)).then(a.cmp(&b));
    }
    ones.len().cmp(&others.len())
}
