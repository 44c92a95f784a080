//! Commands of a document, as its readers copy them: the tests run them unchanged.

use std::{fs, mem};

use anyhow::{Context as _, Result, ensure};
use rekey_testkit::checkout::repository;

/// The part below a heading that has commands, up to the next heading of any depth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The heading, without its signs.
    pub heading: String,
    /// Its `sh` blocks, in order.
    pub blocks: Vec<String>,
}

/// The sections of a document of this repository that have commands, in order.
///
/// # Errors
/// When it cannot be read, a block has no end, or two headings with commands are the same.
pub fn sections(path: &str) -> Result<Vec<Section>> {
    let file = repository().join(path);
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    parse(&text).with_context(|| path.to_owned())
}

/// The commands below one heading.
///
/// # Errors
/// When there are none.
pub fn blocks<'s>(sections: &'s [Section], heading: &str) -> Result<&'s [String]> {
    let found = sections.iter().find(|section| section.heading == heading);
    found.map(|section| section.blocks.as_slice()).with_context(|| format!("no commands below the heading {heading:?}"))
}

/// Where a line of the document is.
enum Place {
    Text,
    Commands(String),
    /// A block that is not for running, such as the output of a command.
    Shown,
}

fn parse(text: &str) -> Result<Vec<Section>> {
    let mut sections: Vec<Section> = Vec::new();
    let (mut heading, mut place) = (String::new(), Place::Text);
    for line in text.lines() {
        place = match (mem::replace(&mut place, Place::Text), line.trim_start().strip_prefix("```")) {
            (Place::Text, Some("sh")) => Place::Commands(String::new()),
            (Place::Text, Some(_)) | (Place::Shown, None) => Place::Shown,
            (Place::Text, None) => {
                if line.starts_with('#') {
                    line.trim_start_matches('#').trim().clone_into(&mut heading);
                }
                Place::Text
            }
            (Place::Commands(block), Some(_)) => {
                add(&mut sections, &heading, block)?;
                Place::Text
            }
            (Place::Commands(block), None) => Place::Commands(block + line + "\n"),
            (Place::Shown, Some(_)) => Place::Text,
        };
    }
    ensure!(matches!(place, Place::Text), "a block below {heading:?} has no end");
    Ok(sections)
}

fn add(sections: &mut Vec<Section>, heading: &str, block: String) -> Result<()> {
    if let Some(last) = sections.last_mut().filter(|last| last.heading == heading) {
        last.blocks.push(block);
        return Ok(());
    }
    ensure!(sections.iter().all(|section| section.heading != heading), "two headings {heading:?} have commands");
    sections.push(Section { heading: heading.to_owned(), blocks: vec![block] });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_stand_below_their_heading() {
        let text = "# A\n```sh\none\n```\ntext\n```console\n$ no\n```\n```sh\ntwo\n# no heading\n```\n## B\nnothing\n### C\n```sh\nthree\n```\n";
        let found = parse(text).expect("a document");
        let section = |heading: &str, blocks: &[&str]| Section {
            heading: heading.to_owned(),
            blocks: blocks.iter().map(|block| (*block).to_owned()).collect(),
        };
        assert_eq!(found, [section("A", &["one\n", "two\n# no heading\n"]), section("C", &["three\n"])]);
        assert!(blocks(&found, "B").is_err());
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let refused = |text: &str| parse(text).expect_err("refused").to_string();
        assert_eq!(refused("# A\n```sh\n1\n"), "a block below \"A\" has no end");
        assert_eq!(
            refused("# A\n```sh\n1\n```\n# B\n```sh\n2\n```\n## A\n```sh\n3\n```\n"),
            "two headings \"A\" have commands"
        );
    }
}
