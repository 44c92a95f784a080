//! Words: upper and lower case, and other ways to write names.

use super::{
    Entry, Signature, Type,
    call::{Call, Failure, Outcome},
    signature::takes,
};
use crate::runes::{
    INVALID, Rune, first, is_digit, is_letter, is_lower, is_number, is_punctuation, is_title, is_upper, lower, mapped,
    runes, title, upper,
};

const ONE: Signature = takes(&[Type::Text]);

/// The functions of this file.
pub const TABLE: &[Entry] = &[
    ("upper", ONE, |call| each(call, upper)),
    ("lower", ONE, |call| each(call, lower)),
    ("title", ONE, |call| {
        let mut before = ' ';
        each_with(call, |character| {
            let changed = if is_separator(before) { title(character) } else { character };
            before = character;
            changed
        })
    }),
    ("untitle", ONE, |call| {
        let mut starts = true;
        each_with(call, |character| {
            if character.is_whitespace() {
                starts = true;
                return character;
            }
            if std::mem::take(&mut starts) { lower(character) } else { character }
        })
    }),
    ("swapcase", ONE, |call| {
        let mut starts = true;
        each_with(call, |character| swapped(character, &mut starts))
    }),
    ("initials", ONE, |call| {
        // It takes each byte as a character.
        let mut starts = true;
        let initials = call.bytes(0)?.iter().map(|byte| char::from(*byte)).filter(|character| {
            let is_gap = character.is_whitespace();
            std::mem::replace(&mut starts, is_gap) && !is_gap
        });
        Ok(initials.collect::<String>().into())
    }),
    ("nospace", ONE, |call| {
        // This too.
        let bytes = call.bytes(0)?;
        if !bytes.iter().any(|byte| char::from(*byte).is_whitespace()) {
            return Ok(bytes.clone().into());
        }
        let kept = bytes.iter().map(|byte| char::from(*byte)).filter(|character| !character.is_whitespace());
        Ok(kept.collect::<String>().into())
    }),
    ("camelcase", ONE, |call| Ok(camel(words(call)?).into())),
    ("snakecase", ONE, |call| Ok(joined(words(call)?, '_').into())),
    ("kebabcase", ONE, |call| Ok(joined(words(call)?, '-').into())),
];

/// A name to take apart: the functions read its characters several times.
fn words<'a>(call: &Call<'a>) -> Result<&'a [u8], Failure> {
    const LOOKS: usize = 4;
    let bytes = call.bytes(0)?;
    call.spend(bytes.len().saturating_mul(LOOKS))?;
    Ok(bytes)
}

fn each(call: &Call<'_>, change: fn(char) -> char) -> Outcome {
    each_with(call, change)
}

fn each_with(call: &Call<'_>, change: impl FnMut(char) -> char) -> Outcome {
    Ok(mapped(call.bytes(0)?, change).into())
}

/// What a word may start after.
fn is_separator(character: char) -> bool {
    if character.is_ascii() {
        return !character.is_ascii_alphanumeric() && character != '_';
    }
    !is_letter(character) && !is_digit(character) && character.is_whitespace()
}

fn swapped(character: char, starts: &mut bool) -> char {
    if is_upper(character) || is_title(character) {
        *starts = false;
        lower(character)
    } else if is_lower(character) {
        if std::mem::take(starts) { title(character) } else { upper(character) }
    } else {
        *starts = character.is_whitespace();
        character
    }
}

fn is_connector(character: char) -> bool {
    character == '-' || character == '_' || character.is_whitespace()
}

/// `some_words` as `SomeWords`; connectors at the start, and of several in a row all but one, stay.
fn camel(bytes: &[u8]) -> String {
    let characters: Vec<char> = runes(bytes).map(|rune| rune.character).collect();
    let leading = characters.iter().take_while(|character| is_connector(**character)).count();
    let mut written: String = characters[..leading].iter().collect();
    let Some((first, rest)) = characters[leading..].split_first() else {
        // As the library of Sprig has it.
        written.extend(characters.last());
        return written;
    };
    let (mut is_first_upper, mut last) = (is_upper(*first), upper(*first));
    for &character in rest {
        let before = last;
        last = character;
        if is_connector(character) && is_connector(before) {
            written.push(before);
            continue;
        }
        if is_connector(before) {
            is_first_upper = is_upper(character);
            last = upper(character);
            continue;
        }
        if is_first_upper {
            if is_upper(character) {
                last = lower(character);
            } else {
                is_first_upper = false;
            }
        }
        written.push(before);
    }
    written.push(last);
    written
}

/// Parts that a name is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Nothing,
    Number,
    Upper,
    Alphabet,
    Connector,
    Punctuation,
    Other,
}

impl Word {
    /// Whether a connector is before it.
    fn is_joined(self) -> bool {
        !matches!(self, Self::Nothing | Self::Connector | Self::Punctuation)
    }
}

/// A letter of an alphabet: not one that is a word.
fn is_alphabet(character: char) -> bool {
    let is_word = matches!(u32::from(character), 0x4E00..=0x9FCC | 0x3400..=0x4D85 | 0x2_0000..=0x2_B81D);
    is_letter(character) && !is_word
}

/// What is none of the others.
fn is_other(character: char) -> bool {
    !is_connector(character) && !is_alphabet(character) && !is_number(character) && !is_punctuation(character)
}

/// The words of a name, one after the other.
struct Words<'a> {
    rest: &'a [u8],
}

impl<'a> Words<'a> {
    /// The next word and what kind it is; `Nothing` at the end.
    fn next(&mut self) -> (Word, &'a [u8]) {
        let Some((first, size)) = valid(self.rest) else {
            return (Word::Nothing, std::mem::take(&mut self.rest));
        };
        let (word, length) = self.measured(first, size);
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        (word, taken)
    }

    fn measured(&self, first: char, size: usize) -> (Word, usize) {
        let run = |from: usize, belongs: fn(char) -> bool| self.run(from, first, belongs);
        if is_connector(first) {
            (Word::Connector, run(size, is_connector))
        } else if is_punctuation(first) {
            (Word::Punctuation, run(size, is_punctuation))
        } else if is_upper(first) {
            (Word::Upper, self.upper(size))
        } else if is_alphabet(first) {
            (Word::Alphabet, run(size, |character| is_alphabet(character) && !is_upper(character)))
        } else if is_number(first) {
            (Word::Number, run(size, is_number))
        } else {
            (Word::Other, run(size, is_other))
        }
    }

    /// Where the run of characters that belong together ends. Bytes at the end that are no text belong to what is
    /// before them.
    fn run(&self, from: usize, first: char, belongs: fn(char) -> bool) -> usize {
        let (mut at, mut before) = (from, first);
        while at < self.rest.len() {
            let (character, size) = valid(&self.rest[at..]).unwrap_or((before, self.rest.len() - at));
            if !belongs(character) {
                break;
            }
            at += size;
            before = character;
        }
        at
    }

    /// `HTTPStatus` is `HTTP` and `Status`.
    fn upper(&self, first: usize) -> usize {
        let Some((second, size)) = valid(&self.rest[first..]) else {
            // Bytes that are no text count as one more.
            return self.rest.len();
        };
        if is_alphabet(second) && !is_upper(second) {
            return self.run(first + size, second, |character| is_alphabet(character) && !is_upper(character));
        }
        if !is_upper(second) {
            return first;
        }
        let (mut at, mut last) = (first + size, size);
        while let Some((character, size)) = valid(&self.rest[at..]) {
            if !is_upper(character) {
                return if is_alphabet(character) { at - last } else { at };
            }
            last = size;
            at += size;
        }
        self.rest.len()
    }
}

/// The first character that is text, and where it ends.
fn valid(bytes: &[u8]) -> Option<(char, usize)> {
    let mut end = 0;
    while let Some(Rune { character, width }) = first(&bytes[end..]) {
        end += width;
        if character != INVALID {
            return Some((character, end));
        }
    }
    None
}

/// The words of a name in lower case, with connectors between them: `HTTP2xx` is `http_2xx`, `Bld4Floor` is `bld4_floor`.
fn joined(bytes: &[u8], connector: char) -> Vec<u8> {
    let mut joined = Joined { bytes: Vec::with_capacity(bytes.len()), connector };
    let mut words = Words { rest: bytes };
    let (mut word, mut text) = words.next();
    while !words.rest.is_empty() {
        if word != Word::Connector {
            joined.add(word, text);
        }
        let (before, last) = (word, text);
        (word, text) = words.next();
        match before {
            Word::Number => {
                joined.tail(&mut words, &mut word, &mut text);
                joined.connect_if(word.is_joined());
            }
            Word::Connector => joined.add(before, last),
            Word::Punctuation => {}
            _ if word != Word::Number => {
                joined.connect_if(word != Word::Connector && word != Word::Punctuation);
            }
            _ if words.rest.is_empty() => {}
            _ => {
                let number = text;
                (word, text) = words.next();
                if word == Word::Alphabet {
                    joined.connect_if(true);
                    joined.add(Word::Number, number);
                    joined.tail(&mut words, &mut word, &mut text);
                    joined.connect_if(word.is_joined());
                } else {
                    joined.add(Word::Number, number);
                    joined.connect_if(word != Word::Connector && word != Word::Punctuation);
                }
            }
        }
    }
    joined.add(word, text);
    joined.bytes
}

struct Joined {
    bytes: Vec<u8>,
    connector: char,
}

impl Joined {
    fn connect_if(&mut self, is_joined: bool) {
        if is_joined {
            self.bytes.extend_from_slice(self.connector.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }

    /// Letters and numbers that follow a number belong to it.
    fn tail<'a>(&mut self, words: &mut Words<'a>, word: &mut Word, text: &mut &'a [u8]) {
        while matches!(word, Word::Alphabet | Word::Number) {
            self.add(*word, text);
            (*word, *text) = words.next();
        }
    }

    fn add(&mut self, word: Word, text: &[u8]) {
        if !matches!(word, Word::Upper | Word::Connector) {
            self.bytes.extend_from_slice(text);
            return;
        }
        for Rune { character, .. } in runes(text) {
            if is_connector(character) {
                self.connect_if(true);
            } else {
                let character = if is_upper(character) { lower(character) } else { character };
                self.bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_in_another_way() {
        for (name, pascal, snake) in [
            ("some_words", "SomeWords", "some_words"),
            ("HTTPServer", "Httpserver", "http_server"),
            ("GO PATH", "GoPath", "go_path"),
            ("_complex__case_", "_Complex_Case_", "_complex__case_"),
            ("http2xx", "Http2xx", "http_2xx"),
            ("HTTP20xOK", "Http20xOK", "http_20x_ok"),
            ("Bld4Floor3rd", "Bld4Floor3rd", "bld4_floor_3rd"),
            ("Duration2m3s", "Duration2m3s", "duration_2m3s"),
            ("", "", ""),
        ] {
            assert_eq!(camel(name.as_bytes()), pascal, "{name}");
            assert_eq!(String::from_utf8(joined(name.as_bytes(), '_')), Ok(snake.to_owned()), "{name}");
        }
    }
}
