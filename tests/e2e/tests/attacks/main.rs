//! What a tenant does to stop the operator or to reach what is not his. Each attack ends with the operator alive within its
//! memory limit, its Lease held, its probes answered and another namespace served (`rekey_e2e::vigil`).

mod connections;
mod kept;
mod metadata;
mod ownership;
mod reading;
mod rendering;
mod templates;

use std::{process::ExitCode, sync::Arc};

use anyhow::Result;
use rekey_e2e::{
    Scene, World,
    suite::{self, test},
    vigil::Vigil,
};

fn main() -> Result<ExitCode> {
    // One at a time: an attack takes the processor, and only one operator of a cluster leads.
    suite::main_at_once(
        1,
        false,
        vec![
            test("an_operator_that_nobody_attacks_serves_others", peace),
            test("a_chain_of_else_if_is_refused_in_opened_and_closed_namespaces", templates::chain),
            test("many_templates_do_not_fill_the_memory", templates::memory),
            test("slow_templates_stop_nobody_else", rendering::slow_templates),
            test("half_open_connections_keep_nobody_from_health_and_metrics", connections::half_open),
            test("annotations_of_policies_do_not_fill_the_memory", metadata::annotations),
            test("a_search_for_more_than_the_memory_is_refused", reading::huge),
            test("secrets_that_are_deleted_and_stay_stop_nobody", kept::secrets),
            test("forged_pending_secrets_stop_nobody", ownership::pending),
            test("forged_statuses_stop_nobody", ownership::statuses),
            test("a_store_that_moves_takes_no_credential_with_it", ownership::addresses),
            test("a_flood_of_searches_leaves_a_shared_store_to_others", reading::flood),
        ],
    )
}

/// The watch itself: it finds nothing where nothing is done.
async fn peace(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "peace").await?;
    let mut vigil = Vigil::start(&world, "peace", &[&scene], &[]).await?;
    vigil.during(async { Ok(()) }).await
}
