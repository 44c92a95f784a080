//! Metadata that a tenant writes for the operator to keep.

use std::sync::Arc;

use anyhow::{Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::PostParams;
use rekey_api::SecretPolicy;
use rekey_e2e::{Scene, World, bench::usage, vigil::Vigil};
use serde_json::json;

/// Policies with nearly as much in one annotation as Kubernetes takes.
const POLICIES: usize = 600;
/// Bytes of it.
const ANNOTATION: usize = 240 * 1024;
/// Creates under way at the same time. With more, the attack hits the API server: it takes all processors (140 % of two
/// here, the operator 27 %), and sends watch events seconds later.
const AT_ONCE: usize = 1;
/// What the operator may take for them, in MiB: the annotations alone are 140, and objects on their way take memory,
/// too.
const TAKEN: f64 = 110.0;

/// Policies are watched also where the operator has no rights: whoever may create one there could fill its memory.
pub async fn annotations_of_policies_do_not_fill_the_memory(world: Arc<World>) -> Result<()> {
    let scene = Scene::closed(&world, "metadata").await?;
    let mut vigil = Vigil::start(&world, "metadata", &[&scene], &[]).await?;
    let process = vigil.operator.id();
    let before = usage::memory(process)?.now;
    let note = "x".repeat(ANNOTATION);
    let policies = scene.objects::<SecretPolicy>();
    let create = async |number: usize| -> Result<()> {
        let policy = serde_json::from_value(json!({
            "apiVersion": "rekey.dev/v1alpha1",
            "kind": "SecretPolicy",
            "metadata": {"name": format!("noted-{number}"), "annotations": {"example.com/note": note}},
            "spec": {"source": {"generated": {"fields": [{"key": "token", "password": {}}]}}},
        }))?;
        // Created, not applied: that is less work for the API server, which is not the target.
        policies.create(&PostParams::default(), &policy).await?;
        Ok(())
    };
    let attack = async {
        let creates = futures::stream::iter((0..POLICIES).map(create)).buffer_unordered(AT_ONCE);
        creates.try_collect::<Vec<()>>().await?;
        for number in [0, POLICIES - 1] {
            scene.wait_policy(&format!("noted-{number}"), "Stalled=True/NamespaceNotOpened").await?;
        }
        let taken = usage::memory(process)?.now - before;
        ensure!(taken < TAKEN, "{POLICIES} annotations took {taken:.0} MiB of the operator's memory");
        Ok(())
    };
    vigil.during(attack).await
}
