//! Bad input, missing parts and failing stores: what the user is told, and what stays as it was.

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
use rekey_e2e::suite::{self, test};

fn main() -> Result<ExitCode> {
    suite::main(
        false,
        vec![
            test("an_object_that_cannot_be_read_is_told_and_stops_nobody", malformed::objects),
            test("a_store_that_is_down_leaves_the_secret_and_comes_back", outage::down),
            test("a_revoked_credential_is_told_and_mended_without_a_restart", outage::revoked),
            test("a_deleted_key_keeps_the_secret", outage::deleted_key),
            test("wrong_credentials_are_told_by_the_store_and_mended", data::credentials),
            test("what_is_missing_is_waited_for", data::missing),
            test("what_cannot_become_a_secret_stalls", data::unfit),
            test("bad_data_later_keeps_the_last_good_secret", data::later),
            test("an_edit_that_cannot_work_keeps_the_last_good_secret", kept::edited),
            test("a_value_that_goes_bad_keeps_the_last_good_secret", bad_values::keep_the_secret),
            test("a_search_that_finds_nothing_keeps_the_last_good_secret", kept::nothing_found),
            test("a_store_that_is_not_there_keeps_the_last_good_secret", kept::without_store),
            test("an_immutable_secret_of_somebody_else_is_left_alone", kept::immutable),
            test("credentials_with_a_lease_are_made_once_and_given_back", leases::engine),
            test("the_api_refuses_what_no_operator_should_see", data::refused_by_the_api),
            test("policies_with_what_is_not_built_say_which_field", unsupported::policies),
            test("schedules_with_what_is_not_built_say_which_field", unsupported::schedules),
            test("every_object_that_the_api_takes_gets_an_answer", table::every_object),
            test("no_value_is_found_in_what_the_operator_tells", secrecy::canaries),
            test("no_value_is_logged_at_trace_whatever_the_environment_asks_for", secrecy::at_trace),
        ],
    )
}
