//! `make bench`: what Rekey costs and how fast it is, measured on real parts.

use std::process::ExitCode;

fn main() -> ExitCode {
    rekey_e2e::bench::main()
}
