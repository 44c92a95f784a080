//! Consumers restart exactly once when the value they consume changes, and never otherwise. Pods really run here, and
//! what they hold is read from their processes.

mod argo;
mod costs;
mod failed;
mod ground;
mod held;
mod left_alone;
mod named;
mod restarts;
mod shown;
mod together;

use std::process::ExitCode;

use anyhow::Result;
use rekey_e2e::suite::{self, test};

fn main() -> Result<ExitCode> {
    suite::main_at_once(
        6,
        true,
        vec![
            test("a_deployment_by_env_restarts_once", restarts::deployment),
            test("a_stateful_set_by_env_from_restarts_once", restarts::stateful_set),
            test("a_daemon_set_by_volume_restarts_once", restarts::daemon_set),
            test("another_key_of_the_secret_restarts_nobody", restarts::another_key),
            test("a_change_missed_while_down_is_caught_up_by_one_restart", restarts::missed),
            test("two_secrets_changed_together_cause_one_restart", together::two_secrets),
            test("two_consumers_never_roll_at_the_same_time", together::concurrency),
            test("nothing_but_a_changed_value_restarts_anybody", left_alone::nothing),
            test("a_relist_restarts_nobody", left_alone::relist),
            test("adoption_restarts_nobody", left_alone::adoption),
            test("a_policy_for_running_pods_restarts_nobody", left_alone::first_publication),
            test("a_template_that_newly_refers_to_the_secret_rolls_once", left_alone::newly_refers),
            test("a_rollout_of_somebody_elses_is_not_doubled", left_alone::own_rollout),
            test("a_removed_marker_leads_to_no_restart", left_alone::marker_removed),
            test("restart_never_is_held_until_somebody_restarts_it", held::never),
            test("a_policy_without_restarts_holds_its_consumers", held::never_by_policy),
            test("a_consumer_that_reloads_is_not_restarted", held::reloads),
            test("a_paused_deployment_is_picked_up_when_resumed", held::paused),
            test("a_cron_job_is_held_while_an_older_job_runs_and_never_started", shown::cron_job),
            test("an_argo_rollout_restarts_once", argo::rollout),
            test("an_argo_rollout_without_a_template_is_left_alone", argo::borrowed_template),
            test("certificates_and_pull_secrets_are_shown_and_restart_nobody", shown::certificates_and_pull_secrets),
            test("a_named_consumer_restarts_once_without_a_reference", named::restarts_once),
            test("a_kind_that_cannot_be_restarted_is_refused_by_name", named::other_kinds),
            test("a_consumer_that_misses_its_deadline_has_failed_and_the_others_wait", failed::deadline),
            test("a_marker_taken_off_twice_is_left_off", failed::marker_reverted),
            test("a_restart_costs_what_it_should", costs::restart),
            test("waiting_for_others_costs_nothing", costs::line),
        ],
    )
}
