//! A tenant with every right in his namespace reaches for what belongs to others, as fast as he can: the operator takes
//! no value of his for one of ours, sends no credential to a wrong address, and nobody else waits.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use rekey_api::{RotationSchedule, SecretPolicy, names, rotation::RotationOutcome};
use rekey_e2e::{Scene, World, vigil::Vigil, wait::until};
use rekey_testkit::proxy::TcpProxy;
use serde_json::{Value, json};
use tokio::time::sleep;

/// Secrets that pretend to be pending ones, each with a finalizer.
const FORGED: usize = 200;
const AT_ONCE: usize = 4;
/// How long statuses and addresses are written again and again, and how often.
const LASTING: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(50);
const THEIRS: &str = "the attacker's password";

async fn stored(scene: &Scene) -> Result<(Value, Vec<u64>)> {
    let (bao, key) = (&scene.world.bao, scene.key("db"));
    Ok((bao.get(&key).await?.unwrap_or_default(), bao.versions(&key).await?))
}

/// A policy and a schedule that has rotated it once.
async fn rotated(scene: &Scene) -> Result<()> {
    let key = scene.key("db");
    scene.world.bao.put(&key, &json!({"username": "orders", "password": "old"})).await?;
    scene.vault_store("ReadWrite").await?;
    scene.policy("db", "vault", &[("password", &key, "password")], json!({})).await?;
    scene.wait_synced("db").await?;
    scene.rotate("db", "vault", &key).await?;
    scene.wait_seen("db").await?;
    rotate(scene, 1).await
}

/// Asks for a rotation, and waits until so many have ended, the last with a value of ours.
async fn rotate(scene: &Scene, count: usize) -> Result<()> {
    scene.annotate::<RotationSchedule>("db", names::ROTATE_REQUESTED, &format!("token-{count}")).await?;
    let outcome = until(&format!("rotation {count} has ended"), || async {
        let status = scene.schedule("db").await?.status.unwrap_or_default();
        let last = status.history.first().filter(|_| status.history.len() == count && status.rotation.is_none());
        Ok(last.map(|past| past.outcome))
    })
    .await?;
    ensure!(outcome == RotationOutcome::Completed, "{outcome:?}");
    let (value, versions) = stored(scene).await?;
    let password = value["password"].as_str().context("no password")?;
    ensure!(value.as_object().is_some_and(|value| value.len() == 2) && password.len() == 40, "a value of others");
    ensure!(versions.len() == count + 1, "versions {versions:?}");
    scene.wait_data("db", &[("password", password)]).await
}

/// Many Secrets that look like pending ones, made before and while a rotation is open.
pub async fn forged_pending_secrets_stop_nobody(world: Arc<World>) -> Result<()> {
    let scene = Scene::closed(&world, "forger").await?;
    scene.open().await?;
    let mut vigil = Vigil::start(&world, "forger", &[&scene], &[]).await?;
    let secrets: Api<Secret> = scene.api();
    let attack = async {
        rotated(&scene).await?;
        let uid = scene.schedule("db").await?.uid().context("no uid")?;
        let forge = |number: usize| {
            let id = format!("ffffffff-ffff-7fff-bfff-{number:012}");
            let secret = json!({
                "metadata": {
                    "name": format!("rekey-pending-{id}"), "finalizers": ["example.com/guard"],
                    "labels": {names::SCHEDULE_UID: uid}, "annotations": {names::ROTATION: id, names::BASE_VERSION: "2"},
                },
                "immutable": true,
                "stringData": {"password": THEIRS, "host": "attacker.example.com"},
            });
            let secrets = &secrets;
            async move {
                let secret: Secret = serde_json::from_value(secret)?;
                secrets.create(&PostParams::default(), &secret).await?;
                anyhow::Ok(())
            }
        };
        let forgeries = stream::iter((0..FORGED).map(forge)).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>();
        let rotations = async {
            rotate(&scene, 2).await?;
            rotate(&scene, 3).await
        };
        tokio::try_join!(forgeries, rotations)?;
        let label = ListParams::default().labels(names::SCHEDULE_UID);
        secrets.delete_collection(&DeleteParams::default(), &label).await?; // they are kept by their finalizers
        rotate(&scene, 4).await
    };
    vigil.during(attack).await?;
    let label = ListParams::default().labels(names::SCHEDULE_UID);
    for secret in secrets.list(&label).await? {
        let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        secrets.patch(&secret.name_any(), &PatchParams::default(), &free).await?;
    }
    Ok(())
}

/// False statuses, without end.
pub async fn forged_statuses_stop_nobody(world: Arc<World>) -> Result<()> {
    let scene = Scene::closed(&world, "liar").await?;
    scene.open().await?;
    let mut vigil = Vigil::start(&world, "liar", &[&scene], &[]).await?;
    let attack = async {
        rotated(&scene).await?;
        let open = |step: &str| {
            json!({"status": {"rotation": {
                "id": "ffffffff-ffff-7fff-bfff-ffffffffffff", "step": step, "version": "2", "reason": "Schedule",
                "startedAt": "2026-01-01T00:00:00Z", "attempts": 0,
            }}})
        };
        let lies = async {
            for step in ["Preparing", "Publishing", "RollingOut", "Settling", "Retiring", "Failed"].iter().cycle() {
                let (schedules, policies) = (scene.api::<RotationSchedule>(), scene.api::<SecretPolicy>());
                let published = json!({"status": {"rotation": {"id": "x", "version": "9"}, "secretName": "other"}});
                let parameters = PatchParams::default();
                schedules.patch_status("db", &parameters, &Patch::Merge(open(step))).await?;
                policies.patch_status("db", &parameters, &Patch::Merge(published)).await?;
                sleep(AGAIN).await;
            }
            anyhow::Ok(())
        };
        tokio::select! {
            result = lies => result?,
            () = sleep(LASTING) => {} // there is no condition to wait for when something must not happen
        }
        let (value, _) = stored(&scene).await?;
        scene.wait_data("db", &[("password", value["password"].as_str().context("no password")?)]).await?;
        until("nothing is open any more", || async {
            Ok(scene.schedule("db").await?.status.filter(|status| status.rotation.is_none()))
        })
        .await
        .map(drop)
    };
    vigil.during(attack).await
}

/// A store whose address moves without end: the credential goes only to addresses with consent.
pub async fn a_store_that_moves_takes_no_credential_with_it(world: Arc<World>) -> Result<()> {
    let scene = Scene::closed(&world, "mover").await?;
    scene.open().await?;
    let mut vigil = Vigil::start(&world, "mover", &[&scene], &[]).await?;
    let place = world.bao.address().trim_start_matches("http://");
    let elsewhere = TcpProxy::start(place)?;
    let attack = async {
        scene.vault_store("ReadOnly").await?;
        scene.annotate::<Secret>("vault-token", "rekey.dev/usable-by", &format!("RemoteStore/vault@{place}")).await?;
        world.bao.put(&scene.key("db"), &json!({"password": "one"})).await?;
        scene.policy("db", "vault", &[("password", &scene.key("db"), "password")], json!({})).await?;
        scene.wait_synced("db").await?;
        let moves = async {
            for number in 0.. {
                let address =
                    if number % 2 == 0 { format!("http://{}", elsewhere.address()) } else { format!("http://{place}") };
                scene.vault_store_at(&address, "ReadOnly").await?;
                scene.ask_sync("db").await?;
                sleep(AGAIN).await;
            }
            anyhow::Ok(())
        };
        tokio::select! {
            result = moves => result?,
            () = sleep(LASTING) => {} // there is no condition to wait for when something must not happen
        }
        ensure!(elsewhere.connections() == 0, "{} connections to the other address", elsewhere.connections());
        scene.vault_store_at(&format!("http://{place}"), "ReadOnly").await?;
        scene.wait_store("vault", "Ready=True/Synced").await.map(drop)
    };
    vigil.during(attack).await
}
