//! YAML as events, read like libyaml and the Go parsers that follow it.

use granit_parser::{Event, Marker, Options, Parser, StrInput, Tag, options};

/// Reads a text event by event.
pub struct Events<'a>(Parser<'a, StrInput<'a>>);

/// Why a text is refused.
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
        let marked = text.strip_prefix('\u{feff}').unwrap_or(text);
        if marked.contains(|character| is_control(character) || has_no_place(character)) {
            return Err(Wrong::Characters);
        }
        let options: Options = options! { block_scalar_eof_without_line_feed: true, emit_comments: false };
        Ok(Self(Parser::new_from_str_with_options(text, options)))
    }

    /// The next event, and where it starts.
    ///
    /// # Errors
    /// `Syntax`, also behind the last event.
    pub fn next(&mut self) -> Result<(Event<'a>, Marker), Wrong> {
        match self.0.next_event() {
            Some(Ok((event, span))) => Ok((event, span.start)),
            Some(Err(error)) => Err(Wrong::Syntax(*error.marker())),
            None => Err(Wrong::Syntax(Marker::default())),
        }
    }
}

/// Characters that YAML allows only as escapes.
pub fn has_no_place(character: char) -> bool {
    matches!(character, '\x7f'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}' | '\u{feff}')
}

/// Whether a plain word means nothing.
pub fn is_null(word: &str) -> bool {
    matches!(word, "" | "~" | "null" | "Null" | "NULL")
}

/// The name of a tag of YAML itself.
pub fn core(tag: &Tag) -> Option<&str> {
    (tag.handle() == "tag:yaml.org,2002:").then(|| tag.suffix())
}
