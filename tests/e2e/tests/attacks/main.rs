//! What a tenant does to stop the operator or to reach what is not his. Each attack ends with the operator alive within its
//! memory limit, its Lease held, its probes answered and another namespace served (`rekey_e2e::vigil`).

mod rendering;

use std::{process::ExitCode, sync::Arc};

use anyhow::Result;
use rekey_e2e::{
    Scene, World,
    suite::{self, test},
    vigil::Vigil,
};

fn main() -> Result<ExitCode> {
    // One at a time: an attack takes the processor, and only one operator of a cluster leads.
    let tests = vec![
        test("an_operator_that_nobody_attacks_serves_others", peace),
        test("slow_templates_stop_nobody_else", rendering::slow_templates),
    ];
    suite::main_at_once(1, false, tests)
}

/// The watch itself: it finds nothing where nothing is done.
async fn peace(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "peace").await?;
    let mut vigil = Vigil::start(&world, "peace", &[&scene], &[]).await?;
    vigil.during(async { Ok(()) }).await
}
