//! `make demo`: Rekey's main job, shown and checked on real parts.

use std::process::ExitCode;

fn main() -> ExitCode {
    rekey_e2e::demo::main()
}
