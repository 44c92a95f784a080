//! Searches: what only this store refuses.

use anyhow::{Result, ensure};
use rekey_core::store::{Allowance, NamePattern, Search, StoreErrorKind};
use serde_json::json;

use super::Shared;
use crate::{
    cases::key,
    stub,
    subject::{CANARY, Subject, opened, refused},
};

fn below(path: &str) -> Search {
    Search { path: Some(path.to_owned()), ..Search::default() }
}

pub async fn search_denied(bao: Shared) -> Result<()> {
    let store = opened(&*bao, None).await?;
    store.keeper.set("vault/token", &bao.token);
    let error = refused(&*bao, store.find(&below("shop")).await, StoreErrorKind::Denied)?;
    ensure!(error.text.ends_with("allows list on secret/metadata/shop/"), "{error}");
    Ok(())
}

/// Tags are in the metadata, which needs a right of its own.
pub async fn tags_denied(bao: Shared) -> Result<()> {
    let folder = key("tags-denied");
    bao.put(&format!("{folder}/a"), &bao.value(CANARY)).await?;
    let policy = format!("path \"secret/metadata/{folder}/*\" {{ capabilities = [\"list\"] }}");
    bao.server.policy("lister", &policy).await?;
    let store = opened(&*bao, None).await?;
    store.keeper.set("vault/token", &bao.server.token_for("lister").await?);
    ensure!(store.find(&below(&folder)).await? == [format!("{folder}/a")]);
    let search = Search { tags: [("a".to_owned(), "b".to_owned())].into(), ..below(&folder) };
    let error = refused(&*bao, store.find(&search).await, StoreErrorKind::Denied)?;
    ensure!(error.text.contains(&format!("allows read on secret/metadata/{folder}/a")), "{error}");
    Ok(())
}

pub async fn search_refused(bao: Shared) -> Result<()> {
    let store = opened(&*bao, None).await?;
    for path in ["../sys", "shop//a", " shop"] {
        refused(&*bao, store.find(&below(path)).await, StoreErrorKind::InvalidKey)?;
    }
    let other = bao.open_with(&json!({ "mount": "nowhere" })).await?;
    let error = refused(&*bao, other.find(&below("shop")).await, StoreErrorKind::Invalid)?;
    ensure!(error.text.contains("the mount exists"), "{error}");
    Ok(())
}

/// Rekey refuses too large answers and does not cut them off; also those that never end.
pub async fn search_too_wide(bao: Shared) -> Result<()> {
    let names =
        |suffix: &str, count: usize| -> Vec<String> { (0..count).map(|name| format!("{name}{suffix}")).collect() };
    let table = [
        (names("/", 1), "folders nested more than 32 deep"),
        (names("/", 101), "more than 100 folders"),
        (names("", 2_001), "more than 2000 keys"),
    ];
    for (names, expected) in table {
        let answer = json!({ "data": { "keys": names } }).to_string();
        let address = stub::answering(move |_| stub::http("200 OK", "", &answer)).await?;
        let store = opened(&*bao, Some(&address)).await?;
        let error = refused(&*bao, store.find(&Search::default()).await, StoreErrorKind::Invalid)?;
        ensure!(error.text.contains(expected) && error.text.contains("find.path"), "{error}");
    }
    Ok(())
}

/// Listed names use up the allowance, and no list follows once it is used up.
pub async fn search_bounded(bao: Shared) -> Result<()> {
    let folders: Vec<String> = (0..90).map(|number| format!("{number}-{}/", "x".repeat(1000))).collect();
    let keys: Vec<String> = (0..900).map(|number| format!("{number}-{}", "x".repeat(1000))).collect();
    let [folders, keys] = [folders, keys].map(|names| json!({ "data": { "keys": names } }).to_string());
    let address = stub::answering(move |request| {
        let is_root = request.split(' ').nth(1).is_some_and(|path| path.trim_end_matches('/').ends_with("/metadata"));
        stub::http("200 OK", "", if is_root { &folders } else { &keys })
    });
    let store = opened(&*bao, Some(&address.await?)).await?;
    let search = Search { name: Some(NamePattern::new("^nothing$")), ..Search::default() };
    let allowance = Allowance::new(1_500_000);
    let error = refused(&*bao, store.store.find(&search, &allowance).await, StoreErrorKind::TooMuch)?;
    ensure!(allowance.is_over() && allowance.most() <= 1_500_000, "{error}");
    ensure!((2..=10).contains(&allowance.requests()), "{} requests", allowance.requests());
    Ok(())
}
