//! The text of a template as the tokens of the engine (gotmpl, `src/parse/lexer.rs`), as far as what is nested depends
//! on them. Where the engine would see no token because the text is broken, it is refused here too, so that nothing
//! gets past by being read in another way.

/// What the parser decides by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// An action starts: `{{`. Comments are none.
    Open,
    /// An action ends: `}}`.
    Close,
    /// A keyword or the name of a function.
    Word(&'a str),
    /// `(`
    OpenParenthesis,
    /// `)`
    CloseParenthesis,
    /// Any other token: its kind changes nothing.
    Other,
}

/// Reads `source` token by token.
#[derive(Debug)]
pub struct Lexer<'a> {
    source: &'a str,
    at: usize,
    inside: bool,
}

impl<'a> Lexer<'a> {
    pub fn new(source: &'a str) -> Self {
        Self { source, at: 0, inside: false }
    }

    /// The next token; `None` at the end of the text.
    ///
    /// # Errors
    /// Something that has no end, with its line and column.
    pub fn next(&mut self) -> Result<Option<Token<'a>>, String> {
        while !self.inside {
            let Some(open) = self.rest().find("{{") else {
                return Ok(None);
            };
            self.at += open + 2;
            if trimmed(self.rest()) {
                self.at += 1;
            }
            if !self.comment()? {
                self.inside = true;
                return Ok(Some(Token::Open));
            }
        }
        self.in_action().map(Some)
    }

    /// What is wrong, with the place the lexer has reached.
    pub fn wrong(&self, what: &str) -> String {
        let before = &self.source[..self.at];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("line {line}, column {column}: {what}")
    }

    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn take(&mut self) -> Option<char> {
        let character = self.rest().chars().next()?;
        self.at += character.len_utf8();
        Some(character)
    }

    /// Takes what `belongs`, and says how many bytes that was.
    fn take_while(&mut self, belongs: fn(char) -> bool) -> usize {
        let rest = self.rest();
        let length = rest.find(|character| !belongs(character)).unwrap_or(rest.len());
        self.at += length;
        length
    }

    /// Takes the end of an action. Before `-` there must be a space.
    fn close(&mut self, after_space: bool) -> bool {
        let rest = self.rest();
        let length = match rest {
            _ if after_space && rest.starts_with("-}}") => 3,
            _ if rest.starts_with("}}") => 2,
            _ => return false,
        };
        self.at += length;
        true
    }

    /// Takes `/* … */` and the end of its action, if the action that has just started is one.
    fn comment(&mut self) -> Result<bool, String> {
        let Some(text) = self.rest().trim_start().strip_prefix("/*") else {
            return Ok(false);
        };
        let Some(end) = text.find("*/") else {
            return Err(self.wrong("a comment has no end; write */}} behind it"));
        };
        self.at = self.source.len() - text.len() + end + 2;
        let after_space = self.take_while(char::is_whitespace) > 0;
        if self.close(after_space) { Ok(true) } else { Err(self.wrong("a comment must end with */}} or */ -}}")) }
    }

    fn in_action(&mut self) -> Result<Token<'a>, String> {
        let after_space = self.take_while(char::is_whitespace) > 0;
        if self.close(after_space) {
            self.inside = false;
            return Ok(Token::Close);
        }
        let start = self.at;
        let Some(first) = self.take() else {
            return Err(self.wrong("an action has no end; write }} behind it"));
        };
        match first {
            '(' => Ok(Token::OpenParenthesis),
            ')' => Ok(Token::CloseParenthesis),
            '"' => self.quoted(true),
            '`' => self.quoted(false),
            '\'' => self.constant(),
            // A number is one token with letters and dots; none of them can be mistaken for something else.
            '0'..='9' | '.' | '$' => {
                self.take_while(|character| is_name(character) || (character == '.'));
                Ok(Token::Other)
            }
            _ if first.is_alphabetic() || first == '_' => {
                self.take_while(is_name);
                Ok(Token::Word(&self.source[start..self.at]))
            }
            _ => Ok(Token::Other),
        }
    }

    fn quoted(&mut self, escapes: bool) -> Result<Token<'a>, String> {
        let end = if escapes { '"' } else { '`' };
        loop {
            match self.take() {
                None => return Err(self.wrong("a text in quotes has no end")),
                Some('\\') if escapes => drop(self.take()),
                Some(character) if character == end => return Ok(Token::Other),
                Some(_) => {}
            }
        }
    }

    /// A character in single quotes; `'''` is one too.
    fn constant(&mut self) -> Result<Token<'a>, String> {
        if self.take() == Some('\\') {
            self.take();
            self.take_while(|character| character.is_ascii_hexdigit());
        }
        match self.take() {
            Some('\'') => Ok(Token::Other),
            Some(_) | None => Err(self.wrong("a character in single quotes has no end; write texts in double quotes")),
        }
    }
}

fn is_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Whether the text after `{{` starts with the mark that trims: a `-` with a space after it.
fn trimmed(rest: &str) -> bool {
    rest.strip_prefix('-').is_some_and(|rest| rest.starts_with([' ', '\t', '\r', '\n']))
}
