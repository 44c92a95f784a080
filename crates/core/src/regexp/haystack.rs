//! A text to search in. Bytes that are no UTF-8 match as U+FFFD, and come back unchanged.

use std::{borrow::Cow, ops::Range};

use crate::runes::runes;

pub struct Haystack<'a> {
    text: Cow<'a, str>,
    original: &'a [u8],
    /// For each byte of the text its position in the original, if the two differ.
    places: Vec<usize>,
}

impl<'a> Haystack<'a> {
    pub fn new(original: &'a [u8]) -> Self {
        if let Ok(text) = std::str::from_utf8(original) {
            return Self { text: Cow::Borrowed(text), original, places: Vec::new() };
        }
        let (mut text, mut places, mut at) = (String::new(), Vec::new(), 0);
        for rune in runes(original) {
            text.push(rune.character);
            places.resize(text.len(), at);
            at += rune.width;
        }
        places.push(at);
        Self { text: Cow::Owned(text), original, places }
    }

    /// The text to search in.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The bytes that a part of the text stands for.
    pub fn bytes(&self, part: Range<usize>) -> &'a [u8] {
        if self.places.is_empty() {
            &self.original[part]
        } else {
            &self.original[self.places[part.start]..self.places[part.end]]
        }
    }
}
