//! The shipped manifests: what they let the operator do is what it does, and an API server takes them.

mod manifests;
mod owner;
mod walk;

use std::process::ExitCode;

use anyhow::Result;
use rekey_e2e::suite::{self, test};

fn main() -> Result<ExitCode> {
    suite::main_at_once(
        1, // all operators are one user here
        true,
        vec![
            test("every_right_is_used_and_every_request_is_granted", walk::everything),
            test("a_namespaces_admin_opens_it_and_works_there", owner::opens),
            test("the_shipped_pod_keeps_the_restricted_standard", manifests::restricted),
        ],
    )
}
