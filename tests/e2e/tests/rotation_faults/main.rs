//! The operator dies at each write of a rotation, in three places: the end is the same.

mod ground;
mod stores;
mod users;

use std::process::ExitCode;

use anyhow::Result;
use rekey_e2e::{suite, tests};

fn main() -> Result<ExitCode> {
    suite::main(
        true,
        tests![
            stores::kill_9_at_any_write_of_a_rotation_in_openbao_ends_the_same,
            stores::kill_9_at_any_write_of_a_rotation_in_secrets_manager_ends_the_same,
            users::kill_9_at_any_write_of_a_rotation_of_users_ends_the_same,
        ],
    )
}
