//! Formats of `printf`.

use super::{Failure, Flags, Printer};
use crate::render::template::value::{Text, Value};

/// The largest width and precision, as in Go.
const MAX_WIDTH: usize = 1_000_000;

/// What `fmt.Sprintf` gives.
///
/// # Errors
/// Where Go writes a mistake into the text.
pub fn sprintf(format: &[u8], arguments: &[Value]) -> Result<Text, Failure> {
    let mut formatter = Formatter { format, at: 0, arguments, next: 0, reordered: false, printer: Printer::default() };
    formatter.all()?;
    Ok(formatter.printer.out.into())
}

struct Formatter<'a> {
    format: &'a [u8],
    at: usize,
    arguments: &'a [Value],
    /// The argument that the next verb takes.
    next: usize,
    /// Whether the format chose an argument by its number: then it may leave some out.
    reordered: bool,
    printer: Printer,
}

fn wrong<T>(text: &str) -> Result<T, Failure> {
    Err(Failure(text.to_owned()))
}

impl Formatter<'_> {
    fn peek(&self) -> Option<u8> {
        self.format.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn all(&mut self) -> Result<(), Failure> {
        loop {
            let rest = &self.format[self.at..];
            let text = rest.iter().position(|byte| *byte == b'%').unwrap_or(rest.len());
            self.printer.push(&rest[..text])?;
            self.at += text;
            if !self.take(b'%') {
                break;
            }
            self.verb()?;
        }
        if !self.reordered && self.next < self.arguments.len() {
            return wrong("there are more arguments than verbs in the format");
        }
        Ok(())
    }

    fn verb(&mut self) -> Result<(), Failure> {
        self.flags();
        let mut after_number = self.number()?;
        if self.take(b'*') {
            self.width_argument()?;
            after_number = false;
        } else {
            self.printer.flags.width = self.digits()?;
            if after_number && self.printer.flags.width.is_some() {
                return wrong("a width cannot follow the number of an argument in the format");
            }
        }
        if self.peek() == Some(b'.') && self.at + 1 < self.format.len() {
            self.at += 1;
            if after_number {
                return wrong("a precision cannot follow the number of an argument in the format");
            }
            after_number = self.number()?;
            if self.take(b'*') {
                self.precision_argument()?;
                after_number = false;
            } else {
                self.printer.flags.precision = Some(self.digits()?.unwrap_or(0));
            }
        }
        if !after_number {
            self.number()?;
        }
        // No character is longer, and looking at the whole rest for each verb would be slow.
        let rest = &self.format[self.at..self.format.len().min(self.at + 4)];
        let verb = rest.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
        let Some(verb) = verb else {
            return wrong("the format ends in a % without a verb");
        };
        self.at += verb.len_utf8();
        if verb == '%' {
            return self.printer.push(b"%");
        }
        let Some(argument) = self.arguments.get(self.next) else {
            return wrong("the format has more verbs than there are arguments");
        };
        if verb == 'v' {
            let flags = &mut self.printer.flags;
            flags.source = std::mem::take(&mut flags.sharp);
            flags.plus = false;
        }
        self.next += 1;
        self.printer.argument(argument, verb)
    }

    fn flags(&mut self) {
        let mut flags = Flags::default();
        while let Some(byte) = self.peek() {
            match byte {
                b'#' => flags.sharp = true,
                b'0' => flags.zero = true,
                b'+' => flags.plus = true,
                b'-' => flags.minus = true,
                b' ' => flags.space = true,
                _ => break,
            }
            self.at += 1;
        }
        self.printer.flags = flags;
    }

    /// `[3]`: the number of an argument. Whether there was one.
    fn number(&mut self) -> Result<bool, Failure> {
        if !self.take(b'[') {
            return Ok(false);
        }
        self.reordered = true;
        let number = self.digits()?;
        match number.and_then(|number| number.checked_sub(1)) {
            Some(position) if self.take(b']') && position < self.arguments.len() => {
                self.next = position;
                Ok(true)
            }
            _ => wrong("the format names an argument by a number that does not exist"),
        }
    }

    fn digits(&mut self) -> Result<Option<usize>, Failure> {
        let mut number = None;
        while let Some(digit) = self.peek().filter(u8::is_ascii_digit) {
            let next = number.unwrap_or(0) * 10 + usize::from(digit - b'0');
            if next > 10 * MAX_WIDTH + 9 {
                return wrong("a width, a precision or a number of an argument is too large");
            }
            number = Some(next);
            self.at += 1;
        }
        Ok(number)
    }

    fn width_argument(&mut self) -> Result<(), Failure> {
        let width = self.int_argument("width")?;
        let flags = &mut self.printer.flags;
        flags.width = Some(usize::try_from(width.unsigned_abs()).unwrap_or(MAX_WIDTH));
        if width < 0 {
            flags.minus = true;
            flags.zero = false;
        }
        Ok(())
    }

    fn precision_argument(&mut self) -> Result<(), Failure> {
        let precision = self.int_argument("precision")?;
        let Ok(precision) = usize::try_from(precision) else {
            return wrong("a precision for a * in the format must not be negative");
        };
        self.printer.flags.precision = Some(precision);
        Ok(())
    }

    fn int_argument(&mut self, what: &str) -> Result<i64, Failure> {
        let number = match self.arguments.get(self.next) {
            Some(Value::Int(number, _)) => Some(*number),
            Some(Value::Uint(number, _)) => i64::try_from(*number).ok(),
            _ => None,
        };
        self.next += 1;
        let fits = |number: &i64| number.unsigned_abs() <= MAX_WIDTH as u64;
        number.filter(fits).map_or_else(|| wrong(&format!("a {what} for a * in the format is no fitting number")), Ok)
    }
}
