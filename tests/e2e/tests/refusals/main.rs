//! Bad input, missing parts and failing stores: what the user sees, and what stays as it was.

mod bad_values;
#[path = "../../../../crates/api/tests/cases/mod.rs"]
mod cases;
mod data;
mod kept;
mod leases;
mod malformed;
mod outage;
mod secrecy;
mod table;
mod unsupported;

use std::process::ExitCode;

use anyhow::Result;
use rekey_e2e::{suite, tests};

fn main() -> Result<ExitCode> {
    suite::main_at_once(
        6, // they mostly wait
        false,
        tests![
            malformed::an_object_that_cannot_be_read_is_told_and_stops_nobody,
            outage::a_store_that_is_down_leaves_the_secret_and_comes_back,
            outage::a_revoked_credential_is_told_and_mended_without_a_restart,
            outage::a_deleted_key_keeps_the_secret,
            data::wrong_credentials_are_told_by_the_store_and_mended,
            data::what_is_missing_is_waited_for,
            data::what_cannot_become_a_secret_stalls,
            data::bad_data_later_keeps_the_last_good_secret,
            kept::an_edit_that_cannot_work_keeps_the_last_good_secret,
            bad_values::a_value_that_goes_bad_keeps_the_last_good_secret,
            kept::a_search_that_finds_nothing_keeps_the_last_good_secret,
            kept::a_store_that_is_not_there_keeps_the_last_good_secret,
            kept::an_immutable_secret_of_somebody_else_is_left_alone,
            leases::credentials_with_a_lease_are_made_once_and_given_back,
            data::the_api_refuses_what_no_operator_should_see,
            unsupported::policies_with_what_is_not_built_say_which_field,
            unsupported::schedules_with_what_is_not_built_say_which_field,
            table::every_object_that_the_api_takes_gets_an_answer,
            secrecy::no_value_is_found_in_what_the_operator_tells,
            secrecy::no_value_is_logged_at_trace_whatever_the_environment_asks_for,
        ],
    )
}
