//! Regular expressions in Go's syntax (<https://pkg.go.dev/regexp/syntax>), which users of External Secrets bring
//! along. They match in linear time, and the cost of one is known before it is compiled.

mod haystack;
mod replace;
mod syntax;

use regex::{Regex, RegexBuilder};

use self::syntax::Translated;
pub use self::{
    haystack::Haystack,
    replace::{Reads, Replacement, TooMuch},
};

/// Bytes of an expression: reading one takes about a hundred times as much memory before its size is known. Longer ones
/// are too large in nearly all cases anyway.
const LONGEST: usize = 16 * 1024;
/// Classes of Unicode in an expression: more are too large in nearly all cases, and that shows only when each of them
/// is in memory.
const TABLES: usize = 64;
/// Microseconds that it takes to compile an expression, beside its classes.
pub const COMPILE: usize = 500;
/// Characters of classes whose other case is found in a microsecond. Measured: 155 in a release build, on the machine of docs/bench.md;
/// those of negated classes cost nothing.
const FOLDED: usize = 150;
/// Microseconds to find the characters of a class of Unicode.
const TABLE: usize = 10;

/// Why an expression is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Go does not accept it.
    Syntax,
    /// It has more than 16 KiB.
    Long,
    /// It has more than 64 classes like `\pL`.
    Classes,
    /// It takes too much memory.
    Large,
}

/// A parsed expression.
#[derive(Debug)]
pub struct Expression(Translated);

/// An expression that is ready for use, with the names of its groups.
#[derive(Debug)]
pub struct Regexp {
    regex: Regex,
    names: Vec<(String, usize)>,
}

impl Expression {
    /// Parses an expression.
    ///
    /// # Errors
    /// `Syntax`, `Long`, `Classes`.
    pub fn read(text: &str) -> Result<Self, Wrong> {
        if text.len() > LONGEST {
            return Err(Wrong::Long);
        }
        let translated = syntax::translated(text).ok_or(Wrong::Syntax)?;
        if translated.tables > TABLES { Err(Wrong::Classes) } else { Ok(Self(translated)) }
    }

    /// About how many microseconds its classes take each time it is compiled, which its length does not show.
    pub fn price(&self) -> usize {
        if self.0.folds { self.0.characters / FOLDED } else { TABLE * self.0.tables }
    }

    /// The expression, ready for use, if that takes `size` bytes of memory at most; searches take a few times as much.
    ///
    /// # Errors
    /// `Large`, or `Syntax`, where it names a class that does not exist.
    pub fn compile(&self, size: usize) -> Result<Regexp, Wrong> {
        let built = RegexBuilder::new(&self.0.pattern).size_limit(size).dfa_size_limit(size).build();
        let regex = built.map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => Wrong::Large,
            _ => Wrong::Syntax,
        })?;
        Ok(Regexp { regex, names: self.0.names.clone() })
    }
}

/// What another parser says about an expression that Go does not accept; `None`: that parser accepts it. Compiles
/// nothing.
pub fn complaint(text: &str) -> Option<String> {
    regex_syntax::ast::parse::Parser::new().parse(text).err().map(|error| error.kind().to_string())
}

impl Regexp {
    /// What searches.
    pub fn regex(&self) -> &Regex {
        &self.regex
    }

    fn group(&self, name: &str) -> Option<usize> {
        self.names.iter().find(|(known, _)| known == name).map(|(_, number)| *number)
    }
}
