//! Values as text, byte for byte as Go's `fmt` writes them. Where Go writes a mistake into the text, such as
//! `%!d(string=…)`, this fails: such a text is worse than no credential.

mod float;
mod integer;
mod printf;
mod quote;

pub use printf::sprintf;
pub use quote::{is_letter_or_digit, is_print, quote, quote_ascii};

use super::value::{List, Map, Object, Text, Value};
use crate::render::functions::{Failure, MAX_DEPTH, MAX_RESULT};

/// What `%v` writes of a nil.
const NIL: &[u8] = b"<nil>";

/// What `%v` writes: the text that Sprig makes of any value.
pub fn text_of(value: &Value) -> Result<Text, Failure> {
    if let Value::Text(text) = value {
        return Ok(text.clone());
    }
    let mut printer = Printer::default();
    printer.argument(value, 'v')?;
    Ok(printer.out.into())
}

/// What `fmt.Sprint` gives.
pub fn sprint(values: &[Value]) -> Result<Text, Failure> {
    if let [Value::Text(text)] = values {
        return Ok(text.clone());
    }
    let mut printer = Printer::default();
    let mut before = None;
    for value in values {
        let is_text = matches!(value, Value::Text(_));
        // A space goes between two that are no texts.
        if before == Some(false) && !is_text {
            printer.push(b" ")?;
        }
        printer.argument(value, 'v')?;
        before = Some(is_text);
    }
    Ok(printer.out.into())
}

/// What `fmt.Sprintln` gives.
pub fn sprintln(values: &[Value]) -> Result<Text, Failure> {
    let mut printer = Printer::default();
    for (position, value) in values.iter().enumerate() {
        if position > 0 {
            printer.push(b" ")?;
        }
        printer.argument(value, 'v')?;
    }
    printer.push(b"\n")?;
    Ok(printer.out.into())
}

/// The flags of a verb.
#[expect(clippy::struct_excessive_bools, reason = "each is a character of the format, and a verb may have all of them")]
#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    width: Option<usize>,
    precision: Option<usize>,
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    /// `%#v`
    source: bool,
}

/// Writes values one after the other.
#[derive(Default)]
struct Printer {
    out: Vec<u8>,
    flags: Flags,
}

impl Printer {
    fn push(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.room(bytes.len())?;
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    /// Refuses more than a function may return, before it takes memory.
    fn room(&self, bytes: usize) -> Result<(), Failure> {
        if self.out.len().saturating_add(bytes) > 2 * MAX_RESULT {
            return Err(Failure("the text becomes larger than 1 MiB".to_owned()));
        }
        Ok(())
    }

    /// Refuses more digits than Rust writes.
    fn digits_fit(&self, digits: usize) -> Result<(), Failure> {
        if digits > usize::from(u16::MAX) {
            return Err(Failure("a precision in the format is larger than 65535".to_owned()));
        }
        self.room(digits)
    }

    fn padding(&mut self, count: usize) -> Result<(), Failure> {
        self.room(count)?;
        let byte = if self.flags.zero && !self.flags.minus { b'0' } else { b' ' };
        self.out.resize(self.out.len() + count, byte);
        Ok(())
    }

    /// Writes `bytes`, as wide as the flags say. Widths are in characters.
    fn pad(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let Some(width) = self.flags.width.filter(|width| *width > 0) else {
            return self.push(bytes);
        };
        let missing = width.saturating_sub(quote::count(bytes));
        if self.flags.minus {
            self.push(bytes)?;
            self.padding(missing)
        } else {
            self.padding(missing)?;
            self.push(bytes)
        }
    }

    /// Writes a text that already has its zeros, if the flags ask for zeros.
    fn pad_by_spaces(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let zero = std::mem::take(&mut self.flags.zero);
        let result = self.pad(bytes);
        self.flags.zero = zero;
        result
    }

    fn misfit<T>(verb: char, type_name: &str) -> Result<T, Failure> {
        let written: String = verb.escape_default().collect();
        Err(Failure(format!("%{written} does not fit an argument of type {type_name}")))
    }

    /// Writes an argument of a call.
    fn argument(&mut self, value: &Value, verb: char) -> Result<(), Failure> {
        match (value, verb) {
            (Value::Nil, 'v' | 'T') => self.pad(NIL),
            (_, 'T') => self.text(value.type_name().as_bytes(), 's'),
            (Value::Nil, _) | (_, 'p') => Self::misfit(verb, &value.type_name()),
            _ => self.value(value, verb, 0),
        }
    }

    fn value(&mut self, value: &Value, verb: char, depth: usize) -> Result<(), Failure> {
        if depth > MAX_DEPTH {
            return Err(Failure("a value is nested more than 64 levels deep".to_owned()));
        }
        match value {
            Value::Nil if self.flags.source => self.push(b"interface {}(nil)"),
            Value::Nil => self.push(NIL),
            Value::Bool(flag) => match verb {
                't' | 'v' => self.pad(if *flag { b"true" } else { b"false" }),
                _ => Self::misfit(verb, "bool"),
            },
            Value::Int(number, _) => self.integer(number.unsigned_abs(), *number < 0, true, verb, value.kind_name()),
            Value::Uint(number, _) => self.integer(*number, false, false, verb, value.kind_name()),
            Value::Float(number) => self.float(*number, verb),
            Value::Text(text) => self.text(text, verb),
            Value::List(list) => self.list(list, verb, depth),
            Value::Map(map) => self.map(map, verb, depth),
            Value::Object(object) => self.object(object.as_ref(), verb),
        }
    }

    fn text(&mut self, text: &[u8], verb: char) -> Result<(), Failure> {
        match verb {
            'v' if self.flags.source => self.quoted(text),
            'v' | 's' => self.pad(self.truncated(text)),
            'x' => self.hex(text, integer::LOWER),
            'X' => self.hex(text, integer::UPPER),
            'q' => self.quoted(text),
            _ => Self::misfit(verb, "string"),
        }
    }

    /// As many characters as the precision says.
    fn truncated<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        self.flags.precision.map_or(text, |precision| quote::start(text, precision))
    }

    fn quoted(&mut self, text: &[u8]) -> Result<(), Failure> {
        let text = self.truncated(text);
        self.room(text.len())?;
        let quoted = if self.flags.sharp && quote::can_be_raw(text) {
            [b"`", text, b"`"].concat()
        } else if self.flags.plus {
            quote_ascii(text)
        } else {
            quote(text)
        };
        self.pad(&quoted)
    }

    fn hex(&mut self, text: &[u8], digits: &[u8; 16]) -> Result<(), Failure> {
        let text = self.flags.precision.and_then(|precision| text.get(..precision)).unwrap_or(text);
        self.room(text.len().saturating_mul(2))?;
        let prefix = [b'0', if digits == integer::UPPER { b'X' } else { b'x' }];
        let mut written = Vec::new();
        for (position, byte) in text.iter().enumerate() {
            if self.flags.space && position > 0 {
                written.push(b' ');
            }
            if self.flags.sharp && (self.flags.space || position == 0) {
                written.extend_from_slice(&prefix);
            }
            written.extend([digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
        }
        self.pad(&written)
    }

    fn list(&mut self, list: &List, verb: char, depth: usize) -> Result<(), Failure> {
        let source = self.flags.source;
        if source && list.is_nil() {
            return self.push(format!("[]{}(nil)", list.of().type_name()).as_bytes());
        }
        let (between, close): (&[u8], &[u8]) = if source { (b", ", b"}") } else { (b" ", b"]") };
        if source {
            self.push(format!("[]{}{{", list.of().type_name()).as_bytes())?;
        } else {
            self.push(b"[")?;
        }
        for (position, item) in list.iter().enumerate() {
            if position > 0 {
                self.push(between)?;
            }
            self.value(item, verb, depth + 1)?;
        }
        self.push(close)
    }

    fn map(&mut self, map: &Map, verb: char, depth: usize) -> Result<(), Failure> {
        let source = self.flags.source;
        let (between, close): (&[u8], &[u8]) = if source { (b", ", b"}") } else { (b" ", b"]") };
        if source {
            self.push(format!("map[string]{}{{", map.of().type_name()).as_bytes())?;
        } else {
            self.push(b"map[")?;
        }
        for (position, (name, member)) in map.borrow().iter().enumerate() {
            if position > 0 {
                self.push(between)?;
            }
            self.text(name, verb)?;
            self.push(b":")?;
            self.value(member, verb, depth + 1)?;
        }
        self.push(close)
    }

    fn object(&mut self, object: &dyn Object, verb: char) -> Result<(), Failure> {
        match verb {
            'v' | 's' | 'x' | 'X' | 'q' if !self.flags.source => self.text(&object.text(), verb),
            _ => Self::misfit(verb, object.type_name()),
        }
    }
}
