//! The AWS emulator: values, versions and their stages, and a count of requests.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use rekey_testkit::moto::{Moto, Version};
use serde_json::json;

use crate::trial;

pub fn trials() -> Vec<Trial> {
    vec![trial("aws_moves_stages_between_versions", stages), trial("aws_counts_every_request_once", counts)]
}

async fn stages() -> Result<()> {
    let moto = Moto::start().await?;
    let first = moto.create("app/db", "one").await?;
    let second = moto.put("app/db", "two").await?;
    let third = moto.put_at("app/db", "three", &["AWSPENDING"]).await?;
    assert_eq!(moto.get("app/db", "AWSCURRENT").await?, "two");
    assert_eq!(moto.get("app/db", "AWSPREVIOUS").await?, "one");
    assert_eq!(moto.get("app/db", "AWSPENDING").await?, "three");
    let mut versions = moto.versions("app/db").await?;
    let at = |id: &str, stage: &str| Version { id: id.to_owned(), stages: vec![stage.to_owned()] };
    let mut expected = [at(&first, "AWSPREVIOUS"), at(&second, "AWSCURRENT"), at(&third, "AWSPENDING")];
    versions.sort_by(|a, b| a.id.cmp(&b.id));
    expected.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(versions, expected);
    moto.delete("app/db").await?;
    ensure!(moto.get("app/db", "AWSCURRENT").await.is_err(), "a deleted secret is still there");
    Ok(())
}

async fn counts() -> Result<()> {
    let moto = Moto::start().await?;
    moto.create("a", "one").await?;
    let mark = moto.mark()?;
    moto.get("a", "AWSCURRENT").await?;
    moto.get("a", "AWSCURRENT").await?;
    ensure!(moto.get("missing", "AWSCURRENT").await.is_err(), "a secret that nobody made is there");
    moto.put("a", "two").await?;
    moto.parameter_store("PutParameter", &json!({ "Name": "/a", "Value": "v", "Type": "String" })).await?;
    let expected =
        [("AmazonSSM.PutParameter", 1), ("secretsmanager.GetSecretValue", 3), ("secretsmanager.PutSecretValue", 1)];
    let expected: BTreeMap<String, usize> = expected.map(|(name, count)| (name.to_owned(), count)).into();
    assert_eq!(moto.requests_since(mark)?, expected);
    assert_eq!(moto.requests_since(moto.mark()?)?, BTreeMap::new());
    Ok(())
}
