//! Searches, for every store that has them.

use std::sync::Arc;

use anyhow::{Result, ensure};
use rekey_core::store::{NamePattern, Search};

use crate::{
    cases::key,
    subject::{CANARY, Subject, opened},
};

type Shared = Arc<dyn Subject>;

async fn filled(subject: &dyn Subject, case: &str, names: &[&str]) -> Result<(String, Vec<String>)> {
    let folder = key(case);
    let keys: Vec<String> = names.iter().map(|name| format!("{folder}/{name}")).collect();
    for key in &keys {
        subject.put(key, &subject.value(CANARY)).await?;
    }
    Ok((folder, keys))
}

fn pattern(text: &str) -> NamePattern {
    NamePattern::new(text)
}

pub async fn found_by_path(subject: Shared) -> Result<()> {
    let (folder, mut keys) = filled(&*subject, "by-path", &["b", "a", "deep/er/c", "deep/d", "e-with ü"]).await?;
    subject.put(&format!("{folder}-beside"), &subject.value(CANARY)).await?;
    keys.sort_unstable();
    let store = opened(&*subject, None).await?;
    for path in [folder.clone(), format!("{folder}/")] {
        let found = store.find(&Search { path: Some(path), ..Search::default() }).await?;
        ensure!(found == keys, "{found:?}");
    }
    let deep = Search { path: Some(format!("{folder}/deep")), ..Search::default() };
    ensure!(store.find(&deep).await? == [format!("{folder}/deep/d"), format!("{folder}/deep/er/c")]);
    Ok(())
}

pub async fn found_by_name(subject: Shared) -> Result<()> {
    let (folder, _) = filled(&*subject, "by-name", &["api-b", "api-a", "web", "sub/api-c"]).await?;
    let store = opened(&*subject, None).await?;
    let search = |name| Search { path: Some(folder.clone()), name: Some(name), ..Search::default() };
    let found = store.find(&search(pattern("/api-[ab]$"))).await?;
    ensure!(found == [format!("{folder}/api-a"), format!("{folder}/api-b")], "{found:?}");
    let whole = pattern(&format!("^{folder}/sub/.*c$"));
    ensure!(store.find(&search(whole)).await? == [format!("{folder}/sub/api-c")], "with its path");
    let everywhere = Search { name: Some(pattern(&format!("{folder}/w"))), ..Search::default() };
    ensure!(store.find(&everywhere).await? == [format!("{folder}/web")], "without a path");
    Ok(())
}

pub async fn found_by_tag(subject: Shared) -> Result<()> {
    let (folder, _) = filled(&*subject, "by-tag", &["none"]).await?;
    let value = subject.value(CANARY);
    let tagged: [(&str, &[_]); 3] =
        [("both", &[("team", "shop"), ("tier", "1")]), ("one", &[("team", "shop")]), ("other", &[("team", "web")])];
    for (name, tags) in tagged {
        subject.put_tagged(&format!("{folder}/{name}"), &value, tags).await?;
    }
    let store = opened(&*subject, None).await?;
    let find = async |tags: &[(&str, &str)], name: &str| {
        let tags = tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        anyhow::Ok(store.find(&Search { path: Some(folder.clone()), name: Some(pattern(name)), tags }).await?)
    };
    ensure!(find(&[("team", "shop")], "").await? == [format!("{folder}/both"), format!("{folder}/one")]);
    ensure!(find(&[("team", "shop"), ("tier", "1")], "").await? == [format!("{folder}/both")], "all tags");
    ensure!(find(&[("team", "shop")], "/one$").await? == [format!("{folder}/one")], "and the name");
    ensure!(find(&[("team", "sho")], "").await?.is_empty(), "a tag is compared as a whole");
    Ok(())
}

pub async fn nothing_found(subject: Shared) -> Result<()> {
    let store = opened(&*subject, None).await?;
    let search = Search { path: Some(key("nobody")), ..Search::default() };
    ensure!(store.find(&search).await?.is_empty());
    Ok(())
}
