//! Keys as people write them.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rekey_core::store::{Respelling, Search, StoreErrorKind};

use super::{ALLOWED, Bao, kv1::Plain};
use crate::{
    cases::key,
    subject::{CANARY, Opened, Subject, opened, refused},
};

async fn slash_before(store: &Opened, subject: &dyn Subject) -> Result<()> {
    let (key, value) = (subject.key("slash"), subject.value(CANARY));
    let version = store.write(&format!("/{key}"), None, &value).await?;
    ensure!(store.read(&key).await? == (value.clone(), version.clone()));
    ensure!(store.read(&format!("/{key}")).await? == (value, version));
    let (folder, _) = key.rsplit_once('/').context("a path")?;
    let below = |path: String| Search { path: Some(path), ..Search::default() };
    ensure!(store.find(&below(format!("/{folder}/"))).await?.contains(&key));
    Ok(())
}

pub async fn slashes(bao: Arc<Bao>) -> Result<()> {
    slash_before(&opened(&*bao, None).await?, &*bao).await
}

pub async fn slashes_plain(plain: Arc<Plain>) -> Result<()> {
    slash_before(&opened(&*plain, None).await?, &*plain).await
}

/// Parts of a request are not part of a key. A key may have such a name: then it is read.
pub async fn request_in_key(bao: Arc<Bao>) -> Result<()> {
    let (store, key) = (opened(&*bao, None).await?, key("request"));
    for prefix in ["secret/data/", "secret/", "data/", "v1/secret/data/", "/secret/metadata/"] {
        let written = format!("{prefix}{key}");
        let error = refused(&*bao, store.read(&written).await, StoreErrorKind::NotFound)?;
        ensure!(error.text.contains(&format!("write {key:?}")), "{error}");
        ensure!(store.store.respellings(&written) == [Respelling::Meant(key.clone())], "{written}");
        let value = bao.value(&written);
        store.write(&written, None, &value).await?;
        ensure!(store.read(&written).await?.0 == value, "{written}");
    }
    store.keeper.set("vault/token", &bao.token);
    let restricted = opened(&*bao, None).await?;
    restricted.keeper.set("vault/token", &bao.token);
    let error = refused(&*bao, restricted.read(&format!("secret/data/{ALLOWED}")).await, StoreErrorKind::Denied)?;
    ensure!(error.text.contains(&format!("write {ALLOWED:?}; or")), "{error}");
    Ok(())
}
