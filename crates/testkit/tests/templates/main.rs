//! Templates render as Go renders them: the same templates go through Go's own `text/template` with the functions of
//! Sprig, set up as External Secrets sets them up, and the test compares the bytes. `allowed.rs` lists allowed
//! differences. A sample of generated templates, all of them with `REKEY_PROVE=1`.

mod allowed;
mod calls;
mod compare;
mod dice;
mod edges;
mod functions;
mod generate;
mod pieces;
mod salted;
mod special;
mod values;
mod written;
mod yamls;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use rekey_testkit::oracle::Oracle;

use crate::{compare::Counts, generate::Maker};

/// Templates in one request.
const BATCH: u64 = 500;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    // A panic counts as a difference.
    let trials = vec![
        trial("every_function_is_compared_or_named", every_function),
        trial("templates_that_somebody_wrote", written::compared),
        trial("cases_have_the_results_that_are_right", written::cases),
        trial("functions_with_arguments_at_the_edges", edge_calls),
        trial("generated_templates", generated),
        trial("values_of_all_characters_and_bytes", values::compared),
        trial("yaml_by_chance", yamls::compared),
        trial("salted_results_verify", salted::verified),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(name: &str, test: fn(&Oracle) -> Result<()>) -> Trial {
    Trial::test(name, move || {
        let run = || test(&Oracle::build()?);
        run().map_err(|error| Failed::from(format!("{error:?}")))
    })
}

/// How many: a sample, or all.
fn sample<T>(few: T, all: T) -> T {
    if is_proof() { all } else { few }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test has no command line; how much it does comes from the environment"
)]
fn is_proof() -> bool {
    std::env::var_os("REKEY_PROVE").is_some_and(|value| !value.is_empty())
}

fn every_function(oracle: &Oracle) -> Result<()> {
    let ours = functions::all();
    ensure!(ours.len() == include_str!("signatures.txt").lines().filter(|line| !line.starts_with('#')).count());
    for name in oracle.names()? {
        let is_known = ours.iter().any(|function| function.name == name) || salted::NAMES.contains(&name.as_str());
        let text = compare::ours(&format!("{{{{ {name} }}}}"), &edges::data()).err().unwrap_or_default();
        let is_named = text.contains("something else each time") || allowed::NOT_THERE.contains(&name.as_str());
        ensure!(is_known != is_named, "{name}: it must be compared, refused with the reason, or named as missing");
    }
    Ok(())
}

fn edge_calls(oracle: &Oracle) -> Result<()> {
    let mut counts = Counts::default();
    let data = edges::data();
    for function in functions::all() {
        let templates = calls::templates(&function, sample(2, 60));
        counts.compare(oracle, &templates, &data)?;
    }
    counts.end("functions")
}

fn generated(oracle: &Oracle) -> Result<()> {
    let (functions, data) = (functions::all(), edges::data());
    let mut counts = Counts::default();
    for batch in 0..sample(2_000, 40_000) / BATCH {
        let seeds = batch * BATCH..(batch + 1) * BATCH;
        let templates: Vec<String> = seeds.map(|seed| Maker::template(seed, &functions)).collect();
        counts.compare(oracle, &templates, &data)?;
    }
    counts.end("generated")
}
