//! What a tenant does to stop the operator or to reach what belongs to others. Each attack ends with the operator alive
//! within its memory limit, its Lease held, its probes answered and another namespace served (`rekey_e2e::vigil`).

mod connections;
mod kept;
mod metadata;
mod ownership;
mod reading;
mod rendering;
mod templates;

use std::{process::ExitCode, sync::Arc};

use anyhow::Result;
use rekey_e2e::{Scene, World, suite, tests, vigil::Vigil};

fn main() -> Result<ExitCode> {
    // One at a time: an attack takes the processor, and only one operator of a cluster leads.
    suite::main_at_once(
        1,
        false,
        tests![
            an_operator_that_nobody_attacks_serves_others,
            templates::a_chain_of_else_if_is_refused_in_opened_and_closed_namespaces,
            templates::many_templates_do_not_fill_the_memory,
            rendering::slow_templates_stop_nobody_else,
            connections::half_open_connections_keep_nobody_from_health_and_metrics,
            metadata::annotations_of_policies_do_not_fill_the_memory,
            reading::a_search_for_more_than_the_memory_is_refused,
            kept::secrets_that_are_deleted_and_stay_stop_nobody,
            ownership::forged_pending_secrets_stop_nobody,
            ownership::forged_statuses_stop_nobody,
            ownership::a_store_that_moves_takes_no_credential_with_it,
            reading::a_flood_of_searches_leaves_a_shared_store_to_others,
        ],
    )
}

/// The watch itself: without an attack it finds nothing.
async fn an_operator_that_nobody_attacks_serves_others(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "peace").await?;
    let mut vigil = Vigil::start(&world, "peace", &[&scene], &[]).await?;
    vigil.during(async { Ok(()) }).await
}
