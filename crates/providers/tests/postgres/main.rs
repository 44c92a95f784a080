//! The port of databases on a real `PostgreSQL` server: what it does, refuses, and never says.

mod fences;
mod grants;
mod ground;
#[path = "../conformance/logs.rs"]
mod logs;
mod names;
mod obstacles;
mod protection;
mod refusals;
mod revocations;
mod tap;

use std::sync::Arc;

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;

use crate::ground::{Ground, VERIFIER};

macro_rules! trials {
    ($runtime:expr, $ground:expr, $module:ident: $($case:ident)*) => {
        vec![$({
            let (handle, ground) = ($runtime.handle().clone(), Arc::clone($ground));
            Trial::test(format!("{}::{}", stringify!($module), stringify!($case)), move || {
                handle.block_on($module::$case(ground)).map_err(|error| Failed::from(format!("{error:#}")))
            })
        }),*]
    };
}

fn main() -> Result<()> {
    let mut arguments = Arguments::from_args();
    // They wait most of the time.
    arguments.test_threads.get_or_insert(4);
    let logs = logs::record();
    let runtime = Runtime::new()?;
    let ground = Arc::new(Ground::start()?);
    // The long ones first, so that none of them is the last.
    let mut trials = trials!(runtime, &ground, refusals: silent_server_is_given_up_within_ten_seconds);
    trials.extend(trials!(runtime, &ground, revocations: lost_request_changes_nothing));
    trials.extend(trials!(runtime, &ground, grants:
        new_password_logs_in_and_old_does_not repeated_is_done_again session_acts_as_owner
        role_that_the_user_has_set_itself_is_gone without_owner_session_acts_as_itself every_printable_character passwords_that_no_server_takes_are_refused
        no_role_and_no_owner_are_told roles_are_shown_as_they_are
        what_is_owned_is_seen sessions_are_counted_and_dated));
    trials.extend(trials!(runtime, &ground, fences:
        exactly_one_of_racing_rotations_is_done rotations_by_other_databases_are_kept_apart_too foreign_fence_refuses
        vanished_fence_refuses unreadable_fence_refuses comment_of_people_stays settings_of_others_do_not_weaken_it
        fence_that_cannot_be_written_is_refused comment_that_is_too_long_is_refused_and_stays));
    trials.extend(trials!(runtime, &ground, revocations:
        login_ends objects_go_to_owner sessions_have_ended session_that_nobody_sees_ends_too others_that_come_and_go_are_no_obstacle session_that_holds_a_lock_is_no_obstacle
        lock_of_others_keeps_objects_and_not_the_login later_rotation_keeps_what_is_left
        forgotten_password_is_valid_no_more repeated_is_done_again
        missing_rights_are_told_with_what_is_left lost_answer_is_made_up_for_by_a_repeat
        session_that_comes_before_the_end_of_the_login_ends_too));
    trials.extend(trials!(runtime, &ground, obstacles:
        lock_that_programs_agree_on_is_asked_of_nobody user_that_holds_its_own_row_ends
        user_that_comes_back_at_once_ends who_holds_the_row_of_a_free_user_is_told
        who_waits_for_what_it_never_gets_is_no_obstacle prepared_transaction_of_the_user_is_rolled_back crowd_of_rotations_has_one_winner settings_of_the_database_are_no_obstacle));
    trials.extend(trials!(runtime, &ground, names:
        hostile_names_are_names name_that_the_server_cuts_off_is_nobody nul_in_a_name_is_refused));
    trials.extend(trials!(runtime, &ground, refusals:
        wrong_admin_password failed_login_is_one_attempt user_without_login_or_connections no_such_database
        servers_that_do_not_respond_have_one_text stopped_server
        strange_servers server_that_does_not_check_passwords md5_is_refused_with_what_to_run other_questions_get_no_answer answers_that_would_fill_us_are_refused refused_addresses));
    trials.extend(trials!(runtime, &ground, protection:
        full_check_takes_the_right_name full_check_refuses_another_name check_of_the_chain_takes_another_name
        unknown_authority_is_refused bundle_that_is_none_is_refused server_without_tls_gets_nothing
        disabled_needs_the_flag));
    let conclusion = libtest_mimic::run(&arguments, trials);

    let secrets = ground.secrets();
    let mut leaks = logs.leaks(&secrets);
    let noted = ground.postgres.log()?;
    // The server logs the statements that it gets: what checks a password is among them, and no password.
    let verifiers = noted.lines().filter(|line| line.contains(VERIFIER)).count();
    let holds = |line: &&str| secrets.iter().any(|secret| secret != VERIFIER && line.contains(secret.as_str()));
    leaks.extend(noted.lines().filter(holds).map(str::to_owned));
    drop(ground); // `exit` would leave the server to die with us
    for leak in &leaks {
        eprintln!("this was logged: {leak:.300}");
    }
    let (ours, theirs) = (logs.lines(), noted.lines().count());
    println!(
        "{ours} log lines of ours and {theirs} of the server, {verifiers} of them with a verifier, hold {} secrets",
        leaks.len()
    );
    if leaks.is_empty() { conclusion.exit() } else { std::process::exit(101) }
}
