//! The text of a template as the tokens of Go's `text/template`.

mod number;

use std::ops::Range;

use super::format;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text outside of actions.
    Text,
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// Spaces inside an action, which separate arguments.
    Space,
    /// A word that has a meaning of its own.
    Keyword(Keyword),
    /// The name of a function.
    Name,
    /// `.name`
    Field,
    /// `$name`
    Variable,
    /// `.`
    Dot,
    /// `true` or `false`
    Bool,
    /// `nil`
    Nil,
    /// `'a'`
    Character,
    /// `12`
    Number,
    /// `1i`, `1+2i`
    Imaginary,
    /// `"a"`
    Quoted,
    /// A text in backquotes.
    Raw,
    /// `:=`
    Declare,
    /// `=`
    Assign,
    /// `|`
    Pipe,
    /// `(`
    OpenParenthesis,
    /// `)`
    CloseParenthesis,
    /// `,`
    Comma,
    /// Any other character, which is never valid.
    Other,
    /// The end of the text.
    End,
}

/// A word that has a meaning of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyword {
    Block,
    Break,
    Continue,
    Define,
    Else,
    End,
    If,
    Range,
    Template,
    With,
}

/// A token and its position, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub kind: Kind,
    pub range: Range<usize>,
}

/// What is wrong with a template, and where, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub at: usize,
    pub text: String,
}

impl Wrong {
    pub fn new(at: usize, text: impl Into<String>) -> Self {
        Self { at, text: text.into() }
    }

    /// Too deep nesting.
    pub fn nested(at: usize) -> Self {
        Self::new(at, format!("parentheses and blocks are nested more than {MAX_NESTING} levels deep"))
    }
}

/// The deepest nesting of blocks and parentheses.
pub const MAX_NESTING: usize = 100;
/// The most tokens of a template beside texts and spaces: the parser needs about 200 bytes for each.
const MAX_TOKENS: usize = 20_000;

/// All tokens of `source`; the last one is its end.
///
/// # Errors
/// Characters that form no token, a token without an end, too many tokens.
pub fn tokens(source: &str) -> Result<Vec<Token>, Wrong> {
    let mut lexer = Lexer { source, at: 0, start: 0, tokens: Vec::new(), counted: 0, parentheses: Vec::new() };
    lexer.text()?;
    lexer.emit(Kind::End)?;
    Ok(lexer.tokens)
}

const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    /// The start of the current token.
    start: usize,
    tokens: Vec<Token>,
    counted: usize,
    /// The positions of the open ones.
    parentheses: Vec<usize>,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.at += character.len_utf8();
        Some(character)
    }

    /// Takes one of `characters`, if the next is one.
    fn accept(&mut self, characters: &str) -> bool {
        let found = self.peek().is_some_and(|character| characters.contains(character));
        self.at += usize::from(found);
        found
    }

    fn accept_all(&mut self, characters: &str) {
        while self.accept(characters) {}
    }

    fn emit(&mut self, kind: Kind) -> Result<(), Wrong> {
        self.counted += usize::from(!matches!(kind, Kind::Text | Kind::Space));
        if self.counted > MAX_TOKENS {
            return self.wrong(format!("the template has more than {MAX_TOKENS} steps; make it smaller"));
        }
        self.tokens.push(Token { kind, range: self.start..self.at });
        self.start = self.at;
        Ok(())
    }

    fn wrong<T>(&self, text: impl Into<String>) -> Result<T, Wrong> {
        Err(Wrong::new(self.start, text))
    }

    fn unexpected<T>(&self, character: Option<char>) -> Result<T, Wrong> {
        let text = character.map_or_else(
            || "the action has no end; write }} behind it".to_owned(),
            |character| format!("unexpected {character:?}; a name with such a character is read by index . \"…\""),
        );
        Err(Wrong::new(self.at, text))
    }

    /// All of the text, action by action.
    fn text(&mut self) -> Result<(), Wrong> {
        while let Some(open) = self.rest().find("{{") {
            let (from, open) = (self.at, self.at + open);
            let trims = trims_left(&self.source[open + 2..]);
            let text = &self.source[from..open];
            self.at = from + if trims { text.trim_end_matches(SPACES).len() } else { text.len() };
            if self.at > self.start {
                self.emit(Kind::Text)?;
            }
            self.start = open;
            self.at = open + 2 + if trims { 2 } else { 0 };
            if self.rest().starts_with("/*") {
                self.comment()?;
            } else {
                let inside = self.at;
                self.at = open + 2;
                self.emit(Kind::Open)?;
                (self.at, self.start) = (inside, inside);
                self.action()?;
            }
            self.start = self.at;
        }
        self.at = self.source.len();
        if self.at > self.start { self.emit(Kind::Text) } else { Ok(()) }
    }

    /// The end of an action here, and whether it trims what follows.
    fn close(&self) -> Option<bool> {
        let rest = self.rest();
        if rest.starts_with(SPACES) && rest[1..].starts_with("-}}") {
            Some(true)
        } else {
            rest.starts_with("}}").then_some(false)
        }
    }

    fn take_close(&mut self, trims: bool) {
        self.at += if trims { 4 } else { 2 };
        if trims {
            self.at += self.rest().len() - self.rest().trim_start_matches(SPACES).len();
        }
    }

    fn comment(&mut self) -> Result<(), Wrong> {
        let Some(end) = self.rest()[2..].find("*/") else {
            return self.wrong("a comment has no end; write */}} behind it");
        };
        self.at += end + 4;
        let Some(trims) = self.close() else {
            return self.wrong("a comment must end with */}} or */ -}}, and its action may have nothing else");
        };
        self.take_close(trims);
        Ok(())
    }

    /// From behind `{{` to behind `}}`.
    fn action(&mut self) -> Result<(), Wrong> {
        self.parentheses.clear();
        loop {
            if let Some(trims) = self.close() {
                if let Some(open) = self.parentheses.last() {
                    return Err(Wrong::new(*open, "a parenthesis is not closed"));
                }
                let end = self.at + if trims { 4 } else { 2 };
                self.start = end - 2;
                self.take_close(trims);
                let behind = std::mem::replace(&mut self.at, end);
                self.emit(Kind::Close)?;
                self.at = behind;
                return Ok(());
            }
            self.token()?;
        }
    }

    fn token(&mut self) -> Result<(), Wrong> {
        let Some(first) = self.take() else {
            return self.unexpected(None);
        };
        match first {
            ' ' | '\t' | '\r' | '\n' => self.spaces(),
            '=' => self.emit(Kind::Assign),
            ':' if self.accept("=") => self.emit(Kind::Declare),
            ':' => self.wrong("a : must be followed by ="),
            '|' => self.emit(Kind::Pipe),
            ',' => self.emit(Kind::Comma),
            '"' => self.quoted('"', Kind::Quoted, "a text in quotes has no end in its line"),
            '\'' => self.quoted(
                '\'',
                Kind::Character,
                "a character in single quotes has no end in its line; write texts in double quotes",
            ),
            '`' => self.raw(),
            '$' => self.name(Kind::Variable, Kind::Variable),
            '.' if !self.peek().is_some_and(|next| next.is_ascii_digit()) => self.name(Kind::Field, Kind::Dot),
            '.' | '+' | '-' | '0'..='9' => {
                self.at = self.start;
                self.number()
            }
            '(' if self.parentheses.len() == MAX_NESTING => Err(Wrong::nested(self.start)),
            '(' => {
                self.parentheses.push(self.start);
                self.emit(Kind::OpenParenthesis)
            }
            ')' if self.parentheses.pop().is_some() => self.emit(Kind::CloseParenthesis),
            ')' => self.wrong("this parenthesis closes none"),
            _ if is_name(first) => self.word(),
            _ if first.is_ascii_graphic() => self.emit(Kind::Other),
            _ => {
                self.at = self.start;
                self.unexpected(Some(first))
            }
        }
    }

    /// The space before `-}}` belongs to it.
    fn spaces(&mut self) -> Result<(), Wrong> {
        let all = self.source[self.start..].trim_start_matches(SPACES);
        self.at = self.source.len() - all.len();
        if all.starts_with("-}}") {
            self.at -= 1;
        }
        if self.at > self.start { self.emit(Kind::Space) } else { Ok(()) }
    }

    /// The opening quote is behind us.
    fn quoted(&mut self, end: char, kind: Kind, unended: &str) -> Result<(), Wrong> {
        loop {
            match self.take() {
                None | Some('\n') => return self.wrong(unended),
                Some('\\') => {
                    if matches!(self.take(), None | Some('\n')) {
                        return self.wrong(unended);
                    }
                }
                Some(character) if character == end => return self.emit(kind),
                Some(_) => {}
            }
        }
    }

    fn raw(&mut self) -> Result<(), Wrong> {
        match self.rest().find('`') {
            Some(end) => {
                self.at += end + 1;
                self.emit(Kind::Raw)
            }
            None => self.wrong("a text in backquotes has no end"),
        }
    }

    /// Whether a name may end here.
    fn at_end_of_name(&self) -> bool {
        let next = self.peek();
        next.is_none_or(|next| SPACES.contains(&next) || ".,|:()".contains(next)) || self.rest().starts_with("}}")
    }

    fn take_name(&mut self) -> Result<(), Wrong> {
        while self.peek().is_some_and(is_name) {
            self.take();
        }
        if self.at_end_of_name() { Ok(()) } else { self.unexpected(self.peek()) }
    }

    /// The name behind `.` or `$`; `alone` when there is none.
    fn name(&mut self, kind: Kind, alone: Kind) -> Result<(), Wrong> {
        if self.at_end_of_name() {
            return self.emit(alone);
        }
        self.take_name()?;
        self.emit(kind)
    }

    fn word(&mut self) -> Result<(), Wrong> {
        self.take_name()?;
        self.emit(match &self.source[self.start..self.at] {
            "block" => Kind::Keyword(Keyword::Block),
            "break" => Kind::Keyword(Keyword::Break),
            "continue" => Kind::Keyword(Keyword::Continue),
            "define" => Kind::Keyword(Keyword::Define),
            "else" => Kind::Keyword(Keyword::Else),
            "end" => Kind::Keyword(Keyword::End),
            "if" => Kind::Keyword(Keyword::If),
            "range" => Kind::Keyword(Keyword::Range),
            "template" => Kind::Keyword(Keyword::Template),
            "with" => Kind::Keyword(Keyword::With),
            "nil" => Kind::Nil,
            "true" | "false" => Kind::Bool,
            _ => Kind::Name,
        })
    }
}

fn is_name(character: char) -> bool {
    character == '_' || format::is_letter_or_digit(character)
}

/// Whether the text behind `{{` starts with the mark that trims: a `-` with a space behind it.
fn trims_left(rest: &str) -> bool {
    rest.strip_prefix('-').is_some_and(|rest| rest.starts_with(SPACES))
}
