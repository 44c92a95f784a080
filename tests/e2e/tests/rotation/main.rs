//! Rotations on a real control plane with a real node, a real store and real consumers.

mod disturbed;
mod foreign;
mod forged;
mod forged_status;
mod kept;
mod request;
mod ssh;
mod stage;
mod timing;
mod waits;

use std::process::ExitCode;

use anyhow::Result;
use rekey_e2e::{suite, tests};

fn main() -> Result<ExitCode> {
    suite::main_at_once(
        6, // they mostly wait
        true,
        tests![
            request::a_request_rotates_once_on_openbao,
            request::a_request_rotates_once_on_secrets_manager,
            request::a_key_that_is_missing_is_created,
            request::kubectl_prints_the_truth,
            timing::a_period_rotates_again_and_again,
            timing::a_cron_pattern_in_a_time_zone_is_planned,
            timing::an_old_token_is_recorded_not_acted_on,
            waits::a_suspended_schedule_waits,
            waits::a_pod_of_a_rollout_that_is_not_shown_holds_the_rotation_open,
            waits::a_read_only_store_is_named_and_waited_for,
            waits::a_locked_policy_is_waited_for,
            waits::a_rotator_that_is_not_built_is_refused,
            waits::a_second_schedule_waits_for_its_turn,
            waits::a_second_schedule_of_a_key_waits_for_its_turn,
            waits::what_can_never_rotate_says_so_at_once,
            waits::a_rotation_waits_for_its_approval_then_for_its_window,
            timing::a_schedule_that_is_edited_all_the_time_rotates_when_it_is_due,
            disturbed::an_outage_while_publishing_ends_in_one_version,
            disturbed::a_foreign_password_stands,
            disturbed::other_properties_that_move_are_merged,
            disturbed::a_deletion_while_publishing_completes_and_goes,
            disturbed::a_deletion_with_a_refused_spec_goes,
            forged::a_labelled_secret_of_others_is_not_adopted,
            forged::a_pending_secret_with_other_values_is_not_used,
            forged::a_pending_secret_without_a_proof_is_not_used,
            forged::the_proof_of_another_schedule_proves_nothing,
            forged::a_pending_secret_that_stays_is_not_asked_for_without_end,
            forged::a_deleted_schedule_that_stays_is_left_alone,
            forged::a_deleted_schedule_gives_up_on_a_store_that_refuses,
            forged_status::a_policy_that_says_it_has_published_is_not_believed,
            forged_status::a_schedule_that_says_it_is_further_is_not_believed,
            forged_status::a_status_that_is_emptied_loses_no_rotation,
            forged_status::a_rotation_that_only_a_status_knows_changes_nothing,
            foreign::an_old_value_put_back_while_consumers_follow_supersedes,
            foreign::a_foreign_value_while_consumers_follow_supersedes,
            foreign::an_old_value_put_back_while_publishing_supersedes,
            foreign::a_foreign_value_while_publishing_supersedes,
            foreign::an_undisturbed_rotation_reads_the_store_seldom,
            ssh::a_key_is_used_once_the_server_takes_it_and_the_old_one_ends,
            kept::a_consumer_that_is_never_restarted_keeps_a_rotation_open,
        ],
    )
}
