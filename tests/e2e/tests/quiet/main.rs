//! What must not restart anybody: everything but another value. Each room is a namespace with two Deployments whose Secret
//! is overwritten (`immutability: None`; one of them restarted by us before, one started after the last change) and one whose
//! references move (`Versioned`). After each case all three stand as before: templates, generations, pods, and the
//! starts of their containers. A case cannot be left out: each room compares what it has run with its table.

mod edits;
mod leaders;
mod lost;
mod marks;
mod room;
mod stores;
mod watches;

use std::process::ExitCode;

use anyhow::Result;
use rekey_e2e::{suite, tests};

/// All cases of all rooms.
const CASES: usize = edits::CASES.len()
    + leaders::CASES.len()
    + lost::CASES.len()
    + marks::CASES.len()
    + stores::CASES.len()
    + watches::CASES.len();

const _: () = assert!(CASES >= 30, "thirty kinds of what is no change of a value");

fn main() -> Result<ExitCode> {
    println!("{CASES} cases that restart nobody, in six rooms");
    suite::main_at_once(
        6, // they mostly wait
        true,
        tests![
            leaders::no_start_end_or_change_of_the_operator_restarts_anybody,
            lost::nothing_that_is_lost_and_comes_back_restarts_anybody,
            edits::no_edit_of_a_policy_restarts_anybody,
            marks::no_edit_of_a_secret_or_workload_restarts_anybody,
            stores::nothing_at_the_store_but_another_value_restarts_anybody,
            watches::no_trouble_with_the_api_server_restarts_anybody,
        ],
    )
}
