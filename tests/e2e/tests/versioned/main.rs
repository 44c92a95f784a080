//! `immutability: Versioned`: each value is a new Secret, which is found again whatever happens,
//! and goes when nothing needs it any more. Pods really run here.

mod accounts;
mod applied;
mod collected;
mod disturbed;
mod existing;
mod forms;
mod gone;
mod many;
mod moved;
mod plain;
mod published;
mod references;

use std::process::ExitCode;

use anyhow::Result;
use rekey_e2e::{suite, tests};

fn main() -> Result<ExitCode> {
    suite::main_at_once(
        6,
        true,
        tests![
            many::twenty_values_in_a_row_leave_no_pod_without_its_secret,
            applied::a_tool_that_puts_references_back_is_named_and_not_fought,
            applied::argo_cd_that_ignores_our_fields_does_not_fight,
            many::a_policy_deleted_during_a_rollout_leaves_no_pod_without_its_secret,
            forms::each_form_and_kind_moves_once_and_nobody_else,
            disturbed::kill_9_at_any_write_of_a_new_version_ends_the_same,
            published::each_value_is_a_new_secret_and_pods_get_it_by_its_name,
            published::a_version_is_what_kubernetes_holds_immutable,
            published::nothing_is_written_while_nothing_changes,
            disturbed::a_deleted_version_comes_back_under_its_name,
            disturbed::marks_that_are_taken_off_are_put_back,
            disturbed::a_forged_version_is_nobodys,
            disturbed::versions_that_were_put_back_from_a_backup_are_the_policys_as_before,
            disturbed::a_name_that_somebody_has_taken_is_left_alone,
            collected::what_is_kept_stays_and_the_rest_goes,
            collected::what_a_pod_or_its_maker_refers_to_stays,
            collected::without_the_right_to_look_nothing_is_deleted,
            gone::versions_go_with_their_policy_unless_something_refers_to_them,
            gone::versions_stay_where_the_policy_says_so,
            moved::a_policy_becomes_versioned_and_goes_back_without_another_value,
            moved::generated_values_move_along,
            references::references_move_and_that_is_the_rollout,
            references::references_of_what_does_not_roll_move_too,
            references::a_bad_value_reaches_one_consumer,
            references::a_reference_that_is_put_back_is_moved_once_more_and_then_left,
            references::many_changes_leave_what_is_kept,
            plain::consumers_that_are_all_put_back_get_each_value_by_a_restart,
            plain::a_plain_secret_that_lost_its_marks_gets_them_back_and_follows,
            plain::a_plain_secret_that_was_put_back_from_a_backup_follows,
            moved::nobody_goes_back_when_the_current_version_is_deleted,
            accounts::the_list_of_an_account_follows_the_versions,
            existing::a_secret_of_another_tool_gets_versions_and_its_consumers_are_moved,
            existing::its_versions_go_with_the_policy,
            existing::a_governed_secret_becomes_versioned_and_goes_back,
            existing::a_reference_that_is_put_back_runs_on_the_secret_itself,
        ],
    )
}
