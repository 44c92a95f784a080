//! Names and values out of a rendered YAML mapping. A value is the text that stands there: an unquoted `0123` or `yes` stays that,
//! where YAML would read a number or a truth value. What is nothing (`null`, `~`) is an empty text, as in External Secrets.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, Visitor},
};

use super::{
    RenderError, kinds,
    work::{Ended, Resource, Work},
};
use crate::{SecretBytes, published::MOST_KEYS};

/// Lines and marks of a text at most: the parser keeps about a hundred bytes for each.
const MAX_MARKS: usize = 64 * 1024;

/// Reads a mapping. Of equal names the last counts. The inner error says what is wrong with the text, and nothing of it.
///
/// # Errors
/// When `work` has not as much left.
pub fn read(yaml: &SecretBytes, work: &Work) -> Result<Result<BTreeMap<String, SecretBytes>, String>, Ended> {
    work.spend(Resource::Parsed, 4 * yaml.len())?;
    Ok(parse(yaml))
}

fn parse(yaml: &SecretBytes) -> Result<BTreeMap<String, SecretBytes>, String> {
    let text = yaml.expose_text().ok_or("what it renders to is not UTF-8 text")?;
    let is_blank =
        |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#') || line.trim_end() == "---";
    if text.lines().all(is_blank) {
        return Ok(BTreeMap::new());
    }
    if text.matches(['\n', ':', ',', '-', '[', '{', '?']).count() > MAX_MARKS {
        return Err(format!("what it renders to has more than {MAX_MARKS} lines and marks"));
    }
    let mut names = BTreeMap::new();
    let read = Names { names: &mut names, left: kinds::MAX_SIZE };
    match read.deserialize(serde_norway::Deserializer::from_str(text)) {
        Ok(()) => Ok(names),
        Err(error) => {
            let place = error.location().map(|at| format!("line {}, column {} of ", at.line(), at.column()));
            let place = place.unwrap_or_default();
            Err(format!(
                "{place}what it renders to is not a YAML mapping of names and texts, or has more than {MOST_KEYS} names or 1 MiB \
                 of texts"
            ))
        }
    }
}

impl From<Ended> for crate::SpecError {
    fn from(ended: Ended) -> Self {
        RenderError::from(ended).into()
    }
}

/// Reads until there is too much: aliases let few bytes stand for many.
struct Names<'a> {
    names: &'a mut BTreeMap<String, SecretBytes>,
    left: usize,
}

impl<'de> DeserializeSeed<'de> for Names<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Names<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a mapping")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut access: A) -> Result<(), A::Error> {
        while let Some(name) = access.next_key_seed(Word)? {
            let value = access.next_value_seed(Value)?;
            let left = self.left.checked_sub(name.len() + value.len());
            self.left = left.filter(|_| self.names.len() < MOST_KEYS).ok_or_else(|| A::Error::custom("too large"))?;
            self.names.insert(name, SecretBytes::from(value));
        }
        Ok(())
    }
}

/// A scalar as it stands there.
struct Word;

impl<'de> DeserializeSeed<'de> for Word {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Word {
    type Value = String;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

/// A scalar, or nothing.
struct Value;

impl<'de> DeserializeSeed<'de> for Value {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Value {
    type Value = String;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text or nothing")
    }

    fn visit_none<E: Error>(self) -> Result<String, E> {
        Ok(String::new())
    }

    fn visit_unit<E: Error>(self) -> Result<String, E> {
        Ok(String::new())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        Word.deserialize(deserializer)
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
            &large,
            &many,
            &marks,
        ] {
            let text = read(yaml).unwrap_err();
            assert!(text.contains("what it renders to") && !text.contains("hunter2"), "{text}");
        }
        assert!(
            read("a: b\nc: [d]").unwrap_err().starts_with("line 2, column 4 of what"),
            "{:?}",
            read("a: b\nc: [d]")
        );
    }
}
