//! `kubectl rekey …`: what people do around Rekey and that needs no operator.

#![expect(clippy::doc_markdown, reason = "the comments of arguments are printed by --help")]

mod open;

use std::{io::Write as _, process::ExitCode};

use clap::{Parser, Subcommand};

/// Work with Rekey from the command line.
#[derive(Debug, Parser)]
#[command(name = "kubectl-rekey", bin_name = "kubectl rekey", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the RoleBinding (and the Role for tokens) that opens a namespace to the operator: `kubectl rekey open NS | kubectl apply -f -`.
    Open(open::Options),
}

fn main() -> ExitCode {
    let text = match Args::parse().command {
        Command::Open(options) => {
            if let Some(text) = open::warning(&options) {
                writeln!(std::io::stderr(), "kubectl rekey: warning: {text}").ok();
            }
            open::manifests(&options)
        }
    };
    let written = text.map(|text| std::io::stdout().write_all(text.as_bytes()));
    match written {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => complain(&error.to_string()),
        Err(error) => complain(&error),
    }
}

fn complain(text: &str) -> ExitCode {
    writeln!(std::io::stderr(), "kubectl rekey: {text}").ok();
    ExitCode::FAILURE
}
