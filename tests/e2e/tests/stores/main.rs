//! Stores of the whole cluster and who may use them; what reads share; stores that are slow, away, or asked too much. They
//! have a world of their own: every operator of a world works on its `ClusterRemoteStore`s, and what others ask is counted.

mod addresses;
mod cluster_stores;
mod consent;
mod granted;
mod proxied;
mod reads;
mod slow;

use std::process::ExitCode;

use anyhow::Result;
use rekey_e2e::suite::{self, test};

fn main() -> Result<ExitCode> {
    suite::main(
        false,
        vec![
            test("a_hanging_store_does_not_slow_the_policies_of_others", slow::hanging),
            test("policies_are_fresh_as_soon_as_their_store_is_back", slow::back),
            test("credentials_of_a_cluster_store_are_allowed_by_name", cluster_stores::credentials),
            test("each_namespace_logs_in_as_its_own_account", cluster_stores::accounts_of_consumers),
            test("a_credential_can_be_made_to_need_consent", consent::obligatory),
            test("a_consented_credential_is_sent_nowhere_else_when_its_store_is_edited", consent::moved),
            test("no_template_gives_consent", consent::handed),
            test("consent_names_the_kind_of_its_user", consent::of_a_cluster_store),
            test("a_grant_by_name_is_followed_when_it_comes_and_goes", granted::by_name),
            test("a_grant_by_label_is_followed_when_the_label_comes_and_goes", granted::by_label),
            test("a_rotation_needs_a_grant_to_write", granted::rotation),
            test("a_key_opens_no_engine_and_a_post_needs_a_store_that_may_be_written", granted::engines),
            test("without_insecure_stores_tls_works_and_addresses_are_refused", addresses::secure),
            test("an_api_server_that_moves_is_no_store", addresses::moved),
            test("stores_are_reached_by_the_proxy_and_refused_addresses_are_not_asked_for", proxied::tunnels),
            test("each_request_to_a_store_names_the_build", proxied::agents),
            test("equal_reads_of_many_policies_are_few_calls", reads::shared),
            test("a_store_is_asked_no_faster_than_its_limits", reads::limits),
        ],
    )
}
