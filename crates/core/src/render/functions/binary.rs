//! Bytes that are no UTF-8 text, inside the texts of the template engine. Each such byte is one character of a range
//! that no standard gives a meaning (plane 16, private use); when text leaves the engine the bytes come back. A value
//! that holds such a character itself is taken for bytes, so that nothing is ambiguous.

use std::sync::Arc;

use gotmpl::Value;

const FIRST: u32 = 0x10_F700;

/// Bytes as a text of the engine.
pub fn lift(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if is_text(text) => text.to_owned(),
        Ok(_) | Err(_) => bytes.iter().map(|byte| character(*byte)).collect(),
    }
}

/// Bytes as a value of the engine.
pub fn value(bytes: &[u8]) -> Value {
    Value::String(Arc::from(lift(bytes)))
}

/// The bytes that a text of the engine stands for.
pub fn lower(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match byte(character) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

/// Whether a text of the engine stands for itself.
pub fn is_text(text: &str) -> bool {
    text.is_ascii() || text.chars().all(|character| byte(character).is_none())
}

fn character(byte: u8) -> char {
    if byte.is_ascii() { char::from(byte) } else { char::from_u32(FIRST + u32::from(byte)).unwrap_or_default() }
}

fn byte(character: char) -> Option<u8> {
    let byte = u8::try_from(u32::from(character).checked_sub(FIRST)?).ok()?;
    (!byte.is_ascii()).then_some(byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_stands_for_itself() {
        assert_eq!(lift("grün".as_bytes()), "grün");
        assert!(!is_text(&lift(&[0xff, b'a'])));
        assert_eq!(lower("\u{10F7FF}"), [0xff]);
    }

    proptest! {
        #[test]
        fn every_byte_comes_back(bytes in prop::collection::vec(any::<u8>(), 0..64), text in "[\u{10F700}-\u{10F800}a]{0,8}") {
            prop_assert_eq!(lower(&lift(&bytes)), bytes);
            prop_assert_eq!(lower(&lift(text.as_bytes())), text.as_bytes());
        }
    }
}
