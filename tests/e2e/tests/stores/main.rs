//! Stores of the whole cluster and who may use them; what reads share; stores that are slow, not responding, or
//! overloaded. They have a world of their own: every operator of a world works on its `ClusterRemoteStore`s, and
//! requests of others would count.

mod addresses;
mod cluster_stores;
mod consent;
mod granted;
mod proxied;
mod reads;
mod slow;

use std::process::ExitCode;

use anyhow::Result;
use rekey_e2e::{suite, tests};

fn main() -> Result<ExitCode> {
    suite::main_at_once(
        4, // they mostly wait, and some measure how long
        false,
        tests![
            slow::a_hanging_store_does_not_slow_the_policies_of_others,
            slow::policies_are_fresh_as_soon_as_their_store_is_back,
            cluster_stores::credentials_of_a_cluster_store_are_allowed_by_name,
            cluster_stores::each_namespace_logs_in_as_its_own_account,
            consent::a_credential_can_be_made_to_need_consent,
            consent::a_consented_credential_is_sent_nowhere_else_when_its_store_is_edited,
            consent::no_template_gives_consent,
            consent::consent_names_the_kind_of_its_user,
            granted::a_grant_by_name_is_followed_when_it_comes_and_goes,
            granted::a_grant_by_label_is_followed_when_the_label_comes_and_goes,
            granted::a_rotation_needs_a_grant_to_write,
            granted::a_key_opens_no_engine_and_a_post_needs_a_store_that_may_be_written,
            addresses::without_insecure_stores_tls_works_and_addresses_are_refused,
            addresses::an_api_server_that_moves_is_no_store,
            proxied::stores_are_reached_by_the_proxy_and_refused_addresses_are_not_asked_for,
            proxied::each_request_to_a_store_names_the_build,
            reads::equal_reads_of_many_policies_are_few_calls,
            reads::a_store_is_asked_no_faster_than_its_limits,
        ],
    )
}
