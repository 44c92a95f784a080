//! What is published, and what consumers make of it.

use std::sync::Arc;

use anyhow::{Result, ensure};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Secret};
use kube::{
    ResourceExt as _,
    api::{Patch, PatchParams},
};
use rekey_api::{
    names,
    policy::{ChangeReason, ConsumerState},
};
use rekey_e2e::{
    Account, Scene, World,
    versions::{change, current, deployment, policy, scene, status, versioned, versions},
    wait::{until, until_equal},
};
use rekey_testkit::plane::Counts;
use serde_json::json;

pub async fn each_value_is_a_new_secret_and_pods_get_it_by_its_name(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "published").await?;
    let _operator = scene.operator()?;
    policy(&scene, versioned(3)).await?;
    let first = current(&scene, "one").await?;
    deployment(&scene, "web", &first).await?;
    ensure!(scene.held("web", "PASSWORD").await? == "one");
    until_equal("the state of web", Some((ConsumerState::Current, None)), || consumer(&scene)).await?;

    let second = change(&scene, "two").await?;
    ensure!(first != second, "a name is written once");
    let status = status(&scene).await?;
    ensure!(status.secret_name.as_ref() == Some(&second), "{status:?}");
    let revision = status.revision.clone().unwrap_or_default();
    ensure!(second == format!("db-{revision}"), "{status:?}");
    let reasons: Vec<ChangeReason> = status.history.iter().map(|change| change.reason).collect();
    ensure!(reasons == [ChangeReason::SourceChanged, ChangeReason::Created], "{reasons:?}");

    // Nobody is restarted: the status says what to write.
    let text = format!(
        "refers to Secret {first}; write {second} there (status.secretName): with versions.references Publish Rekey \
         changes no workload"
    );
    until_equal("the state of web", Some((ConsumerState::Held, Some(text))), || consumer(&scene)).await?;
    scene.wait_policy("db", "ConsumersCurrent=False/Held").await?;
    let web = scene.api::<Deployment>().get("web").await?;
    ensure!(web.metadata.generation == Some(1), "{:?}", web.metadata);
    ensure!(scene.held("web", "PASSWORD").await? == "one");

    let name = json!([{"op": "replace", "value": second,
        "path": "/spec/template/spec/containers/0/env/0/valueFrom/secretKeyRef/name"}]);
    let patch = Patch::<()>::Json(serde_json::from_value(name)?);
    scene.api::<Deployment>().patch("web", &PatchParams::default(), &patch).await?;
    until("the pod of web holds the second value", || async {
        Ok((scene.held("web", "PASSWORD").await? == "two").then_some(()))
    })
    .await?;
    until_equal("the state of web", Some((ConsumerState::Current, None)), || consumer(&scene)).await?;
    scene.wait_synced("db").await.map(drop)
}

async fn consumer(scene: &Scene) -> Result<Option<(ConsumerState, Option<String>)>> {
    let items = status(scene).await?.consumers.unwrap_or_default().items;
    Ok(items.into_iter().find(|item| item.name == "web").map(|item| (item.state, item.message)))
}

pub async fn a_version_is_what_kubernetes_holds_immutable(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "immutable").await?;
    let _operator = scene.operator()?;
    policy(&scene, versioned(3)).await?;
    let name = current(&scene, "one").await?;
    let secret = scene.api::<Secret>().get(&name).await?;
    ensure!(secret.immutable == Some(true) && secret.owner_references().is_empty(), "{:?}", secret.metadata);
    ensure!(secret.labels().get(names::MANAGED_BY).map(String::as_str) == Some(names::MANAGED_BY_VALUE));
    ensure!(secret.annotations().get(names::ON_POLICY_DELETE).map(String::as_str) == Some("Delete"));
    ensure!(name == format!("db-{}", secret.annotations()[names::REVISION]));
    ensure!(scene.api::<Secret>().get_opt("db").await?.is_none(), "the plain name is not used");
    let edit = Patch::Merge(json!({"stringData": {"password": "mine"}}));
    let refused = scene.api::<Secret>().patch(&name, &PatchParams::default(), &edit).await;
    ensure!(matches!(&refused, Err(kube::Error::Api(status)) if status.code == 422), "{refused:?}");
    Ok(())
}

pub async fn nothing_is_written_while_nothing_changes(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "idle").await?;
    let account = Account::new(&scene).await?;
    let mut operator = account.operator("first")?;
    let short = json!({"source": {"remote": {
        "storeRef": {"name": "vault"}, "refreshInterval": "10s",
        "data": [{"secretKey": "password", "remoteRef": {"key": scene.key("db"), "property": "password"}}]}},
        "immutability": "Versioned", "versions": {"references": "Publish", "keep": 1}});
    scene.policy_of("db", short).await?;
    current(&scene, "one").await?;
    deployment(&scene, "web", &current(&scene, "one").await?).await?;
    scene.wait_pod("web").await?;
    for value in ["two", "three"] {
        change(&scene, value).await?;
    }
    // `one` is superfluous and stays, since web refers to it.
    until("the Event of the third value", || async { Ok((scene.events("db").await?.len() >= 3).then_some(())) })
        .await?;
    let looked = || async { Ok((rekey_e2e::versions::versions(&scene).await?.len() == 3).then_some(())) };
    until("three versions", looked).await?;
    // The last look at a pod that is stable may fall into a round: what counts is that quiet comes, and stays.
    until("a round in which the API server is asked nothing", || async {
        Ok((requests_of_rounds(&scene, &account, 1).await?.besides_watches() == 0).then_some(()))
    })
    .await?;
    let counts = requests_of_rounds(&scene, &account, 2).await?;
    ensure!(counts.besides_watches() == 0, "the API server was asked while nothing happened:\n{counts}");
    let before = versions(&scene).await?;
    operator.stop()?;
    let (mark, store) = (account.mark().await?, world.bao.mark()?);
    let _second = account.operator("second")?;
    until("the new operator has looked", || async {
        let all = scene.world.bao.requests_since(store)?;
        Ok(all.iter().any(|at| at.operation == "read" && at.path.contains(&scene.namespace)).then_some(()))
    })
    .await?;
    scene.wait_settled("db").await?;
    let counts = account.since(&mark).await?;
    ensure!(counts.writes() == 0, "{counts}");
    ensure!(versions(&scene).await? == before);
    Ok(())
}

/// What the operator asks the API server for until it has read the store so many times more.
async fn requests_of_rounds(scene: &Scene, account: &Account, rounds: usize) -> Result<Counts> {
    let (mark, store) = (account.mark().await?, scene.world.bao.mark()?);
    until("rounds", || async {
        let all = scene.world.bao.requests_since(store)?;
        let reads = all.iter().filter(|at| at.operation == "read" && at.path.contains(&scene.namespace)).count();
        Ok((reads >= rounds).then_some(()))
    })
    .await?;
    account.since(&mark).await
}
