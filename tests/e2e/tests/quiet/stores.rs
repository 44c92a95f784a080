//! What happens at the store, and to the objects that lead there.

use std::sync::Arc;

use anyhow::Result;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams};
use rekey_api::RemoteStore;
use rekey_e2e::{World, kill::Rig};
use serde_json::{Value, json};

use crate::room::{CURRENT, POLICIES, Room, put, value};

pub const CASES: [&str; 10] = [
    "equal bytes in a new version of the store",
    "the key deleted and written again with equal bytes",
    "the key destroyed with all versions and written again with equal bytes",
    "the token renewed",
    "the token replaced, and the one before revoked",
    "the Secret with the token deleted and made again",
    "the store away for a while",
    "the RemoteStore edited",
    "the RemoteStore deleted and made again",
    "the same bytes from another store, and there with their properties in another order",
];

const RIGHTS: &str = r#"
path "secret/data/*" { capabilities = ["read"] }
path "secret/metadata/*" { capabilities = ["read", "list"] }
"#;

pub async fn nothing_at_the_store_but_another_value_restarts_anybody(world: Arc<World>) -> Result<()> {
    let rig = Rig::new(&world, "stores").await?;
    rig.start_ready().await?;
    let room = Room::new(&rig.scene).await?;
    room.case(CASES[0], rewritten(&room)).await?;
    room.case(CASES[1], written_again(&room, false)).await?;
    room.case(CASES[2], written_again(&room, true)).await?;
    world.bao.policy(&rig.scene.namespace, RIGHTS).await?;
    let first = world.bao.token_for(&rig.scene.namespace).await?;
    rig.scene.secret("vault-token", &[("token", &first)]).await?;
    room.case(CASES[3], renewed(&world, &first)).await?;
    room.case(CASES[4], replaced(&room, &first)).await?;
    room.case(CASES[5], without_token(&room)).await?;
    room.case(CASES[6], away(&rig, &room)).await?;
    room.case(CASES[7], edited(&room)).await?;
    room.case(CASES[8], made_again(&room, &rig)).await?;
    room.case(CASES[9], elsewhere(&room)).await?;
    rig.alive()?;
    room.done("at the store", &CASES)
}

async fn rewritten(room: &Room<'_>) -> Result<()> {
    for policy in POLICIES {
        put(room.scene, policy, CURRENT).await?;
    }
    Ok(())
}

async fn written_again(room: &Room<'_>, destroyed: bool) -> Result<()> {
    let bao = &room.scene.world.bao;
    for policy in POLICIES {
        let key = room.scene.key(policy);
        if destroyed {
            bao.destroy(&key).await?;
        } else {
            bao.delete(&key).await?;
        }
        room.scene.ask_sync(policy).await?;
        room.wait_reason(policy, "KeyNotFound").await?;
        put(room.scene, policy, CURRENT).await?;
    }
    Ok(())
}

async fn renewed(world: &World, token: &str) -> Result<()> {
    let body = json!({"token": token});
    world.bao.request(http::Method::POST, "auth/token/renew", Some(&body)).await.map(drop)
}

async fn replaced(room: &Room<'_>, before: &str) -> Result<()> {
    let (scene, bao) = (room.scene, &room.scene.world.bao);
    let token = bao.token_for(&scene.namespace).await?;
    scene.secret("vault-token", &[("token", &token)]).await?;
    bao.revoke(before).await
}

async fn without_token(room: &Room<'_>) -> Result<()> {
    let (scene, api) = (room.scene, room.scene.api::<Secret>());
    let data = scene.data("vault-token").await?.unwrap_or_default();
    api.delete("vault-token", &DeleteParams::default()).await?;
    scene.wait_store("vault", "Ready=False/CredentialsNotFound").await?;
    let data: Vec<(&str, &str)> = data.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    scene.secret("vault-token", &data).await?;
    scene.wait_store("vault", "Ready=True/Synced").await.map(drop)
}

async fn away(rig: &Rig, room: &Room<'_>) -> Result<()> {
    rig.bao.down();
    for policy in POLICIES {
        room.scene.ask_sync(policy).await?;
        room.wait_reason(policy, "Unavailable").await?;
    }
    rig.bao.up();
    room.scene.wait_store("vault", "Ready=True/Synced").await.map(drop)
}

async fn edited(room: &Room<'_>) -> Result<()> {
    let change = json!({"metadata": {"labels": {"team": "shop"}}, "spec": {"access": "ReadOnly"}});
    room.scene.api::<RemoteStore>().patch("vault", &PatchParams::default(), &Patch::Merge(change)).await?;
    Ok(())
}

async fn made_again(room: &Room<'_>, rig: &Rig) -> Result<()> {
    room.scene.api::<RemoteStore>().delete("vault", &DeleteParams::default()).await?;
    for policy in POLICIES {
        room.scene.ask_sync(policy).await?;
        room.wait_reason(policy, "StoreNotFound").await?;
    }
    let provider = json!({"vault": {
        "server": rig.bao.address(), "mount": "secret", "kvVersion": "V2",
        "auth": {"token": {"secretRef": {"name": "vault-token", "key": "token"}}},
    }});
    room.scene.store("vault", "ReadOnly", provider).await?;
    room.scene.wait_store("vault", "Ready=True/Synced").await.map(drop)
}

/// Each policy takes both properties from one document, as it stands there.
async fn elsewhere(room: &Room<'_>) -> Result<()> {
    let scene = room.scene;
    for policy in POLICIES {
        let text = value(CURRENT).to_string();
        let (key, data) = (scene.key(policy), value(CURRENT));
        scene.world.moto.create(&key, &text).await?;
        room.edit(policy, json!({"spec": {"source": {"remote": {"storeRef": {"name": "aws"}}}}})).await?;
        scene.wait_synced(policy).await?;
        let turned = format!(
            "{{\n  {}: {}, {}: {}\n}}",
            Value::from("username"),
            data["username"],
            Value::from("password"),
            data["password"]
        );
        anyhow::ensure!(
            turned.find("password") > turned.find("username") && text.find("password") < text.find("username")
        );
        scene.world.moto.put(&key, &turned).await?;
        scene.sync(policy).await?;
    }
    Ok(())
}
