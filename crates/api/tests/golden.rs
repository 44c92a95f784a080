//! The definitions in `crds/`, and the chart's copy of them, are those that the types generate.

use std::path::PathBuf;

use rekey_api::crds;

#[expect(clippy::disallowed_methods, reason = "a test's switch, as every golden test here has it")]
fn rewrite() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some()
}

/// Where they stand. Cargo runs tests in the directory of their package.
fn directories() -> [PathBuf; 2] {
    ["../../crds", "../../deploy/chart/rekey/files/crds"].map(PathBuf::from)
}

#[test]
fn committed_definitions_are_those_of_the_types() {
    for (name, content) in crds::files() {
        for path in directories().map(|directory| directory.join(&name)) {
            if rewrite() {
                std::fs::write(&path, &content).unwrap();
            }
            let committed = std::fs::read_to_string(&path).unwrap_or_default();
            let difference = committed.lines().zip(content.lines()).position(|(left, right)| left != right);
            assert!(
                committed == content,
                "{} differs from the types (first in line {difference:?}): run `make crds`",
                path.display()
            );
        }
    }
}

#[test]
fn there_is_no_other_definition() {
    let generated: Vec<String> = crds::files().into_iter().map(|(name, _)| name).collect();
    for directory in directories() {
        let mut committed: Vec<String> = std::fs::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| std::path::Path::new(name).extension().is_some_and(|extension| extension == "yaml"))
            .collect();
        committed.sort();
        assert_eq!(committed, generated, "{}", directory.display());
    }
}

#[test]
fn a_definition_fits_the_annotation_of_client_side_apply() {
    for (name, content) in crds::files() {
        assert!(content.len() < 200_000, "{name} has {} bytes", content.len());
    }
}

#[test]
fn the_stream_has_every_definition() {
    let stream = crds::yaml();
    for crd in crds::all() {
        assert!(stream.contains(&format!("\n  name: {}\n", crd.metadata.name.unwrap())));
    }
    assert_eq!(stream.matches("\n---\n").count(), crds::all().len());
}
