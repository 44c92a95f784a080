//! Texts of Go as their characters: each byte that is no UTF-8 is a character of its own, U+FFFD of one byte. And what Go
//! knows of a character, where the standard library here knows it in another way.

use std::sync::LazyLock;

use regex::Regex;

/// A character of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rune {
    /// U+FFFD for a byte that is no UTF-8.
    pub character: char,
    /// How many bytes it takes in the text.
    pub width: usize,
}

/// What stands for a byte that is no UTF-8.
pub const INVALID: char = char::REPLACEMENT_CHARACTER;

/// The characters of a text.
pub fn runes(bytes: &[u8]) -> impl Iterator<Item = Rune> + '_ {
    bytes.utf8_chunks().flat_map(|chunk| {
        let valid = chunk.valid().chars().map(|character| Rune { character, width: character.len_utf8() });
        valid.chain(chunk.invalid().iter().map(|_| Rune { character: INVALID, width: 1 }))
    })
}

/// The first character.
pub fn first(bytes: &[u8]) -> Option<Rune> {
    // Four bytes are enough for one, and the rest is not looked at.
    runes(&bytes[..bytes.len().min(4)]).next()
}

/// The last character.
pub fn last(bytes: &[u8]) -> Option<Rune> {
    let ends = (1..=bytes.len().min(4)).map(|width| &bytes[bytes.len() - width..]);
    let mut whole =
        ends.filter_map(|end| std::str::from_utf8(end).ok()?.chars().next().filter(|one| one.len_utf8() == end.len()));
    let whole = whole.next().map(|character| Rune { character, width: character.len_utf8() });
    whole.or(if bytes.is_empty() { None } else { Some(Rune { character: INVALID, width: 1 }) })
}

/// Each character exchanged for one other, as `strings.Map` does.
pub fn mapped(bytes: &[u8], map: impl FnMut(char) -> char) -> String {
    runes(bytes).map(|rune| rune.character).map(map).collect()
}

/// The one character that is its upper case, or itself.
pub fn upper(character: char) -> char {
    match u32::from(character) {
        // In full, these have two characters.
        0x1F80..=0x1F87 | 0x1F90..=0x1F97 | 0x1FA0..=0x1FA7 => moved(character, 8),
        0x1FB3 | 0x1FC3 | 0x1FF3 => moved(character, 9),
        _ => only(character, character.to_uppercase()),
    }
}

/// The one character that is its lower case, or itself.
pub fn lower(character: char) -> char {
    if character == 'İ' { 'i' } else { only(character, character.to_lowercase()) }
}

/// The one character that starts a word, or itself.
pub fn title(character: char) -> char {
    match u32::from(character) {
        0x01C4..=0x01C6 => 'ǅ',
        0x01C7..=0x01C9 => 'ǈ',
        0x01CA..=0x01CC => 'ǋ',
        0x01F1..=0x01F3 => 'ǲ',
        0x10D0..=0x10FF => character,
        _ => upper(character),
    }
}

fn only(character: char, mut forms: impl Iterator<Item = char>) -> char {
    match (forms.next(), forms.next()) {
        (Some(one), None) => one,
        _ => character,
    }
}

fn moved(character: char, by: u32) -> char {
    char::from_u32(u32::from(character) + by).unwrap_or(character)
}

/// A category of Unicode.
macro_rules! category {
    ($(#[$doc:meta])* $name:ident, $ascii:expr, $pattern:literal) => {
        $(#[$doc])*
        pub fn $name(character: char) -> bool {
            static PATTERN: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new($pattern).ok());
            if character.is_ascii() {
                let is: fn(&char) -> bool = $ascii;
                return is(&character);
            }
            PATTERN.as_ref().is_some_and(|pattern| pattern.is_match(character.encode_utf8(&mut [0; 4])))
        }
    };
}

category!(is_letter, char::is_ascii_alphabetic, r"\pL");
category!(is_digit, char::is_ascii_digit, r"\p{Nd}");
category!(is_number, char::is_ascii_digit, r"\pN");
category!(is_upper, char::is_ascii_uppercase, r"\p{Lu}");
category!(is_lower, char::is_ascii_lowercase, r"\p{Ll}");
category!(is_title, |_| false, r"\p{Lt}");
category!(
    /// The category of Unicode has fewer characters of ASCII than C's.
    is_punctuation,
    |character| character.is_ascii_punctuation() && !"$+<=>^`|~".contains(*character),
    r"\pP"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_that_is_no_text_is_a_character() {
        let all: Vec<(char, usize)> =
            runes(b"a\xe4\xb8\xc3\xbc\xff").map(|rune| (rune.character, rune.width)).collect();
        assert_eq!(all, [('a', 1), (INVALID, 1), (INVALID, 1), ('ü', 2), (INVALID, 1)]);
    }

    #[test]
    fn cases_have_one_character() {
        for (character, expected) in
            [('ß', ['ß', 'ß', 'ß']), ('ǆ', ['Ǆ', 'ǆ', 'ǅ']), ('İ', ['İ', 'i', 'İ']), ('ᾳ', ['ᾼ', 'ᾳ', 'ᾼ'])]
        {
            assert_eq!([upper(character), lower(character), title(character)], expected);
        }
    }
}
