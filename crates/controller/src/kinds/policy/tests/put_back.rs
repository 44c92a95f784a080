//! Versions that a backup put back, and become the policy's again.

use super::*;

fn web(secret: &str) -> rekey_core::workload::Workload {
    let spec = json!({"selector": {}, "template": {"spec": {"containers": [
        {"name": "app", "envFrom": [{"secretRef": {"name": secret}}]}]}}});
    let web =
        json!({"metadata": {"name": "web", "namespace": "shop", "uid": "w", "resourceVersion": "1"}, "spec": spec});
    serde_json::from_value::<Deployment>(web).unwrap().project()
}

#[tokio::test(start_paused = true)]
async fn consumers_are_looked_at_when_versions_that_were_put_back_become_the_policys_again() {
    let world = World::new(&policy(|object| {
        object["spec"]["immutability"] = json!("Versioned");
        object["spec"]["versions"] = json!({"references": "Move"});
    }));
    world.round().await.unwrap();
    let name = ObjectName::new("shop", world.status().secret_name.unwrap());
    world.policies.cluster.workloads.set(&workload_name(&web("db").id), web(&name.name));
    // A backup tool has made all again, and another process looks at it.
    for name in [&name, &world.key] {
        let mut secret = world.ground.server.get(&format!("{SECRETS}{}", name.name)).unwrap();
        secret["metadata"]["managedFields"] = json!([{"manager": "backup", "operation": "Update"}]);
        secret["metadata"]["resourceVersion"] = json!("900");
        let metadata = serde_json::from_value(secret["metadata"].clone()).unwrap();
        world.ground.server.put(&format!("{SECRETS}{}", name.name), secret);
        world.policies.cluster.secrets.set(name, SecretRow::project(metadata));
    }
    world.policies.memory.forget_policy("u", &world.key);
    let queue = &world.ground.context.queues.workloads;
    while let Ok(id) = tokio::time::timeout(Duration::from_secs(1), queue.next()).await {
        queue.done(&id, None);
    }
    world.round().await.unwrap();
    let names = &world.policies.cluster.policies.get(&world.key).unwrap().spec().unwrap().names.clone();
    let versions = world.policies.cluster.versions(&world.key, names);
    assert_eq!(versions.iter().map(|version| version.name.as_str()).collect::<Vec<_>>(), [name.name.as_str()]);
    let queued = tokio::time::timeout(Duration::from_secs(1), queue.next()).await;
    assert_eq!(queued.ok(), Some(web("db").id), "its consumers");
}

#[tokio::test(start_paused = true)]
async fn references_leave_a_copy_of_a_version_only_if_its_content_proves_that_it_is_one() {
    for (value, is_proven) in [("c2Vjb25k", true), ("Zm9yZ2Vk", false)] {
        let world = World::new(&policy(|object| {
            object["spec"]["immutability"] = json!("Versioned");
            object["spec"]["versions"] = json!({"references": "Move"});
        }));
        world.round().await.unwrap();
        let first = world.status().secret_name.unwrap();
        // A backup has the next version, and its record, while the first one is still ours.
        let name = ObjectName::new("shop", "db-bbbbbbbbbb");
        let mut copy = world.ground.server.get(&format!("{SECRETS}{first}")).unwrap();
        let spec = world.policies.cluster.policies.get(&world.key).unwrap().policy().unwrap();
        let data = [("password".to_owned(), rekey_core::SecretBytes::from("second"))].into();
        let digests = spec.digests_of(&world.policies.digest_key, &data, None);
        copy["data"] = json!({"password": value});
        for (field, text) in [("name", name.name.as_str()), ("uid", "backup"), ("resourceVersion", "900")] {
            copy["metadata"][field] = json!(text);
        }
        copy["metadata"]["managedFields"] = json!([{"manager": "backup", "operation": "Update"}]);
        copy["metadata"]["annotations"][rekey_api::names::REVISION] = json!("bbbbbbbbbb");
        copy["metadata"]["annotations"][rekey_api::names::DIGESTS] = json!(digests.to_string());
        let metadata = serde_json::from_value(copy["metadata"].clone()).unwrap();
        world.ground.server.put(&format!("{SECRETS}{}", name.name), copy);
        world.policies.cluster.secrets.set(&name, SecretRow::project(metadata));
        world.policies.cluster.workloads.set(&workload_name(&web("db").id), web(&name.name));
        let queue = &world.ground.context.queues.workloads;
        while let Ok(id) = tokio::time::timeout(Duration::from_secs(1), queue.next()).await {
            queue.done(&id, None);
        }
        world.round().await.unwrap();
        assert_eq!(world.status().secret_name, Some(first), "it never counts as current");
        let versions = crate::cluster::versions_of(&world.policies.cluster, &spec);
        let found = (versions.backups.contains_key(&name.name), versions.others.contains(&name.name));
        assert_eq!(found, (is_proven, !is_proven), "{value}");
        let queued = tokio::time::timeout(Duration::from_secs(1), queue.next()).await.ok();
        assert_eq!(queued, is_proven.then(|| web("db").id), "{value}");
        let consumers = world.policies.cluster.consumers_of(&spec).into_iter();
        let inputs = consumers.filter_map(|row| {
            let published = observe::published(&world.policies.cluster, &spec)?;
            spec.input(&published, &row, &versions)
        });
        let away = inputs.filter(|input| !input.moves().is_empty()).count();
        assert_eq!(away, usize::from(is_proven), "{value}");
        let reads = world.ground.server.asked(&format!("GET {SECRETS}{}", name.name));
        world.round().await.unwrap();
        assert_eq!(world.ground.server.asked(&format!("GET {SECRETS}{}", name.name)), reads, "it is looked into once");
    }
}
