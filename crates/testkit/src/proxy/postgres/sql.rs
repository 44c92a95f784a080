//! As much of SQL as is needed to see what lasts (<https://www.postgresql.org/docs/current/sql-syntax-lexical.html>).

use std::{iter::Peekable, str::Chars};

/// What a statement does, as far as its words say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Begin,
    Commit,
    Rollback,
    Read,
    Write,
}

/// How many words of a statement are shown.
const SHOWN: usize = 6;

const READ: [&str; 16] = [
    "SHOW",
    "SET",
    "RESET",
    "DISCARD",
    "FETCH",
    "MOVE",
    "CLOSE",
    "DECLARE",
    "SAVEPOINT",
    "RELEASE",
    "LISTEN",
    "UNLISTEN",
    "LOCK",
    "DEALLOCATE",
    "PREPARE",
    "CHECKPOINT",
];
/// These read, unless one of [`WRITES`] is among their words: they may also lock rows, which is close enough to a write.
const QUESTIONS: [&str; 5] = ["SELECT", "WITH", "VALUES", "TABLE", "EXPLAIN"];
const WRITES: [&str; 5] = ["INSERT", "UPDATE", "DELETE", "MERGE", "INTO"];

/// One statement, without its comments, literals and punctuation.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sql {
    words: Vec<Word>,
    /// How many words stand before the first literal, if there is one.
    literal: Option<usize>,
}

#[derive(Debug, PartialEq, Eq)]
struct Word {
    text: String,
    is_quoted: bool,
}

impl Sql {
    /// The statements of a text; empty ones are left out.
    pub(super) fn all(text: &str) -> Vec<Self> {
        let mut reader = Reader { rest: text.chars().peekable(), done: Vec::new(), open: Self::default() };
        reader.read();
        reader.done
    }

    pub(super) fn effect(&self) -> Effect {
        let is = |place: usize, word: &str| self.words.get(place).is_some_and(|found| found.is(word));
        let any = |words: &[&str]| words.iter().any(|word| is(0, word));
        if any(&["BEGIN", "START"]) {
            Effect::Begin
        } else if any(&["COMMIT", "END", "ROLLBACK", "ABORT"]) && is(1, "PREPARED") {
            Effect::Write
        } else if any(&["COMMIT", "END"]) || (is(0, "PREPARE") && is(1, "TRANSACTION")) {
            Effect::Commit
        } else if any(&["ROLLBACK", "ABORT"]) {
            // Back to a savepoint, it goes on: what it has written before that is still to come.
            if self.has(&["TO"]) { Effect::Read } else { Effect::Rollback }
        } else if any(&READ) || (any(&QUESTIONS) && !self.has(&WRITES)) {
            Effect::Read
        } else {
            Effect::Write
        }
    }

    /// Whether it ends sessions, which lasts at once.
    pub(super) fn ends_sessions(&self) -> bool {
        self.words.iter().any(|word| word.text.eq_ignore_ascii_case("pg_terminate_backend"))
    }

    /// Its first words, up to a literal, which may hold what nobody should see.
    pub(super) fn shown(&self) -> String {
        let count = self.literal.unwrap_or(self.words.len()).min(SHOWN);
        let words: Vec<&str> = self.words[..count].iter().map(|word| word.text.as_str()).collect();
        let is_cut = self.literal.is_some() || count < self.words.len();
        if is_cut { format!("{} …", words.join(" ")) } else { words.join(" ") }
    }

    fn has(&self, words: &[&str]) -> bool {
        self.words.iter().any(|word| words.iter().any(|wanted| word.is(wanted)))
    }
}

impl Word {
    /// Whether it is this keyword; a quoted name is none.
    fn is(&self, keyword: &str) -> bool {
        !self.is_quoted && self.text.eq_ignore_ascii_case(keyword)
    }
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    done: Vec<Sql>,
    open: Sql,
}

impl Reader<'_> {
    fn read(&mut self) {
        while let Some(next) = self.rest.next() {
            match next {
                ';' => self.end(),
                '\'' => self.literal(false),
                '"' => {
                    let text = self.quoted('"', false);
                    self.open.words.push(Word { text, is_quoted: true });
                }
                '$' => self.dollar(),
                '-' if self.rest.next_if_eq(&'-').is_some() => {
                    while self.rest.next_if(|next| *next != '\n').is_some() {}
                }
                '/' if self.rest.next_if_eq(&'*').is_some() => self.comment(),
                next if is_of_word(next) => self.word(next),
                _ => {}
            }
        }
        self.end();
    }

    fn end(&mut self) {
        let sql = std::mem::take(&mut self.open);
        if sql != Sql::default() {
            self.done.push(sql);
        }
    }

    fn word(&mut self, first: char) {
        let mut text = String::from(first);
        while let Some(next) = self.rest.next_if(|next| is_of_word(*next) || *next == '$') {
            text.push(next);
        }
        // `E'…'` and the like: the letters belong to the literal.
        if self.rest.next_if_eq(&'\'').is_some() {
            return self.literal(text.eq_ignore_ascii_case("e"));
        }
        self.open.words.push(Word { text, is_quoted: false });
    }

    fn literal(&mut self, has_escapes: bool) {
        self.quoted('\'', has_escapes);
        self.note_literal();
    }

    fn note_literal(&mut self) {
        let count = self.open.words.len();
        self.open.literal.get_or_insert(count);
    }

    /// Up to the mark that ends it; two of them stand for one.
    fn quoted(&mut self, mark: char, has_escapes: bool) -> String {
        let mut text = String::new();
        while let Some(next) = self.rest.next() {
            if next == '\\' && has_escapes {
                self.rest.next();
            } else if next == mark && self.rest.next_if_eq(&mark).is_none() {
                break;
            } else {
                text.push(next);
            }
        }
        text
    }

    /// `$1` is a parameter, `$$…$$` and `$tag$…$tag$` are literals.
    fn dollar(&mut self) {
        let mut tag = String::from('$');
        while let Some(next) = self.rest.next_if(|next| is_of_word(*next)) {
            tag.push(next);
        }
        let is_parameter = tag.chars().nth(1).is_some_and(|first| first.is_ascii_digit());
        if is_parameter || self.rest.next_if_eq(&'$').is_none() {
            return;
        }
        tag.push('$');
        let mut text = String::new();
        while !text.ends_with(&tag) {
            let Some(next) = self.rest.next() else { break };
            text.push(next);
        }
        self.note_literal();
    }

    /// Comments of this kind stand in one another.
    fn comment(&mut self) {
        let mut depth = 1;
        while depth > 0 {
            match self.rest.next() {
                Some('*') if self.rest.next_if_eq(&'/').is_some() => depth -= 1,
                Some('/') if self.rest.next_if_eq(&'*').is_some() => depth += 1,
                Some(_) => {}
                None => return,
            }
        }
    }
}

fn is_of_word(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_statement_does_is_in_its_words_alone() {
        use Effect::{Begin, Commit, Read, Rollback, Write};
        let cases: [(&str, &[Effect]); 27] = [
            ("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; SET LOCAL lock_timeout = '5s'", &[Begin, Read]),
            ("start transaction; commit;", &[Begin, Commit]),
            ("/* a; /* b */ COMMIT */ select 1 -- ; delete\n;;", &[Read]),
            ("end", &[Commit]),
            ("COMMIT PREPARED 'x'", &[Write]),
            ("PREPARE TRANSACTION 'x'", &[Commit]),
            ("PREPARE x AS SELECT 1", &[Read]),
            ("EXECUTE x", &[Write]),
            ("ROLLBACK", &[Rollback]),
            ("abort", &[Rollback]),
            ("ROLLBACK TO SAVEPOINT a", &[Read]),
            ("rollback prepared 'x'", &[Write]),
            ("SELECT 'a;b', 'it''s; DELETE', E'\\'; DELETE', \"delete\" FROM t", &[Read]),
            ("SELECT $$; INSERT$$, $a$; $$ INSERT $a$, $1 FROM t", &[Read]),
            ("SELECT 'a\\'; COMMIT", &[Read, Commit]),
            ("SELECT 1 INTO t", &[Write]),
            ("WITH a AS (DELETE FROM t RETURNING 1) SELECT * FROM a", &[Write]),
            ("with a as (values (1)) table a", &[Read]),
            ("EXPLAIN ANALYZE UPDATE t SET a = 1", &[Write]),
            ("ALTER ROLE a NOLOGIN; COMMENT ON ROLE a IS 'x'", &[Write, Write]),
            ("REASSIGN OWNED BY a TO b", &[Write]),
            ("DO $$ begin delete from t; end $$", &[Write]),
            ("\"begin\"", &[Write]),
            ("CALL f()", &[Write]),
            ("NOTIFY a", &[Write]),
            ("something new", &[Write]),
            (" ; ", &[]),
        ];
        for (text, effects) in cases {
            let found: Vec<Effect> = Sql::all(text).iter().map(Sql::effect).collect();
            assert_eq!(found, effects, "{text}");
        }
    }

    #[test]
    fn no_literal_is_shown() {
        let cases = [
            ("ALTER ROLE \"a b\" LOGIN PASSWORD 'secret'", "ALTER ROLE a b LOGIN PASSWORD …"),
            ("ALTER ROLE a PASSWORD  E'se\\'cret' VALID", "ALTER ROLE a PASSWORD …"),
            ("ALTER ROLE a PASSWORD $x$secret$x$ VALID", "ALTER ROLE a PASSWORD …"),
            ("ALTER ROLE a PASSWORD U&'secret' UESCAPE '!'", "ALTER ROLE a PASSWORD U …"),
            ("COMMENT ON ROLE a IS 'secret'", "COMMENT ON ROLE a IS …"),
            ("REASSIGN OWNED BY a TO b", "REASSIGN OWNED BY a TO b"),
            ("SELECT f(x.y) FROM a WHERE b = $1", "SELECT f x y FROM a …"),
            ("SELECT 1 -- secret", "SELECT 1"),
            ("'unended secret", " …"),
        ];
        for (text, shown) in cases {
            assert_eq!(Sql::all(text)[0].shown(), shown, "{text}");
        }
    }

    #[test]
    fn what_ends_sessions_is_seen_in_every_spelling() {
        for text in ["SELECT pg_terminate_backend(1)", "select pg_catalog.\"pg_terminate_backend\"(pid) from x"] {
            assert!(Sql::all(text)[0].ends_sessions(), "{text}");
        }
        assert!(!Sql::all("SELECT 'pg_terminate_backend'")[0].ends_sessions());
    }
}
