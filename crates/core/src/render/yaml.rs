//! YAML as its events. The parser reads two things in another way than that of Go, and both are put right here, for all who read
//! YAML.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, StrInput};

/// Reads a text event by event.
pub struct Events<'a> {
    parser: Parser<'a, StrInput<'a>>,
    /// Where the last line ends, if it does not end itself.
    end: usize,
}

/// Why a text cannot be read.
#[derive(Clone, Copy, Debug)]
pub enum Wrong {
    /// It has control characters, or line ends of Unicode, outside of escapes.
    Characters,
    /// It is not YAML; where.
    Syntax(Marker),
}

impl<'a> Events<'a> {
    /// # Errors
    /// `Characters`, which other parsers refuse or take for ends of lines.
    pub fn new(text: &'a str) -> Result<Self, Wrong> {
        let is_control = |character: char| character.is_ascii_control() && !matches!(character, '\t' | '\n' | '\r');
        if text.contains(|character| is_control(character) || has_no_place(character)) {
            return Err(Wrong::Characters);
        }
        // Who reads the last line ends it, and it has none.
        let end = if text.ends_with('\n') { usize::MAX } else { text.chars().count() };
        Ok(Self { parser: Parser::new_from_str(text), end })
    }

    /// The next event, and where it starts.
    ///
    /// # Errors
    /// `Syntax`, also behind the last event.
    pub fn next(&mut self) -> Result<(Event<'a>, Marker), Wrong> {
        match self.parser.next() {
            Some(Ok((Event::Scalar(mut text, style, anchor, tag), span))) => {
                let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                if is_block && span.end.index() >= self.end && text.ends_with('\n') {
                    text.to_mut().pop();
                }
                Ok((Event::Scalar(text, style, anchor, tag), span.start))
            }
            Some(Ok((event, span))) => Ok((event, span.start)),
            Some(Err(error)) => Err(Wrong::Syntax(*error.marker())),
            None => Err(Wrong::Syntax(Marker::default())),
        }
    }
}

/// Characters that can stand in YAML as escapes only.
pub fn has_no_place(character: char) -> bool {
    matches!(character, '\x7f'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}' | '\u{feff}')
}

/// Whether a plain word means nothing.
pub fn is_null(word: &str) -> bool {
    matches!(word, "" | "~" | "null" | "Null" | "NULL")
}

/// Whether nothing but comments and the start of a document stand in a text.
pub fn is_empty(text: &str) -> bool {
    text.lines()
        .map(|line| line.trim_matches([' ', '\t', '\r']))
        .all(|line| matches!(line, "" | "---") || line.starts_with('#'))
}
