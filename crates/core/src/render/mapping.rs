//! Names and values out of a rendered YAML mapping. A value is its literal text: an unquoted `0123` or `yes` stays as
//! it is, where YAML would read a number or a bool. Nothing (`null`, `~`) is an empty text, as in External Secrets.

use std::collections::BTreeMap;

use granit_parser::{Event, Marker, ScalarStyle};

use super::{
    RenderError, kinds,
    work::{Ended, Resource, Work},
    yaml::{self, Events, Wrong, is_null},
};
use crate::{SecretBytes, published::MOST_KEYS};

/// The most lines and marks of a text: the parser keeps about a hundred bytes for each.
const MAX_MARKS: usize = 64 * 1024;

/// Reads a mapping. Of equal names the last counts. The inner error says what is wrong with the text, and quotes
/// nothing of it.
///
/// # Errors
/// When `work` has not as much left.
pub fn read(yaml: &SecretBytes, work: &Work) -> Result<Result<BTreeMap<String, SecretBytes>, String>, Ended> {
    work.spend(Resource::Parsed, 4 * yaml.len())?;
    Ok(parse(yaml))
}

fn parse(yaml: &SecretBytes) -> Result<BTreeMap<String, SecretBytes>, String> {
    let text = yaml.expose_text().ok_or("its output is not UTF-8 text")?;
    if text.matches(['\n', ':', ',', '-', '[', '{', '?']).count() > MAX_MARKS {
        return Err(format!("its output has more than {MAX_MARKS} lines and marks"));
    }
    let read = Events::new(text).and_then(|events| {
        let mut reader = Reader { events, names: BTreeMap::new(), anchors: BTreeMap::new(), left: kinds::MAX_SIZE };
        reader.document()?;
        Ok(reader.names)
    });
    read.map_err(|wrong| match wrong {
        Wrong::Characters => "its output has control characters or line ends of Unicode, which YAML takes only as \
                              escapes in double quotes"
            .to_owned(),
        Wrong::Syntax(at) => format!(
            "line {}, column {} of its output is not a YAML mapping of names and texts, or has more than {MOST_KEYS} \
             names or 1 MiB of texts",
            at.line(),
            at.col() + 1
        ),
    })
}

impl From<Ended> for crate::SpecError {
    fn from(ended: Ended) -> Self {
        RenderError::from(ended).into()
    }
}

struct Reader<'a> {
    events: Events<'a>,
    names: BTreeMap<String, SecretBytes>,
    /// Anchored texts, for aliases.
    anchors: BTreeMap<usize, Word>,
    /// Bytes that are left: with aliases, few bytes stand for many.
    left: usize,
}

/// A scalar.
#[derive(Clone)]
struct Word {
    /// Its literal text.
    text: String,
    /// Whether it means nothing.
    is_null: bool,
}

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<(), Wrong> {
        loop {
            match self.events.next()? {
                (Event::StreamStart | Event::DocumentStart(..), _) => {}
                // Comments only.
                (Event::StreamEnd, _) => return Ok(()),
                (Event::MappingStart(..), _) => {
                    self.members()?;
                    break;
                }
                (event, at) => {
                    if self.word(event, at)?.is_null {
                        break;
                    }
                    return Err(Wrong::Syntax(at));
                }
            }
        }
        // Another document would be left out.
        loop {
            match self.events.next()? {
                (Event::DocumentEnd, _) => {}
                (Event::StreamEnd, _) => return Ok(()),
                (_, at) => return Err(Wrong::Syntax(at)),
            }
        }
    }

    fn members(&mut self) -> Result<(), Wrong> {
        loop {
            let (event, at) = self.events.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(());
            }
            let name = self.word(event, at)?.text;
            let (event, at) = self.events.next()?;
            let value = self.word(event, at)?;
            let value = if value.is_null { String::new() } else { value.text };
            let left = self.left.checked_sub(name.len() + value.len());
            self.left = left.filter(|_| self.names.len() < MOST_KEYS).ok_or(Wrong::Syntax(at))?;
            self.names.insert(name, SecretBytes::from(value));
        }
    }

    fn word(&mut self, event: Event<'a>, at: Marker) -> Result<Word, Wrong> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_null = match tag.as_deref() {
                    Some(tag) => yaml::core(tag) == Some("null"),
                    None => style == ScalarStyle::Plain && is_null(&text),
                };
                let word = Word { text: text.into_owned(), is_null };
                if anchor != 0 {
                    self.anchors.insert(anchor, word.clone());
                }
                Ok(word)
            }
            Event::Alias(anchor) => self.anchors.get(&anchor).cloned().ok_or(Wrong::Syntax(at)),
            _ => Err(Wrong::Syntax(at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<String, String> {
        let read = parse(&SecretBytes::from(yaml))?;
        let pair = |(name, value): (&String, &SecretBytes)| format!("{name}={}", value.expose_text().unwrap());
        Ok(read.iter().map(pair).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn a_value_is_the_text_that_stands_there() {
        for (yaml, expected) in [
            ("a: b\nc: d\n", "a=b c=d"),
            ("{a: b, 'c': \"d\"}", "a=b c=d"),
            (
                "a: 0123\nb: yes\nc: 1.10\nd: 12345678901234567890123\ne: 0x1F",
                "a=0123 b=yes c=1.10 d=12345678901234567890123 e=0x1F",
            ),
            ("a: null\nb: ~\nc:\nd: 'null'\ne: \"\"", "a= b= c= d=null e="),
            ("1: x\ntrue: y", "1=x true=y"),
            ("a: |\n  one\n  two\n", "a=one\ntwo\n"),
            ("a: &x y\nb: *x", "a=y b=y"),
            ("", ""),
            ("\n  \n# nothing\n", ""),
            ("---\na: b", "a=b"),
            ("a: first\nb: x\na: last", "a=last b=x"),
            ("a: |\n  one", "a=one"),
            ("a: >\n  one\n  two", "a=one two"),
            ("a: !!null x\nb: !!str ~\nc: !own 1", "a= b=~ c=1"),
            ("? a\n: b", "a=b"),
            // As libyaml reads ends of blocks, lines of quoted texts, tabs and marks of byte order.
            ("a: |\n  x\n ", "a=x\n"),
            ("a: |\n  x\n\n ", "a=x\n"),
            ("a: |\n  x\n  ", "a=x\n"),
            ("a: |\n  x\n   ", "a=x\n "),
            ("a: |+\n  x\n\n", "a=x\n\n"),
            ("a: \"one\ntwo\"\nb: 'x\n\ny'", "a=one two b=x\ny"),
            ("a:\tb", "a=b"),
            ("\u{feff}a: b", "a=b"),
            ("--- # c\n", ""),
            ("~", ""),
            ("%YAML 1.1\n---\na: \"\\x01\\u2028\"\n...\n", "a=\u{1}\u{2028}"),
        ] {
            assert_eq!(read(yaml), Ok(expected.to_owned()), "{yaml}");
        }
    }

    #[test]
    fn what_is_no_mapping_of_texts_is_refused_without_a_word_of_it() {
        let large = format!("a: &x {}\nb: *x", "hunter2".repeat(100_000));
        let many = (0..6_000).map(|at| format!("k{at}: hunter2\n")).collect::<Vec<_>>().concat();
        let marks = "-".repeat(70_000);
        for yaml in [
            "hunter2",
            "- hunter2",
            "a: [hunter2]",
            "a: {b: hunter2}",
            "a: hunter2\n b: x",
            "a: hunter2\n---\nb: x",
            "a: hunter2\u{1}",
            "a: hunter2\u{2028}",
            "a: *hunter2",
            "a: &b {hunter2: x}\nc: *b",
            "[a, b]: hunter2",
            "a: hunter2\n...\nhunter2",
            &large,
            &many,
            &marks,
        ] {
            let text = read(yaml).unwrap_err();
            assert!(text.contains("its output") && !text.contains("hunter2"), "{text}");
        }
        assert!(read("a: b\nc: [d]").unwrap_err().starts_with("line 2, column 4 of its"), "{:?}", read("a: b\nc: [d]"));
    }
}
