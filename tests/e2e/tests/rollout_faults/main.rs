//! The operator dies at each write of a rollout, in three places, is cut off from the API server there, or is down while
//! the value changes: each consumer is restarted exactly once, and the end is that of an undisturbed run. Pods really
//! run here.

mod back;
mod ground;
mod moved;
mod restarted;

use std::process::ExitCode;

use anyhow::Result;
use rekey_e2e::{suite, tests};

/// In a sample, one point in so many. No multiple of the number of places at a write, so that each place has its turn.
const ONE_IN: usize = 25;

fn main() -> Result<ExitCode> {
    suite::main_at_once(
        3,
        true,
        tests![
            restarted::each_consumer_is_restarted_once_whatever_happens,
            moved::each_consumer_is_moved_once_behind_its_canary_whatever_happens,
            back::one_consumer_goes_there_and_back_whatever_happens,
        ],
    )
}
