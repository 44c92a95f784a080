//! Whether disturbed runs ended as the undisturbed one, and the table that says so.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::Result;
use serde_json::Value;

use super::{Disturbance, Scenario, Server, everything};

/// How a run ended.
pub(super) struct Run {
    pub(super) end: Value,
    pub(super) calls: BTreeMap<Server, Vec<String>>,
    /// The call of the kill or partition; `None` when there was no call of that number.
    pub(super) disturbed: Option<String>,
    pub(super) seconds: f64,
}

impl Run {
    pub(super) fn writes(&self) -> usize {
        self.calls.values().map(Vec::len).sum()
    }
}

/// All runs of a scenario.
pub(super) struct Table {
    pub(super) text: String,
    pub(super) failures: String,
    /// How many points had no call.
    pub(super) skipped: usize,
}

impl Table {
    pub(super) fn of<S: Scenario>(scenario: &S, whole: &Run, results: &[(Disturbance, Result<Run>)]) -> Result<Self> {
        let (mut rows, mut failures, mut skipped, mut last) = (String::new(), String::new(), 0, 0);
        for (at, result) in results {
            let place = match at {
                Disturbance::None | Disturbance::Down => format!("{:<40}", "the operator is down"),
                Disturbance::At(point) => {
                    format!("{:>11} {:>2} {:<25}", format!("{:?}", point.server), point.number, point.name)
                }
            };
            let (outcome, bad) = judge(whole, result, scenario.spare());
            writeln!(rows, "{place} {outcome}")?;
            if let Some(bad) = bad {
                writeln!(failures, "{place}: {bad}")?;
            }
            if result.as_ref().is_ok_and(|run| run.disturbed.is_none()) {
                *(if is_last(whole, *at) { &mut last } else { &mut skipped }) += 1;
            }
        }
        let (name, points, extent) = (scenario.name(), results.len(), if everything() { "all" } else { "a sample" });
        let mut text = format!("{name}: undisturbed {} writes, {:.0} s\n", whole.writes(), whole.seconds);
        for call in whole.calls.values().flatten() {
            writeln!(text, "    {call}")?;
        }
        writeln!(
            text,
            "{name}: {points} points ({extent}), {skipped} skipped, {last} at a last write that did not come"
        )?;
        text.push_str(&rows);
        Ok(Self { text, failures, skipped })
    }
}

/// A run may report one wait less than the undisturbed one: then there is no last write of a status.
fn is_last(whole: &Run, at: Disturbance) -> bool {
    match at {
        Disturbance::None | Disturbance::Down => false,
        Disturbance::At(point) => {
            point.server == Server::Kubernetes && whole.calls[&Server::Kubernetes].len() == point.number
        }
    }
}

/// What to print of a run, and what is wrong with it.
pub(super) fn judge(whole: &Run, result: &Result<Run>, spare: usize) -> (String, Option<String>) {
    let run = match result {
        Ok(run) => run,
        Err(error) => return ("FAILED".to_owned(), Some(format!("{error:#}"))),
    };
    let call = run.disturbed.as_deref().unwrap_or("(no such call)");
    let outcome = format!("{:>2} writes {:>4.0} s  {call}", run.writes(), run.seconds);
    if run.end != whole.end {
        let text = format!("another end at {call}:\n{}", difference(&whole.end, &run.end, "$"));
        return (format!("{outcome}  ANOTHER END"), Some(text));
    }
    if run.writes() > whole.writes() + spare {
        let calls: Vec<&String> = run.calls.values().flatten().collect();
        let text = format!("{} writes instead of at most {}: {calls:#?}", run.writes(), whole.writes() + spare);
        return (format!("{outcome}  TOO MANY"), Some(text));
    }
    (outcome, None)
}

/// Where two ends differ, one line a place.
fn difference(wanted: &Value, seen: &Value, path: &str) -> String {
    match (wanted, seen) {
        (Value::Object(wanted), Value::Object(seen)) => {
            let names: std::collections::BTreeSet<&String> = wanted.keys().chain(seen.keys()).collect();
            let of = |map: &serde_json::Map<String, Value>, name: &String| map.get(name).cloned().unwrap_or_default();
            names.iter().map(|name| difference(&of(wanted, name), &of(seen, name), &format!("{path}.{name}"))).collect()
        }
        (wanted, seen) if wanted == seen => String::new(),
        (wanted, seen) => format!("  {path}: wanted {wanted}, saw {seen}\n"),
    }
}
