//! Searches in both services of AWS.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Result, ensure};
use rekey_core::store::{NamePattern, Search, StoreErrorKind};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    aws::Aws,
    keeper::Keeper,
    parameters::{Parameters, put},
    subject::{CANARY, Subject, open, opened, refused},
};

fn below(path: &str) -> Search {
    Search { path: Some(path.to_owned()), ..Search::default() }
}

fn matching(path: &str, pattern: &str) -> Search {
    Search { name: Some(NamePattern::new(pattern)), ..below(path) }
}

fn tagged(path: &str, tags: &[(&str, &str)]) -> Search {
    let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Search { tags: tags.collect(), ..below(path) }
}

/// Tags as AWS writes them.
fn tags(of: &[(&str, &str)]) -> Value {
    of.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect()
}

/// Keys with tags, of which only the first two have all of `team: shop` and `tier: gold`.
fn table(root: &str) -> BTreeMap<String, Vec<(&'static str, &'static str)>> {
    let keys = [
        ("a", vec![("team", "shop"), ("tier", "gold")]),
        ("b", vec![("tier", "gold"), ("team", "shop"), ("more", "x")]),
        ("c", vec![("team", "shop")]),
        ("d", vec![("team", "shopping"), ("tier", "gold")]),
        ("e", vec![("teams", "shop"), ("tier", "gold")]),
        ("f", vec![("tier", "shop"), ("team", "gold")]),
        ("g", vec![]),
    ];
    keys.into_iter().map(|(name, tags)| (format!("{root}/{name}"), tags)).collect()
}

pub async fn secrets(aws: Arc<Aws>) -> Result<()> {
    let (store, root) = (opened(&*aws, None).await?, format!("find-{}", Uuid::now_v7()));
    // More than one page.
    let mut all: Vec<String> = (0..105).map(|number| format!("{root}/db-{number}")).collect();
    all.extend([format!("{root}/api"), root.clone()]);
    for key in all.iter().chain([&format!("{root}ping/db-1")]) {
        aws.server().create(key, CANARY).await?;
    }
    all.sort();
    for path in [root.clone(), format!("{root}/")] {
        ensure!(store.find(&below(&path)).await? == all, "{path}");
    }
    let found = store.find(&matching(&root, "/db-10[0-9]$")).await?;
    ensure!(found == ["100", "101", "102", "103", "104"].map(|number| format!("{root}/db-{number}")), "{found:?}");
    ensure!(store.find(&below("find-nobody/")).await?.is_empty());
    let everything = store.find(&Search::default()).await?;
    ensure!(everything.contains(&root) && everything.contains(&format!("{root}ping/db-1")));
    Ok(())
}

pub async fn secrets_by_tag(aws: Arc<Aws>) -> Result<()> {
    let (store, root) = (opened(&*aws, None).await?, format!("tags-{}", Uuid::now_v7()));
    for (key, of) in table(&root) {
        let asked = json!({ "Name": key, "SecretString": CANARY, "Tags": tags(&of) });
        aws.server().secrets_manager("CreateSecret", &asked).await?;
    }
    let found = store.find(&tagged(&root, &[("team", "shop"), ("tier", "gold")])).await?;
    ensure!(found == ["a", "b"].map(|name| format!("{root}/{name}")), "{found:?}");
    let found = store.find(&tagged(&root, &[("team", "shop")])).await?;
    ensure!(found == ["a", "b", "c"].map(|name| format!("{root}/{name}")), "{found:?}");
    ensure!(store.find(&tagged(&root, &[("team", "!shop")])).await?.is_empty(), "no negated filter");
    Ok(())
}

pub async fn denied(aws: Arc<Aws>) -> Result<()> {
    for service in ["SecretsManager", "ParameterStore"] {
        let keeper = Arc::new(Keeper::default());
        aws.bad(&keeper);
        let mut provider = aws.provider(Some(aws.guard()));
        provider["aws"]["service"] = json!(service);
        let store = open(provider, keeper).await?;
        refused(&*aws, store.find(&Search::default()).await, StoreErrorKind::Denied)?;
        aws.good(&store.keeper);
        let found = store.find(&Search::default()).await?;
        ensure!(found.len() == 1 && found[0].ends_with("shop/guarded"), "{found:?}");
    }
    Ok(())
}

pub async fn parameters(parameters: Arc<Parameters>) -> Result<()> {
    let (store, root) = (opened(&*parameters, None).await?, format!("/find-{}", Uuid::now_v7()));
    let mut all: Vec<String> = (0..23).map(|number| format!("{root}/deep/db-{number}")).collect();
    all.extend([format!("{root}/api"), root.clone()]);
    for key in all.iter().chain([&format!("{root}ping/db-1")]) {
        put(parameters.0.server(), key, CANARY, &json!({})).await?;
    }
    all.sort();
    for path in [root.clone(), format!("{root}/")] {
        ensure!(store.find(&below(&path)).await? == all, "{path}");
    }
    let found = store.find(&matching(&root, "/db-2.$")).await?;
    ensure!(found == ["20", "21", "22"].map(|number| format!("{root}/deep/db-{number}")), "{found:?}");
    let error = refused(&*parameters, store.find(&below("find/")).await, StoreErrorKind::InvalidKey)?;
    ensure!(error.text.contains("\"/find/\""), "{error}");
    ensure!(store.find(&Search::default()).await?.contains(&root));
    Ok(())
}

pub async fn parameters_by_tag(parameters: Arc<Parameters>) -> Result<()> {
    let (store, root) = (opened(&*parameters, None).await?, format!("/tags-{}", Uuid::now_v7()));
    for (key, of) in table(&root) {
        put(parameters.0.server(), &key, CANARY, &json!({ "Tags": tags(&of) })).await?;
    }
    let found = store.find(&tagged(&root, &[("team", "shop"), ("tier", "gold")])).await?;
    ensure!(found == ["a", "b"].map(|name| format!("{root}/{name}")), "{found:?}");
    let found = store.find(&tagged(&root, &[("team", "shop")])).await?;
    ensure!(found == ["a", "b", "c"].map(|name| format!("{root}/{name}")), "{found:?}");
    Ok(())
}
