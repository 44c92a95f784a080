//! Writing JSON, as Go does.

use super::NUMBER;
use crate::render::{
    functions::call::{Call, Failure, MAX_DEPTH, MAX_RESULT},
    template::value::{Text, Value},
};

/// How it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `<`, `>` and `&` as escapes, so that HTML can hold it.
    Escaped,
    /// The same, with a line for each value.
    Pretty,
    /// With `<`, `>` and `&` as they are.
    Raw,
}

/// A value as JSON.
pub fn write(call: &Call<'_>, value: &Value, form: Form) -> Result<Vec<u8>, Failure> {
    let mut writer = Writer { call, form, written: Vec::new() };
    writer.value(value, 0)?;
    Ok(writer.written)
}

struct Writer<'a> {
    call: &'a Call<'a>,
    form: Form,
    written: Vec<u8>,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value, level: usize) -> Result<(), Failure> {
        if level > MAX_DEPTH {
            return self.call.fail("the value is nested more than 64 levels deep");
        }
        if self.written.len() > MAX_RESULT {
            return self.call.fail("its result is larger than 1 MiB");
        }
        match value {
            Value::Nil => self.written.extend_from_slice(b"null"),
            Value::Bool(flag) => self.written.extend_from_slice(if *flag { b"true" } else { b"false" }),
            Value::Int(number, _) => self.written.extend_from_slice(number.to_string().as_bytes()),
            Value::Uint(number, _) => self.written.extend_from_slice(number.to_string().as_bytes()),
            Value::Float(number) => {
                let Some(text) = float(*number) else { return self.call.fail("NaN and infinity have no such form") };
                self.written.extend_from_slice(text.as_bytes());
            }
            Value::Text(text) => self.text(text)?,
            Value::Object(object) if object.type_name() == NUMBER => self.written.extend_from_slice(&object.text()),
            Value::Object(object) => self.text(&object.text())?,
            Value::List(items) if items.is_nil() => self.written.extend_from_slice(b"null"),
            Value::List(items) => {
                for (position, item) in items.iter().enumerate() {
                    self.start(if position == 0 { b'[' } else { b',' }, level + 1);
                    self.value(item, level + 1)?;
                }
                self.end(items.is_empty(), *b"[]", level);
            }
            Value::Map(map) => {
                let members = map.borrow();
                for (position, (name, member)) in members.iter().enumerate() {
                    self.start(if position == 0 { b'{' } else { b',' }, level + 1);
                    self.text(name)?;
                    self.written.extend_from_slice(if self.form == Form::Pretty { b": " } else { b":" });
                    self.value(member, level + 1)?;
                }
                self.end(members.is_empty(), *b"{}", level);
            }
        }
        Ok(())
    }

    fn start(&mut self, mark: u8, level: usize) {
        self.written.push(mark);
        self.line(level);
    }

    fn end(&mut self, is_empty: bool, [open, close]: [u8; 2], level: usize) {
        if is_empty {
            self.written.push(open);
        } else {
            self.line(level);
        }
        self.written.push(close);
    }

    fn line(&mut self, level: usize) {
        if self.form == Form::Pretty {
            self.written.push(b'\n');
            self.written.extend(std::iter::repeat_n(b' ', 2 * level));
        }
    }

    fn text(&mut self, text: &Text) -> Result<(), Failure> {
        let Ok(text) = std::str::from_utf8(text) else {
            return self.call.fail("bytes that are no UTF-8 text have no such form; encode them with b64enc");
        };
        self.written.extend_from_slice(quoted(text, self.form != Form::Raw).as_bytes());
        Ok(())
    }
}

/// A text in quotes.
pub fn quoted(text: &str, escapes_html: bool) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\0'..='\x1f' | '\u{2028}' | '\u{2029}' => quoted.push_str(&escape(character)),
            '<' | '>' | '&' if escapes_html => quoted.push_str(&escape(character)),
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

fn escape(character: char) -> String {
    format!("\\u{:04x}", u32::from(character))
}

/// The shortest form of a float: with a power of ten where it is far from 1.
pub fn float(number: f64) -> Option<String> {
    if !number.is_finite() {
        return None;
    }
    let size = number.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        return Some(format!("{number}"));
    }
    let text = format!("{number:e}");
    Some(if text.contains("e-") { text } else { text.replace('e', "e+") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_have_their_shortest_form() {
        for (number, expected) in [
            (5432.0, "5432"),
            (0.5, "0.5"),
            (-0.0, "-0"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.5e-7, "1.5e-7"),
            (0.000_001, "0.000001"),
        ] {
            assert_eq!(float(number).as_deref(), Some(expected));
        }
        assert_eq!(float(f64::NAN), None);
    }
}
