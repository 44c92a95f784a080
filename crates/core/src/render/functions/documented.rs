use std::collections::BTreeSet;

use super::TABLES;

#[test]
fn every_function_is_in_the_reference() {
    let document = include_str!("../../../../../docs/reference/templates.md");
    let table = document.split("## What differs").next().unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| "));
    let listed: BTreeSet<&str> = rows.flat_map(|row| row.split('`').skip(1).step_by(2)).collect();
    let known: BTreeSet<&str> = TABLES.into_iter().flatten().map(|&(name, ..)| name).collect();
    let musts = |name: &str| name.strip_prefix("must").map(|rest| rest[..1].to_lowercase() + &rest[1..]);
    for name in &listed {
        // Words of the table that stand for a family of functions, or for an argument.
        assert!(known.contains(name) || matches!(*name, "must" | "Pass" | "sha"), "{name} is no function");
    }
    for name in &known {
        let family = musts(name).or_else(|| name.strip_suffix("Pass").map(str::to_owned));
        assert!(
            listed.contains(name) || family.is_some_and(|family| listed.contains(family.as_str())),
            "{name} is not listed"
        );
    }
}
