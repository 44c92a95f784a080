//! Text that looks like a number. The parser checks whether it is one.

use super::{Kind, Lexer, Wrong, is_name};

impl Lexer<'_> {
    pub(super) fn number(&mut self) -> Result<(), Wrong> {
        let mut kind = if self.scan_number()? { Kind::Imaginary } else { Kind::Number };
        if matches!(self.peek(), Some('+' | '-')) {
            if !self.scan_number()? {
                return self.wrong("this is no number");
            }
            kind = Kind::Imaginary;
        }
        self.emit(kind)
    }

    /// Takes what looks like a number; returns whether it is imaginary.
    fn scan_number(&mut self) -> Result<bool, Wrong> {
        const DECIMAL: &str = "0123456789_";
        const HEXADECIMAL: &str = "0123456789abcdefABCDEF_";
        self.accept("+-");
        let mut digits = DECIMAL;
        if self.accept("0") {
            if self.accept("xX") {
                digits = HEXADECIMAL;
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        self.accept_all(digits);
        if self.accept(".") {
            self.accept_all(digits);
        }
        if (digits == DECIMAL && self.accept("eE")) || (digits == HEXADECIMAL && self.accept("pP")) {
            self.accept("+-");
            self.accept_all(DECIMAL);
        }
        let imaginary = self.accept("i");
        if self.peek().is_some_and(is_name) { self.wrong("this is no number") } else { Ok(imaginary) }
    }
}
