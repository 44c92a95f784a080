//! Texts in quotes as Go's `strconv` writes them, and characters in bytes that may be no UTF-8: there, each wrong byte is
//! a character of its own.

use std::sync::LazyLock;

use regex::Regex;

/// A character of `bytes`, or `None` for a byte that starts none; with its length.
fn first(bytes: &[u8]) -> (Option<char>, usize) {
    let start = &bytes[..bytes.len().min(4)];
    let valid = match std::str::from_utf8(start) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&start[..error.valid_up_to()]).unwrap_or_default(),
    };
    valid.chars().next().map_or((None, 1), |character| (Some(character), character.len_utf8()))
}

/// The characters of a text.
struct Characters<'a>(&'a [u8]);

impl<'a> Iterator for Characters<'a> {
    type Item = (Option<char>, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let (character, length) = first(self.0);
        let (this, rest) = self.0.split_at(length);
        self.0 = rest;
        Some((character, this))
    }
}

/// How many characters a text has.
pub fn count(text: &[u8]) -> usize {
    if text.is_ascii() { text.len() } else { Characters(text).count() }
}

/// The first characters of a text.
pub fn start(text: &[u8], characters: usize) -> &[u8] {
    let bytes = Characters(text).take(characters).map(|(_, bytes)| bytes.len()).sum::<usize>();
    &text[..bytes]
}

fn matches(pattern: &LazyLock<Option<Regex>>, character: char) -> bool {
    pattern.as_ref().is_some_and(|pattern| pattern.is_match(character.encode_utf8(&mut [0; 4])))
}

/// Whether Go prints a character as it is.
pub fn is_print(character: char) -> bool {
    static PRINT: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^[\p{L}\p{M}\p{N}\p{P}\p{S}]$").ok());
    if character.is_ascii() { (' '..='~').contains(&character) } else { matches(&PRINT, character) }
}

/// Whether a name may have this character.
pub fn is_letter_or_digit(character: char) -> bool {
    static NAME: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^[\p{L}\p{Nd}]$").ok());
    if character.is_ascii() { character.is_ascii_alphanumeric() } else { matches(&NAME, character) }
}

/// Whether backquotes can enclose a text.
pub fn can_be_raw(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| {
        text.chars().all(|character| {
            character == '\t' || !(character < ' ' || matches!(character, '`' | '\u{7f}' | '\u{feff}'))
        })
    })
}

/// What `strconv.Quote` gives.
pub fn quote(text: &[u8]) -> Vec<u8> {
    quoted(text, '"', false)
}

/// What `strconv.QuoteToASCII` gives.
pub fn quote_ascii(text: &[u8]) -> Vec<u8> {
    quoted(text, '"', true)
}

/// A text in such quotes.
pub fn quoted(text: &[u8], mark: char, ascii: bool) -> Vec<u8> {
    let mut written = String::with_capacity(text.len() + 2).into_bytes();
    let mut buffer = [0; 4];
    written.extend_from_slice(mark.encode_utf8(&mut buffer).as_bytes());
    for (character, bytes) in Characters(text) {
        let Some(character) = character else {
            written.extend_from_slice(format!("\\x{:02x}", bytes[0]).as_bytes());
            continue;
        };
        if character == mark || character == '\\' {
            written.push(b'\\');
            written.extend_from_slice(bytes);
        } else if is_print(character) && (character.is_ascii() || !ascii) {
            written.extend_from_slice(bytes);
        } else {
            written.extend_from_slice(escape(character).as_bytes());
        }
    }
    written.extend_from_slice(mark.encode_utf8(&mut buffer).as_bytes());
    written
}

fn escape(character: char) -> String {
    let number = u32::from(character);
    match character {
        '\u{7}' => "\\a".to_owned(),
        '\u{8}' => "\\b".to_owned(),
        '\u{c}' => "\\f".to_owned(),
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        '\u{b}' => "\\v".to_owned(),
        _ if number < 0x20 || number == 0x7f => format!("\\x{number:02x}"),
        _ if number < 0x1_0000 => format!("\\u{number:04x}"),
        _ => format!("\\U{number:08x}"),
    }
}
