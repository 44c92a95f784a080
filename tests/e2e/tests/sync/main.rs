//! From a store into a Secret: what arrives, what is repaired, what it costs, and who works.

mod content;
mod cost;
mod drift;
mod engines;
mod leading;
mod lists;
mod locked;
mod namespaces;
mod ownership;
mod records;
mod requests;
mod sources;
mod statuses;
mod stores;
mod taken_over;
mod templates;
mod values;
mod vault;

use std::process::ExitCode;

use anyhow::Result;
use rekey_e2e::{
    suite::{self, Test},
    tests,
};

fn main() -> Result<ExitCode> {
    suite::main_at_once(
        6, // they mostly wait
        false,
        [operation(), contents(), secrets()].into_iter().flatten().collect(),
    )
}

/// How the operator goes about it.
fn operation() -> Vec<Test> {
    tests![
        // It takes as long as all the others, so it starts first.
        cost::a_key_pair_is_read_when_it_changes_and_not_while_nothing_does,
        namespaces::a_namespace_opened_later_works_without_a_restart,
        lists::first_objects_come_one_by_one,
        lists::an_api_server_that_cannot_stream_lists_is_asked_for_pages,
        namespaces::a_kind_that_is_removed_is_not_asked_for_any_more,
        leading::another_replica_takes_over_after_a_kill,
        stores::kubernetes_login_needs_the_role_and_then_works,
        cost::idle_rounds_read_each_key_once_and_ask_the_api_server_nothing,
        stores::a_store_with_a_token_says_who_it_is,
        stores::a_store_with_a_key_pair_gives_json_properties,
        stores::a_key_pair_that_changes_is_not_used_any_more,
        engines::a_certificate_is_issued_once,
        engines::what_could_not_be_published_is_not_issued_again,
        engines::a_read_only_store_posts_to_no_engine,
        engines::a_static_role_is_followed,
        engines::what_a_search_finds_becomes_keys,
        sources::generated_values_are_made_once,
        sources::an_existing_secret_is_governed,
        sources::a_secret_changes_hands_by_consent_and_without_loss,
        sources::keys_are_merged_by_consent,
        sources::whole_objects_and_templates_from_config_maps,
        sources::refresh_policies_say_when_the_store_is_read,
        sources::a_missing_value_keeps_or_deletes_as_the_policy_says,
        requests::a_request_is_handled_exactly_once,
        requests::an_old_request_is_only_recorded,
        requests::an_edit_of_the_policy_is_followed_at_once,
        requests::suspended_nothing_happens,
        cost::a_first_sync_costs_three_requests,
        cost::a_change_costs_two_writes_and_an_event,
        cost::a_restarted_operator_writes_nothing,
        statuses::a_status_that_others_wrote_into_is_put_right,
        leading::health_and_metrics_answer_without_names,
        leading::json_logs_name_kind_object_and_reason,
    ]
}

/// What a Secret holds, and how it looks.
fn contents() -> Vec<Test> {
    tests![
        values::values_arrive_as_they_stand_in_the_store,
        values::metadata_of_a_key_follows_its_own_changes,
        values::an_object_that_is_emptied_changes_nothing,
        values::a_key_works_or_is_refused_with_its_right_spelling,
        vault::an_app_role_reads_and_rotates_kv_version_1,
        content::a_value_goes_from_the_store_into_a_secret,
        content::a_secret_is_dressed_as_the_template_says,
        templates::templates_make_names_keys_labels_and_annotations,
        templates::a_template_in_a_secret_needs_its_consent,
        content::values_of_two_stores_meet_in_one_secret,
        content::a_change_in_the_store_arrives,
        content::columns_tell_the_truth_and_kubectl_can_wait,
        records::a_thousand_long_keys_change_at_once_and_too_many_are_refused,
        records::a_store_that_went_back_is_not_followed_unless_asked,
        records::a_key_that_is_counted_anew_is_followed,
    ]
}

/// Whose a Secret is, and how it may change.
fn secrets() -> Vec<Test> {
    tests![
        locked::a_locked_secret_stays_and_says_so,
        locked::a_lost_locked_secret_comes_back_only_with_its_value,
        locked::locked_is_left_only_with_a_token,
        drift::edits_of_a_secret_are_repaired,
        drift::a_deleted_secret_comes_back,
        drift::marks_of_others_stay,
        ownership::an_existing_secret_needs_consent,
        ownership::a_copy_of_a_published_secret_needs_consent,
        ownership::a_secret_that_was_put_back_from_a_backup_is_the_policys_as_before,
        ownership::a_credential_of_the_cluster_is_never_written,
        ownership::two_policies_cannot_have_one_secret,
        ownership::two_policies_that_make_one_secret_at_once_do_not_overwrite_each_other,
        taken_over::dropped_keys_go_though_their_maker_holds_them_too,
        taken_over::a_secret_of_external_secrets_is_taken_over_and_outlives_its_object,
        taken_over::a_secret_of_another_type_is_in_the_way_and_says_so,
        taken_over::a_forged_record_pins_no_salts,
        taken_over::salts_stay_when_the_digest_key_or_the_seed_is_lost,
        ownership::a_secret_goes_or_stays_with_its_policy,
    ]
}
