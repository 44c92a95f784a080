//! The shipped manifests: the operator uses all rights that they give, and an API server accepts them.

mod bindings;
mod manifests;
mod owner;
mod walk;

use std::process::ExitCode;

use anyhow::Result;
use rekey_e2e::{suite, tests};

fn main() -> Result<ExitCode> {
    suite::main_at_once(
        1, // all operators are one user here
        true,
        tests![
            walk::every_right_is_used_and_every_request_is_granted,
            bindings::a_namespace_is_served_as_soon_as_its_binding_says,
            bindings::bound_everywhere_one_watch_a_kind_serves_all_namespaces,
            owner::a_namespaces_admin_opens_it_and_works_there,
            manifests::the_shipped_pod_keeps_the_restricted_standard,
        ],
    )
}
