//! Starts and ends of the operator, replicas that take over, and a lost digest key. The operator has a namespace of its
//! own here: the room's.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
};
use rekey_api::{SecretPolicy, names};
use rekey_e2e::{Operator, Scene, World, wait::until};
use serde_json::json;

use crate::room::{POLICIES, Room};

pub const CASES: [&str; 6] = [
    "stopped and started",
    "kill -9 and started",
    "the leader ends, and another replica leads",
    "the leader is killed, and another replica leads",
    "the digest key lost",
    "the digest key and the statuses lost",
];

const KEY: &str = "rekey-digest-key";

pub async fn no_start_end_or_change_of_the_operator_restarts_anybody(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "leaders").await?;
    may_lead(&scene).await?;
    let mut leader = replica(&scene, "a")?;
    leader.wait_leads().await?;
    let room = Room::new(&scene).await?;
    room.case(CASES[0], async {
        leader.stop()?;
        leader = replica(&scene, "b")?;
        leader.wait_leads().await
    })
    .await?;
    room.case(CASES[1], async {
        leader.kill()?;
        leader = replica(&scene, "c")?;
        leader.wait_leads().await
    })
    .await?;
    for (name, other, killed) in [(CASES[2], "d", false), (CASES[3], "e", true)] {
        room.case(name, async {
            let waits = replica(&scene, other)?;
            waits.wait_ready().await?;
            ensure!(!waits.leads().await?, "there is one leader");
            if killed {
                leader.kill()?;
            } else {
                leader.stop()?;
            }
            leader = waits;
            leader.wait_leads().await
        })
        .await?;
    }
    for (name, other, statuses) in [(CASES[4], "f", false), (CASES[5], "g", true)] {
        room.case(name, async {
            leader.stop()?;
            lose_key(&scene, statuses).await?;
            leader = replica(&scene, other)?;
            leader.wait_leads().await?;
            digests_are_made_anew(&scene).await
        })
        .await?;
    }
    leader.alive()?;
    room.done("starts, ends and leaders", &CASES)
}

fn replica(scene: &Scene, name: &str) -> Result<Operator> {
    let namespace = &scene.namespace;
    let arguments = [format!("--namespaces={namespace}"), format!("--operator-namespace={namespace}")];
    scene.world.operator(&format!("{namespace}-{name}"), &[&arguments[0], &arguments[1]])
}

/// What the operator may do in its own namespace.
async fn may_lead(scene: &Scene) -> Result<()> {
    let (group, name) = ("rbac.authorization.k8s.io", "leads");
    let rules = json!([{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"]}]);
    scene
        .apply(json!({"apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": {"name": name}, "rules": rules}))
        .await?;
    scene
        .apply(json!({
            "apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": "rekey", "namespace": "rekey-system"}],
        }))
        .await
}

async fn lose_key(scene: &Scene, statuses: bool) -> Result<()> {
    scene.api::<Secret>().delete(KEY, &DeleteParams::default()).await?;
    for policy in POLICIES.iter().filter(|_| statuses) {
        let gone = Patch::Merge(json!({"status": null}));
        scene.api::<SecretPolicy>().patch_status(policy, &PatchParams::default(), &gone).await?;
    }
    // Whether the digests of the Secret are made anew shows that the key is another one.
    scene.annotate::<Secret>("db", "example.com/digests", &digests(scene).await?).await
}

async fn digests(scene: &Scene) -> Result<String> {
    scene.api::<Secret>().get("db").await?.annotations().get(names::DIGESTS).cloned().context("no digests")
}

async fn digests_are_made_anew(scene: &Scene) -> Result<()> {
    until("digests are made with another key", || async {
        let secret = scene.api::<Secret>().get("db").await?;
        let of = |name: &str| secret.annotations().get(name).cloned();
        Ok((of(names::DIGESTS) != of("example.com/digests")).then_some(()))
    })
    .await
}
