//! Handwritten templates: those of the documents and examples, and cases with the right result.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use rekey_testkit::{checkout, oracle::Oracle};
use serde::Deserialize;

use crate::compare::{Counts, ours};

/// A template with the result that is right.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    id: String,
    template: String,
    #[serde(default)]
    data: BTreeMap<String, String>,
    /// What it renders; refused when there is none.
    gives: Option<String>,
}

/// Go, Rekey and the case agree.
pub fn cases(oracle: &Oracle) -> Result<()> {
    let cases: Vec<Case> = serde_saphyr::from_str(include_str!("cases.yaml"))?;
    let mut counts = Counts::default();
    for case in cases {
        let data = case.data.into_iter().map(|(name, value)| (name, value.into_bytes())).collect();
        let given = ours(&case.template, &data).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        ensure!(given.as_ref().ok() == case.gives.as_ref(), "{}: {given:?} is not {:?}", case.id, case.gives);
        counts.compare(oracle, &[case.template], &data)?;
    }
    counts.end("cases")
}

/// The templates of README, docs, examples, CRDs and the cases of the API.
pub fn compared(oracle: &Oracle) -> Result<()> {
    let mut counts = Counts::default();
    for path in documents()? {
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        for template in templates(&path, &text) {
            let data = fields(&template).into_iter().map(|name| (name.clone(), name.into_bytes())).collect();
            counts.compare(oracle, &[template], &data)?;
        }
    }
    counts.end("documents and examples")
}

fn documents() -> Result<Vec<PathBuf>> {
    let root = checkout::repository();
    let alone = ["README.md", "CHANGELOG.md", "docs/operations.md", "docs/quick-start.md", "docs/security.md"];
    let mut found: Vec<PathBuf> = alone.iter().map(|path| root.join(path)).collect();
    for directory in ["docs/adr", "docs/reference", "examples", "crates/api/tests/cases", "crds"] {
        for entry in fs::read_dir(root.join(directory))? {
            let path = entry?.path();
            if path.extension().is_some_and(|end| end == "md" || end == "yaml") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The texts with an action: values of YAML, and texts between backticks.
fn templates(path: &Path, text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let is_yaml = path.extension().is_some_and(|end| end == "yaml");
    let blocks: Vec<&str> = if is_yaml { vec![text] } else { text.split("```").skip(1).step_by(2).collect() };
    for document in blocks.iter().flat_map(|block| block.trim_start_matches("yaml").split("\n---")) {
        if let Ok(value) = serde_saphyr::from_str(document) {
            texts(&value, &mut found);
        }
    }
    if !is_yaml {
        let prose: String = text.split("```").step_by(2).collect();
        let spans = prose.split('`').skip(1).step_by(2);
        found.extend(spans.filter(|span| span.contains("{{")).map(str::to_owned));
    }
    found
}

fn texts(value: &serde_json::Value, found: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::String(text) if text.contains("{{") => drop(found.insert(text.clone())),
        serde_json::Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        serde_json::Value::Object(members) => members.values().for_each(|member| texts(member, found)),
        _ => {}
    }
}

/// The names after a dot, and those in quotes.
fn fields(template: &str) -> BTreeSet<String> {
    let named = template.split('.').skip(1).map(|after| {
        let end = after.find(|character: char| !character.is_alphanumeric() && character != '_').unwrap_or(after.len());
        after[..end].to_owned()
    });
    let quoted = template.split('"').skip(1).step_by(2).map(str::to_owned);
    named.chain(quoted).filter(|name| !name.is_empty()).collect()
}
