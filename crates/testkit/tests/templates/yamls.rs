//! Random YAML, of the kind that templates and stores make: ends of blocks, lines of quoted texts, tabs, comments,
//! marks of documents. Go reads version 1.1 of YAML as libyaml does, and Rekey version 1.2: a block that starts in
//! front of its line or is followed by a comment is refused here, a text that starts with `...` there.

use std::collections::BTreeMap;

use anyhow::Result;
use rekey_testkit::oracle::Oracle;

use crate::{compare::Counts, dice::Dice, sample};

const PIECES: &[&str] = &[
    "a",
    "b",
    "word",
    "1.10",
    "yes",
    "~",
    "a: ",
    "b: ",
    "\"k\": ",
    "c:\n",
    "- ",
    "\n",
    "\n",
    "\n",
    "\n  ",
    "\n  ",
    "\n    ",
    "\n ",
    " ",
    "\"",
    "'",
    "''",
    "\\n",
    "\\\"",
    "\\\n",
    "b: |\n  ",
    "b: |-\n  ",
    "b: |+\n  ",
    "b: >\n  ",
    "b: >-\n  ",
    " # c",
    "&x ",
    "*x",
    "!!str ",
    "---\n",
    "{",
    "}",
    "[",
    "]",
    ", ",
    ",",
    "? ",
    ":",
    "\r\n",
    "é",
    "-----BEGIN X-----\n",
    "https://h:1/?a=1&b=2#c",
];

/// Texts that Rekey once read wrongly.
const WRITTEN: &[&str] = &[
    "a: |\n  x\n ",
    "a: |\n  x\n\n ",
    "a: |+\n\n ",
    "a: |\n  x",
    "a: |\n  x\n  ",
    "a: |\n  x\n   ",
    "a: >\n  x\n  y",
    "a: \"one\ntwo\"",
    "a: 'one\ntwo'",
    "a: \"one\n\"",
    "a:\tb",
    "\u{feff}a: b",
    "--- # c\n",
    "\t",
    "...",
    "# c",
    "a: b # c",
    "a: b#c",
    "a: 'x'\nb: \"\\x41\"",
    "? a\n: b",
    "a: b\n...\n",
];

/// Texts in one round.
const TEXTS: usize = 50;

pub fn compared(oracle: &Oracle) -> Result<()> {
    let mut counts = Counts::default();
    counts.compare(oracle, &templates(WRITTEN.len()), &data(WRITTEN.iter().map(ToString::to_string)))?;
    counts.end("yaml that was wrong once")?;
    let mut counts = Counts::of_versions(4);
    for seed in 0..sample(20, 1_000) {
        let mut dice = Dice(seed);
        let texts: Vec<String> = (0..TEXTS).map(|_| text(&mut dice)).collect();
        counts.compare(oracle, &templates(TEXTS), &data(texts.into_iter()))?;
    }
    counts.end("yaml")
}

fn templates(texts: usize) -> Vec<String> {
    (0..texts).map(|at| format!("{{{{ fromYaml .v{at} | toJson }}}}")).collect()
}

fn data(texts: impl Iterator<Item = String>) -> BTreeMap<String, Vec<u8>> {
    texts.enumerate().map(|(at, text)| (format!("v{at}"), text.into_bytes())).collect()
}

fn text(dice: &mut Dice) -> String {
    let start = if dice.once_in(4) { "" } else { "a: " };
    let pieces = (0..=dice.below(10)).map(|_| dice.one(PIECES));
    std::iter::once(start).chain(pieces).collect()
}
