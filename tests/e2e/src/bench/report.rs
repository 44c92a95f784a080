//! The results: a table for people, JSON for programs.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};
use rekey_testkit::{checkout::repository, plane::Counts};
use serde_json::{Value, json};

use super::{put, settings::Settings, usage};
use crate::operator::target;

/// A measured number.
struct Row {
    scenario: &'static str,
    what: String,
    unit: &'static str,
    /// At most this; `None`: it is only for comparison.
    target: Option<f64>,
    reached: f64,
}

impl Row {
    fn verdict(&self) -> &'static str {
        match self.target {
            None => "",
            Some(target) if self.reached <= target => "ok",
            Some(_) => "SHORT",
        }
    }
}

/// See the [module documentation](self).
pub struct Report {
    rows: Vec<Row>,
    requests: serde_json::Map<String, Value>,
    notes: Vec<String>,
    started: k8s_openapi::jiff::Timestamp,
}

impl Report {
    /// An empty one, started now.
    #[must_use]
    pub fn new(started: k8s_openapi::jiff::Timestamp) -> Self {
        Self { rows: Vec::new(), requests: serde_json::Map::new(), notes: Vec::new(), started }
    }

    /// A number that should be at most `target`.
    pub fn row(
        &mut self,
        scenario: &'static str,
        what: impl Into<String>,
        unit: &'static str,
        target: f64,
        reached: f64,
    ) {
        self.add(Row { scenario, what: what.into(), unit, target: Some(target), reached });
    }

    /// A number without a target.
    pub fn tell(&mut self, scenario: &'static str, what: impl Into<String>, unit: &'static str, reached: f64) {
        self.add(Row { scenario, what: what.into(), unit, target: None, reached });
    }

    fn add(&mut self, row: Row) {
        let target =
            row.target.map_or(String::new(), |target| format!(" (at most {}) {}", number(target), row.verdict()));
        put(&format!("    {}: {} {}{target}", row.what, number(row.reached), row.unit));
        self.rows.push(row);
    }

    /// The requests of one scenario, by verb and resource, of all and for each of `objects`.
    pub fn requests(&mut self, scenario: &'static str, counts: &Counts, objects: usize) {
        let mut all = Vec::new();
        for (verb, resource, count) in counts.iter() {
            let each = ratio(count, objects);
            put(&format!("      {count:>7}  {each:>7.3} each  {verb} {resource}"));
            all.push(json!({"verb": verb, "resource": resource, "count": count, "each": each}));
        }
        self.requests.insert(scenario.to_owned(), Value::Array(all));
    }

    /// A note that a reader of the numbers needs.
    pub fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        put(&format!("    note: {text}"));
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    /// Prints the table and writes `target/bench/<date>.json`. False when a target was missed.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(&self, settings: &Settings) -> Result<bool> {
        let (commit, machine) = (commit(), usage::machine());
        put(&format!("\n{}, commit {commit}, {machine}", self.started.strftime("%F %H:%M UTC")));
        put(&format!(
            "| {:<14} | {:<58} | {:>9} | {:>9} | {:<5} | {:<5} |",
            "scenario", "what", "target", "reached", "unit", ""
        ));
        put(&format!("|{0:-<16}|{0:-<60}|{0:->11}|{0:->11}|{0:-<7}|{0:-<7}|", ""));
        for row in &self.rows {
            let target = row.target.map(number).unwrap_or_default();
            let reached = number(row.reached);
            put(&format!(
                "| {:<14} | {:<58} | {target:>9} | {reached:>9} | {:<5} | {:<5} |",
                row.scenario,
                row.what,
                row.unit,
                row.verdict()
            ));
        }
        for note in &self.notes {
            put(&format!("- {note}"));
        }
        let path = self.write(settings, &commit, &machine)?;
        put(&format!("written to {}", path.display()));
        Ok(self.rows.iter().all(|row| row.verdict() != "SHORT"))
    }

    fn write(&self, settings: &Settings, commit: &str, machine: &str) -> Result<PathBuf> {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "scenario": row.scenario, "what": row.what, "unit": row.unit,
                    "target": row.target, "reached": row.reached, "verdict": row.verdict(),
                })
            })
            .collect();
        let document = json!({
            "date": self.started.to_string(),
            "commit": commit,
            "machine": machine,
            "settings": {
                "policies": settings.policies, "unmanagedSecrets": settings.unmanaged,
                "restarts": settings.restarts, "rollouts": settings.rollouts, "namespaces": settings.namespaces,
                "refreshIntervalSeconds": settings.interval,
            },
            "notes": self.notes,
            "rows": rows,
            "requests": self.requests,
        });
        let directory = target()?.join("bench");
        fs::create_dir_all(&directory)?;
        let path = directory.join(format!("{}.json", self.started.strftime("%F-%H%M%S")));
        fs::write(&path, serde_json::to_vec_pretty(&document)?).with_context(|| path.display().to_string())?;
        Ok(path)
    }
}

/// So many for each.
#[expect(clippy::cast_precision_loss, reason = "counts of a bench are far below 2^52")]
#[must_use]
pub fn ratio(count: u64, objects: usize) -> f64 {
    count as f64 / objects.max(1) as f64
}

fn number(value: f64) -> String {
    match value {
        whole if whole.fract() == 0.0 => format!("{whole:.0}"),
        large if large >= 100.0 => format!("{large:.0}"),
        medium if medium >= 10.0 => format!("{medium:.1}"),
        small => format!("{small:.2}"),
    }
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(repository()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else {
        return "unknown".to_owned();
    };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|changes| !changes.is_empty());
    if changed { format!("{commit} with changes") } else { commit }
}
