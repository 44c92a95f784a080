//! What the reference says of names and reasons is what there is.

use std::collections::BTreeSet;

use rekey_api::{
    condition::{Class, ConditionType, Reason},
    names,
};

const CONDITIONS: &str = include_str!("../../../docs/reference/conditions.md");
const ANNOTATIONS: &str = include_str!("../../../docs/reference/annotations.md");

/// The names in the first column of every table below the headings that start with `heading`.
fn listed(document: &'static str, heading: &str) -> Vec<&'static str> {
    let sections = document.split("\n## ").skip(1).filter(|section| section.starts_with(heading));
    let rows = sections.flat_map(str::lines).filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split_once("` |").map(|(name, _)| name)).collect()
}

/// That `listed` names each of `known` once, and nothing else.
fn assert_each_once<'a>(listed: &[&'a str], known: impl Iterator<Item = &'a str>) {
    let known: BTreeSet<&str> = known.collect();
    let once: BTreeSet<&str> = listed.iter().copied().collect();
    assert_eq!(once, known);
    assert_eq!(listed.len(), once.len(), "a name has two rows: {listed:?}");
}

#[test]
fn every_reason_has_one_row_that_says_what_to_do() {
    assert_each_once(&listed(CONDITIONS, "Reasons"), Reason::ALL.iter().map(|reason| reason.as_str()));
}

/// What a reader learns from the section that a reason stands in is what the operator acts by.
#[test]
fn a_reason_stands_where_its_class_says() {
    for reason in Reason::ALL {
        let is_below = |heading: &str| listed(CONDITIONS, heading).contains(&reason.as_str());
        let (waits, retries) = (is_below("Reasons that wait for you"), is_below("Reasons that Rekey retries"));
        // Of consumers and rotations there is a section each, whatever helps.
        let is_of_its_own = is_below("Reasons of consumers") || is_below("Reasons of rotations");
        let expected = match reason.class() {
            _ if is_of_its_own => (false, false),
            Class::Outcome | Class::Conflict => (false, false),
            Class::Spec | Class::Data => (true, false),
            Class::Denied | Class::Transient | Class::Bug => (false, true),
        };
        assert_eq!((waits, retries), expected, "{reason} is {:?}", reason.class());
    }
}

#[test]
fn every_condition_has_one_row() {
    assert_each_once(&listed(CONDITIONS, "Conditions\n"), ConditionType::ALL.iter().map(|kind| kind.as_str()));
}

/// The names are constants without a list of them, so their source is the list.
#[test]
fn every_label_annotation_and_finalizer_has_one_row() {
    let source = include_str!("../src/names.rs");
    let constants = source.lines().filter_map(|line| line.strip_prefix("pub const ")?.split_once(": &str = \""));
    let values = constants.filter_map(|(_, value)| value.strip_suffix("\";"));
    let known = values.filter(|value| value.starts_with("rekey.dev/") || *value == names::MANAGED_BY);
    let listed = listed(ANNOTATIONS, "That ");
    assert_each_once(&listed, known);
    assert!(listed.contains(&names::CONSUMED), "{listed:?}");
}
