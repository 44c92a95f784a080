//! What a pod holds follows from facts, and a consumer is healthy once it is stable. Pods really run here: their
//! containers crash, are killed and start again, and what they hold is read from their processes and files. A restart
//! is a change of the pod template, counted by what the workload's own controller keeps of each template.

mod beside;
mod containers;
mod crashes;
mod foreign_edits;
mod ground;
mod later;
mod record;
mod returned;

use std::process::ExitCode;

use anyhow::Result;
use rekey_e2e::{suite, tests};

fn main() -> Result<ExitCode> {
    suite::main_at_once(
        6, // they mostly wait
        true,
        tests![
            crashes::a_value_on_which_consumers_crash_later_stops_at_the_first,
            crashes::a_value_on_which_consumers_crash_at_once_stops_at_the_first,
            crashes::a_rotation_whose_consumer_crashes_is_not_completed,
            foreign_edits::a_pod_that_started_on_a_foreign_value_is_replaced_once,
            foreign_edits::a_pod_that_started_on_a_foreign_value_is_replaced_once_after_an_earlier_restart,
            foreign_edits::a_foreign_edit_that_no_pod_has_read_restarts_nobody,
            foreign_edits::a_foreign_edit_soon_after_a_restart_that_no_pod_has_read_restarts_nobody,
            containers::a_copy_that_an_init_container_made_stays_old_when_a_container_restarts,
            containers::a_container_that_has_read_the_value_again_needs_no_restart,
            beside::pods_that_only_carry_the_labels_are_consumers_of_their_own,
            returned::a_pod_that_started_without_the_secret_is_replaced_once,
            returned::a_pod_that_started_without_the_secret_is_replaced_once_after_an_earlier_restart,
            later::a_daemon_set_that_was_healthy_has_not_failed_later,
        ],
    )
}
