//! Rotations on a real control plane with a real node, a real store and real consumers.

mod disturbed;
mod foreign;
mod forged;
mod forged_status;
mod kept;
mod request;
mod stage;
mod timing;
mod waits;

use std::process::ExitCode;

use anyhow::Result;
use rekey_e2e::suite::{self, test};

fn main() -> Result<ExitCode> {
    suite::main(
        true,
        vec![
            test("a_request_rotates_once_on_openbao", request::openbao),
            test("a_request_rotates_once_on_secrets_manager", request::secrets_manager),
            test("a_key_that_is_missing_is_created", request::missing_key),
            test("kubectl_prints_the_truth", request::columns),
            test("a_period_rotates_again_and_again", timing::every),
            test("a_cron_pattern_in_a_time_zone_is_planned", timing::cron),
            test("an_old_token_is_recorded_not_acted_on", timing::old_token),
            test("a_suspended_schedule_waits", waits::suspended),
            test("a_pod_of_a_rollout_that_is_not_shown_holds_the_rotation_open", waits::unseen_rollout),
            test("a_read_only_store_is_named_and_waited_for", waits::read_only),
            test("a_locked_policy_is_waited_for", waits::locked),
            test("a_rotator_that_is_not_built_is_refused", waits::not_built),
            test("a_second_schedule_waits_for_its_turn", waits::second_schedule),
            test("an_outage_while_publishing_ends_in_one_version", disturbed::outage),
            test("a_foreign_password_stands", disturbed::foreign),
            test("other_properties_that_move_are_merged", disturbed::merged),
            test("a_deletion_while_publishing_completes_and_goes", disturbed::deleted),
            test("a_deletion_with_a_refused_spec_goes", disturbed::deleted_and_refused),
            test("a_labelled_secret_of_others_is_not_adopted", forged::labelled),
            test("a_pending_secret_with_other_values_is_not_used", forged::changed),
            test("a_pending_secret_without_a_proof_is_not_used", forged::bare),
            test("the_proof_of_another_schedule_proves_nothing", forged::copied),
            test("a_pending_secret_that_stays_is_not_asked_for_without_end", forged::guarded),
            test("a_deleted_schedule_that_stays_is_left_alone", forged::guarded_schedule),
            test("a_deleted_schedule_gives_up_on_a_store_that_refuses", forged::refused_for_good),
            test("a_policy_that_says_it_has_published_is_not_believed", forged_status::published),
            test("a_schedule_that_says_it_is_further_is_not_believed", forged_status::further),
            test("a_status_that_is_emptied_loses_no_rotation", forged_status::emptied),
            test("a_rotation_that_only_a_status_knows_changes_nothing", forged_status::invented),
            test("an_old_value_put_back_while_consumers_follow_supersedes", foreign::old_value_while_rolling),
            test("a_foreign_value_while_consumers_follow_supersedes", foreign::foreign_value_while_rolling),
            test("an_old_value_put_back_while_publishing_supersedes", foreign::old_value_while_publishing),
            test("a_foreign_value_while_publishing_supersedes", foreign::foreign_value_while_publishing),
            test("an_undisturbed_rotation_reads_the_store_seldom", foreign::reads),
            test("a_consumer_that_is_never_restarted_keeps_a_rotation_open", kept::never),
        ],
    )
}
