//! Whole numbers.

use super::{Failure, Printer, quote};

pub const LOWER: &[u8; 16] = b"0123456789abcdef";
pub const UPPER: &[u8; 16] = b"0123456789ABCDEF";

impl Printer {
    /// `number` is the size without its sign.
    pub(super) fn integer(
        &mut self,
        number: u64,
        negative: bool,
        signed: bool,
        verb: char,
        type_name: &str,
    ) -> Result<(), Failure> {
        // A character is what the number is in two's complement.
        let character = if negative { u64::MAX } else { number };
        match verb {
            'v' if self.flags.source && !signed => {
                let sharp = std::mem::replace(&mut self.flags.sharp, true);
                let result = self.digits(number, negative, 16, verb);
                self.flags.sharp = sharp;
                result
            }
            'v' | 'd' => self.digits(number, negative, 10, verb),
            'b' => self.digits(number, negative, 2, verb),
            'o' | 'O' => self.digits(number, negative, 8, verb),
            'x' | 'X' => self.digits(number, negative, 16, verb),
            'c' => self.pad(character_of(character).encode_utf8(&mut [0; 4]).as_bytes()),
            'q' => {
                let quoted =
                    quote::quoted(character_of(character).encode_utf8(&mut [0; 4]).as_bytes(), '\'', self.flags.plus);
                self.pad(&quoted)
            }
            'U' => self.unicode(if negative { number.wrapping_neg() } else { number }),
            _ => Self::misfit(verb, type_name),
        }
    }

    fn digits(&mut self, number: u64, negative: bool, base: u64, verb: char) -> Result<(), Failure> {
        let flags = self.flags;
        let has_sign = negative || flags.plus || flags.space;
        let least = match (flags.precision, flags.width) {
            // 0 writes no digit, but keeps the width.
            (Some(0), width) if number == 0 => {
                let zero = std::mem::take(&mut self.flags.zero);
                let result = self.padding(width.unwrap_or(0));
                self.flags.zero = zero;
                return result;
            }
            (Some(precision), _) => precision,
            (None, Some(width)) if flags.zero && !flags.minus => width.saturating_sub(usize::from(has_sign)),
            (None, _) => 0,
        };
        self.room(least)?;
        let table = if verb == 'X' { UPPER } else { LOWER };
        // From the right to the left.
        let mut written = Vec::new();
        let mut rest = number;
        loop {
            written.push(table[usize::try_from(rest % base).unwrap_or(0)]);
            rest /= base;
            if rest == 0 {
                break;
            }
        }
        if written.len() < least {
            written.resize(least, b'0');
        }
        if flags.sharp {
            match base {
                2 => written.extend_from_slice(b"b0"),
                8 if written.last() != Some(&b'0') => written.push(b'0'),
                16 => written.extend_from_slice(if verb == 'X' { b"X0" } else { b"x0" }),
                _ => {}
            }
        }
        if verb == 'O' {
            written.extend_from_slice(b"o0");
        }
        match (negative, flags.plus, flags.space) {
            (true, ..) => written.push(b'-'),
            (false, true, _) => written.push(b'+'),
            (false, false, true) => written.push(b' '),
            (false, false, false) => {}
        }
        written.reverse();
        self.pad_by_spaces(&written)
    }

    /// `U+0078`, with the character behind it when `#` is set.
    fn unicode(&mut self, number: u64) -> Result<(), Failure> {
        let least = self.flags.precision.unwrap_or(0).max(4);
        self.digits_fit(least)?;
        let mut written = format!("U+{number:0least$X}");
        let character = u32::try_from(number).ok().and_then(char::from_u32);
        if let Some(character) = character.filter(|character| self.flags.sharp && quote::is_print(*character)) {
            written.extend([' ', '\'', character, '\'']);
        }
        self.pad_by_spaces(written.as_bytes())
    }
}

/// What is no character becomes U+FFFD.
fn character_of(number: u64) -> char {
    u32::try_from(number).ok().and_then(char::from_u32).unwrap_or('\u{fffd}')
}
