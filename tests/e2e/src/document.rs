//! Commands of a document, as its readers copy them: the tests run them as they stand.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use rekey_testkit::checkout::repository;

/// The `sh` blocks below each heading of a Markdown document that has some, in order: the heading without its signs, then the
/// blocks. Headings below a deeper one start anew.
pub type Sections = Vec<(String, Vec<String>)>;

/// Reads a document of this repository.
///
/// # Errors
/// When it cannot be read, or a block has no end.
pub fn sections(path: &str) -> Result<Sections> {
    let path = repository().join(path);
    parse(&fs::read_to_string(&path).with_context(|| path.display().to_string())?)
        .with_context(|| path.display().to_string())
}

/// The blocks below one heading.
///
/// # Errors
/// When there is no such heading with blocks.
pub fn blocks<'s>(sections: &'s Sections, heading: &str) -> Result<&'s [String]> {
    let found = sections.iter().find(|(name, _)| name == heading);
    found.map(|(_, blocks)| blocks.as_slice()).with_context(|| format!("no commands below the heading {heading:?}"))
}

fn parse(text: &str) -> Result<Sections> {
    let mut sections = Sections::new();
    let mut heading = String::new();
    let mut block: Option<(bool, String)> = None;
    for line in text.lines() {
        match (&mut block, line.strip_prefix("```")) {
            (None, Some(language)) => block = Some((language == "sh", String::new())),
            (Some((shell, commands)), Some(_)) => {
                if *shell {
                    add(&mut sections, &heading, std::mem::take(commands));
                }
                block = None;
            }
            (Some((_, commands)), None) => commands.extend([line, "\n"]),
            (None, None) if line.starts_with('#') => line.trim_start_matches('#').trim().clone_into(&mut heading),
            (None, None) => {}
        }
    }
    ensure!(block.is_none(), "a block has no end");
    Ok(sections)
}

fn add(sections: &mut Sections, heading: &str, block: String) {
    match sections.last_mut() {
        Some((name, blocks)) if name == heading => blocks.push(block),
        _ => sections.push((heading.to_owned(), vec![block])),
    }
}

/// A directory of programs by the names that a document calls them.
///
/// # Errors
/// When it cannot be made.
pub fn programs(directory: &Path, programs: &[(&str, &Path)]) -> Result<()> {
    fs::create_dir_all(directory)?;
    for (name, program) in programs {
        std::os::unix::fs::symlink(program, directory.join(name)).with_context(|| (*name).to_owned())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_stand_below_their_heading() {
        let text = "# A\n```sh\none\n```\ntext\n```console\n$ no\n```\n```sh\ntwo\n# no heading\n```\n## B\nnothing\n### C\n```sh\nthree\n```\n";
        let found = parse(text).expect("a document");
        let expected = [("A", vec!["one\n", "two\n# no heading\n"]), ("C", vec!["three\n"])];
        let shown: Vec<(&str, Vec<&str>)> =
            found.iter().map(|(name, blocks)| (name.as_str(), blocks.iter().map(String::as_str).collect())).collect();
        assert_eq!(shown, expected);
        assert!(blocks(&found, "B").is_err());
        assert!(parse("```sh\n").is_err());
    }
}
