//! Consumers restart exactly once when the value they consume changes, and never otherwise. Pods really run here, and
//! what they hold is read from their processes.

mod applied;
mod argo;
mod budget;
mod costs;
mod failed;
mod forms;
mod ground;
mod held;
mod left_alone;
mod named;
mod restarts;
mod shown;
mod together;
mod unhealthy;
mod windows;

use std::process::ExitCode;

use anyhow::Result;
use rekey_e2e::{suite, tests};

fn main() -> Result<ExitCode> {
    suite::main_at_once(
        6,
        true,
        tests![
            restarts::a_deployment_by_env_restarts_once,
            restarts::a_stateful_set_by_env_from_restarts_once,
            restarts::a_daemon_set_by_volume_restarts_once,
            forms::each_form_and_kind_is_restarted_once_and_nobody_else,
            applied::the_marker_stays_under_argo_cd_and_flux_and_a_change_restarts_once,
            restarts::another_key_of_the_secret_restarts_nobody,
            restarts::a_change_missed_while_down_is_caught_up_by_one_restart,
            together::two_secrets_changed_together_cause_one_restart,
            together::two_consumers_never_roll_at_the_same_time,
            left_alone::nothing_but_a_changed_value_restarts_anybody,
            left_alone::a_relist_restarts_nobody,
            left_alone::adoption_restarts_nobody,
            left_alone::a_policy_for_running_pods_restarts_nobody,
            left_alone::a_template_that_newly_refers_to_the_secret_rolls_once,
            left_alone::a_rollout_of_somebody_elses_is_not_doubled,
            left_alone::a_removed_marker_leads_to_no_restart,
            held::restart_never_is_held_until_somebody_restarts_it,
            held::a_policy_without_restarts_holds_its_consumers,
            held::a_consumer_that_reloads_is_not_restarted,
            held::a_paused_deployment_is_picked_up_when_resumed,
            shown::a_cron_job_is_held_while_an_older_job_runs_and_never_started,
            unhealthy::who_crashed_before_the_change_holds_nobody,
            unhealthy::who_was_not_ready_before_the_change_holds_nobody_after_a_start_of_the_operator_either,
            budget::policies_of_a_namespace_share_its_rollouts,
            windows::a_consumer_is_held_until_a_window_opens_and_restarted_once,
            argo::an_argo_rollout_restarts_once,
            argo::an_argo_rollout_without_a_template_is_left_alone,
            shown::certificates_and_pull_secrets_are_shown_and_restart_nobody,
            named::a_named_consumer_restarts_once_without_a_reference,
            named::a_kind_that_cannot_be_restarted_is_refused_by_name,
            failed::a_consumer_that_misses_its_deadline_has_failed_and_the_others_wait,
            failed::a_marker_taken_off_twice_is_left_off,
            costs::a_restart_costs_what_it_should,
            costs::waiting_for_others_costs_nothing,
        ],
    )
}
