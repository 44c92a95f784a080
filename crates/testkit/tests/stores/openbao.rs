//! `OpenBao`: values, versions, rights, outages, and an exact count of requests.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use rekey_testkit::bao::{OpenBao, Request};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("openbao_keeps_versions", versions),
        trial("openbao_counts_every_request_once", counts),
        trial("openbao_tokens_have_the_rights_of_their_policy", rights),
        trial("openbao_comes_back_with_its_data", outages),
    ]
}

async fn versions() -> Result<()> {
    let bao = OpenBao::start().await?;
    ensure!(bao.get("app/db").await?.is_none(), "nothing is there at first");
    assert_eq!(bao.put("app/db", &json!({ "password": "one" })).await?, 1);
    assert_eq!(bao.put("app/db", &json!({ "password": "two" })).await?, 2);
    assert_eq!(bao.get("app/db").await?, Some(json!({ "password": "two" })));
    assert_eq!(bao.versions("app/db").await?, [1, 2]);
    bao.delete("app/db").await?;
    assert_eq!(bao.get("app/db").await?, None);
    assert_eq!(bao.versions("app/db").await?, [1, 2], "a deleted version keeps its number");
    assert_eq!(bao.put("app/db", &json!({ "password": "three" })).await?, 3);
    bao.destroy("app/db").await?;
    assert_eq!(bao.versions("app/db").await?, Vec::<u64>::new());
    Ok(())
}

async fn counts() -> Result<()> {
    let bao = OpenBao::start().await?;
    bao.put("a", &json!({ "k": "v" })).await?;
    let mark = bao.mark()?;
    for _ in 0..3 {
        bao.get("a").await?;
    }
    bao.get("missing").await?;
    bao.put("a", &json!({ "k": "w" })).await?;
    let expected =
        [(("read", "secret/data/a"), 3), (("read", "secret/data/missing"), 1), (("update", "secret/data/a"), 1)];
    let seen = bao.reads_since(mark)?;
    let seen: BTreeMap<(&str, &str), usize> = seen.iter().map(|((o, p), n)| ((o.as_str(), p.as_str()), *n)).collect();
    assert_eq!(seen, BTreeMap::from(expected));
    assert_eq!(bao.requests_since(bao.mark()?)?, []);
    Ok(())
}

async fn rights() -> Result<()> {
    let bao = OpenBao::start().await?;
    bao.put("mine", &json!({ "k": "v" })).await?;
    bao.put("theirs", &json!({ "k": "v" })).await?;
    bao.policy("reader", r#"path "secret/data/mine" { capabilities = ["read"] }"#).await?;
    let token = bao.token_for("reader").await?;
    let mark = bao.mark()?;
    assert_eq!(read(&bao, &token, "mine").await?, StatusCode::OK);
    assert_eq!(read(&bao, &token, "theirs").await?, StatusCode::FORBIDDEN);
    let asked = |path: &str| Request {
        operation: "read".to_owned(),
        path: format!("secret/data/{path}"),
        client: "token-reader".to_owned(),
    };
    assert_eq!(bao.requests_since(mark)?, [asked("mine"), asked("theirs")], "a refused request counts too");
    bao.revoke(&token).await?;
    assert_eq!(read(&bao, &token, "mine").await?, StatusCode::FORBIDDEN);
    Ok(())
}

async fn outages() -> Result<()> {
    let mut bao = OpenBao::start().await?;
    bao.put("a", &json!({ "k": "v" })).await?;
    let token = bao.token().to_owned();
    bao.seal().await?;
    assert_eq!(read(&bao, &token, "a").await?, StatusCode::SERVICE_UNAVAILABLE);
    bao.unseal().await?;
    assert_eq!(bao.get("a").await?, Some(json!({ "k": "v" })));
    bao.stop()?;
    ensure!(read(&bao, &token, "a").await.is_err(), "a stopped server answers");
    let address = bao.address().to_owned();
    bao.restart().await?;
    assert_eq!(bao.address(), address);
    assert_eq!(bao.get("a").await?, Some(json!({ "k": "v" })));
    Ok(())
}

async fn read(bao: &OpenBao, token: &str, path: &str) -> Result<StatusCode> {
    let client = Client::builder().no_proxy().build()?;
    let url = format!("{}/v1/secret/data/{path}", bao.address());
    let answer = client.get(url).header("X-Vault-Token", token).send().await?;
    let status = answer.status();
    answer.json::<Value>().await?;
    Ok(status)
}
