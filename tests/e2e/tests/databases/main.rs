//! Rotations of the users of a database: a real `PostgreSQL`, real pods, and logins all the time.

mod held;
mod stage;
mod turns;

use std::process::ExitCode;

use anyhow::Result;
use rekey_e2e::{suite, tests};

fn main() -> Result<ExitCode> {
    suite::main_at_once(
        4, // they mostly wait
        true,
        tests![
            turns::every_pod_can_log_in_at_every_moment,
            turns::the_user_of_before_is_left_for_two_that_take_turns,
            turns::a_database_that_was_down_is_waited_for,
            held::what_the_server_lacks_is_named_with_the_sql_that_helps,
            held::a_session_that_nobody_explains_keeps_the_old_user,
            held::a_user_of_another_schedule_is_left_alone,
            held::a_schedule_that_is_deleted_leaves_both_users_valid,
        ],
    )
}
