//! Every link of a document to a file of this repository leads somewhere, and what README shows is run.

#![expect(clippy::unwrap_used, reason = "a document that cannot be read is a failed test")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Component, Path, PathBuf},
};

const ROOT: &str = "../..";

/// All documents of the repository.
fn documents(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if entry.file_type().unwrap().is_dir() {
            if !name.starts_with('.') && name != "target" {
                documents(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// The document without its blocks of code.
fn prose(text: &str) -> String {
    text.split("\n```").step_by(2).collect::<Vec<_>>().join("\n")
}

/// The targets of its links.
fn links(text: &str) -> Vec<String> {
    let targets = prose(text);
    let targets = targets.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
    targets.filter(|target| !target.contains("://")).map(str::to_owned).collect()
}

/// What may stand after `#`: the headings, as GitHub turns them into anchors.
fn anchors(text: &str) -> Vec<String> {
    let text = prose(text);
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|heading| {
            let heading = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
            heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
        })
        .collect()
}

/// The path without `..`.
fn straight(path: &Path) -> PathBuf {
    let mut parts: Vec<Component<'_>> = Vec::new();
    for part in path.strip_prefix(ROOT).unwrap().components() {
        if part == Component::ParentDir {
            parts.pop().unwrap();
        } else {
            parts.push(part);
        }
    }
    Path::new(ROOT).join(parts.into_iter().collect::<PathBuf>())
}

#[test]
fn every_link_leads_somewhere() {
    let mut paths = Vec::new();
    documents(Path::new(ROOT), &mut paths);
    let texts: BTreeMap<PathBuf, String> =
        paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect();
    assert!(texts.len() > 20, "{:?}", texts.keys());
    let mut broken = Vec::new();
    for (from, text) in &texts {
        for link in links(text) {
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let to = if file.is_empty() { from.clone() } else { straight(&from.with_file_name("").join(file)) };
            let leads = to.exists()
                && (anchor.is_empty() || texts.get(&to).is_some_and(|text| anchors(text).iter().any(|a| a == anchor)));
            if !leads {
                broken.push(format!("{}: {link}", from.display()));
            }
        }
    }
    assert_eq!(broken, Vec::<String>::new());
}

/// The end-to-end test `installed` runs the quick start, so commands that stand there too are proven.
#[test]
fn commands_of_the_readme_are_those_of_the_quick_start() {
    let blocks = |path: &str| -> Vec<String> {
        let text = fs::read_to_string(Path::new(ROOT).join(path)).unwrap();
        text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
    };
    let (readme, started) = (blocks("README.md"), blocks("docs/quick-start.md"));
    let (demo, commands) = readme.split_first().unwrap();
    assert!(demo.starts_with("make demo ") && demo.lines().count() == 1, "{demo}");
    assert_eq!(commands.len(), 2);
    for block in commands {
        assert!(started.contains(block), "{block}");
    }
}
