//! The ways between values and between modes: back to an earlier value, alone or as a set, a canary first, out of
//! `Locked`, and from one mode to another. Pods really run here.

mod back;
mod canary;
mod earlier;
mod held;
mod locked_moves;
mod loosened;
mod sets;
mod unlocked;

use std::process::ExitCode;

use anyhow::Result;
use rekey_e2e::{suite, tests};

fn main() -> Result<ExitCode> {
    suite::main_at_once(
        6,
        true,
        tests![
            unlocked::kill_9_at_any_write_of_an_unlock_ends_the_same,
            unlocked::a_locked_secret_is_replaced_while_its_consumers_are_down,
            unlocked::a_pod_that_comes_in_between_holds_up_the_creation,
            unlocked::a_pod_that_waits_for_the_secret_gets_the_new_value,
            unlocked::without_the_right_to_list_pods_a_locked_secret_stays,
            loosened::locked_becomes_mutable_while_its_consumers_are_down,
            loosened::modes_change_under_a_running_consumer,
            loosened::generated_values_leave_locked_by_way_of_a_version,
            locked_moves::a_token_moves_consumers_of_a_locked_value_to_another_name,
            locked_moves::what_a_locked_secret_held_stays_as_a_copy,
            sets::a_set_that_fails_goes_back_whole,
            sets::a_member_of_a_set_that_goes_back_late_is_waited_for,
            sets::a_set_stays_where_one_member_may_not_go_back,
            back::a_value_that_fails_is_taken_back_and_not_tried_again,
            back::a_consumer_that_is_only_named_comes_back_too,
            canary::a_canary_that_fails_leaves_the_others_alone,
            earlier::a_secret_that_keeps_its_name_goes_back_to_a_copy,
            earlier::a_user_goes_back_to_a_revision_and_lets_go,
            canary::a_canary_that_is_scaled_to_0_lets_nobody_pass,
            held::a_value_that_is_held_stays_so_without_the_digest_key,
            held::a_version_that_is_held_stays_so_without_the_digest_key_and_under_another_mode,
        ],
    )
}
