//! Escapes for other languages.

use crate::render::template::format;

/// For HTML.
pub fn html(text: &[u8]) -> Vec<u8> {
    let mut written = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            0 => written.extend_from_slice("\u{fffd}".as_bytes()),
            b'"' => written.extend_from_slice(b"&#34;"),
            b'\'' => written.extend_from_slice(b"&#39;"),
            b'&' => written.extend_from_slice(b"&amp;"),
            b'<' => written.extend_from_slice(b"&lt;"),
            b'>' => written.extend_from_slice(b"&gt;"),
            _ => written.push(*byte),
        }
    }
    written
}

/// For a text in JavaScript.
pub fn js(text: &[u8]) -> Vec<u8> {
    let mut written = Vec::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' | '\'' | '"' => written.extend_from_slice(format!("\\{character}").as_bytes()),
                '<' | '>' | '&' | '=' | '\0'..='\u{1f}' => {
                    written.extend_from_slice(format!("\\u{:04X}", u32::from(character)).as_bytes());
                }
                _ if character.is_ascii() || format::is_print(character) => {
                    written.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                _ => written.extend_from_slice(format!("\\u{:04X}", u32::from(character)).as_bytes()),
            }
        }
        // Bytes that are no text stay as they are, as in Go.
        written.extend_from_slice(chunk.invalid());
    }
    written
}

/// For the query of a URL.
pub fn query(text: &[u8]) -> Vec<u8> {
    let mut written = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => written.push(*byte),
            b' ' => written.push(b'+'),
            _ => written.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    written
}
