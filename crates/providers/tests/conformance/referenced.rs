//! Secrets of Secrets Manager that Parameter Store hands on.

use std::sync::Arc;

use anyhow::{Result, ensure};
use rekey_core::store::{Locator, Pin, StoreErrorKind};
use serde_json::json;
use uuid::Uuid;

use crate::{
    aws::read_all,
    parameters::{Parameters, put},
    stub,
    subject::{CANARY, opened, refused},
};

const BELOW: &str = "/aws/reference/secretsmanager/";

type Shared = Arc<Parameters>;

pub async fn read(parameters: Shared) -> Result<()> {
    let (store, moto) = (opened(&*parameters, None).await?, parameters.0.server());
    let name = format!("reference/{}", Uuid::now_v7());
    let key = format!("{BELOW}{name}");
    let error = refused(&*parameters, store.read(&key).await, StoreErrorKind::NotFound)?;
    ensure!(error.text.contains(&key), "{error}");
    let first = moto.create(&name, "first").await?;
    ensure!(store.read(&key).await?.0 == b"first");
    moto.put(&name, CANARY).await?;
    ensure!(store.read(&key).await?.0 == CANARY.as_bytes(), "the current value");
    for pin in [Pin::Stage("AWSPREVIOUS".to_owned()), Pin::Version(first)] {
        ensure!(store.read_at(&key, pin.clone()).await?.0 == b"first", "{pin:?}");
    }
    Ok(())
}

/// Their answers carry the name of the secret, which a parameter may have, too.
pub async fn together(parameters: Shared) -> Result<()> {
    let (store, moto) = (opened(&*parameters, None).await?, parameters.0.server());
    let names: Vec<String> = (0..4).map(|number| format!("reference-{number}-{}", Uuid::now_v7())).collect();
    let mut asked = Vec::new();
    for name in &names {
        moto.create(name, &format!("secret {name}")).await?;
        put(moto, name, &format!("parameter {name}"), &json!({})).await?;
        asked.extend([
            (format!("{BELOW}{name}"), format!("secret {name}")),
            (name.clone(), format!("parameter {name}")),
        ]);
    }
    let locators: Vec<(&str, Pin)> = asked.iter().map(|(key, _)| (key.as_str(), Pin::Current)).collect();
    for ((key, expected), answer) in asked.iter().zip(read_all(&store, &locators).await) {
        ensure!(answer?.0 == expected.as_bytes(), "{key}");
    }
    Ok(())
}

/// The answer that AWS documents: version 0, the name as it was asked for, and what Secrets Manager has said beside it.
pub async fn as_documented(parameters: Shared) -> Result<()> {
    let id = Uuid::now_v7().to_string();
    let key = format!("{BELOW}shop/db");
    let said = json!({ "ARN": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop/db-AbCdEf", "name": "shop/db",
        "versionId": id, "versionStages": ["AWSCURRENT"], "secretString": CANARY });
    let parameter = json!({ "Name": key, "Type": "SecureString", "Value": CANARY, "Version": 0,
        "SourceResult": said.to_string(), "LastModifiedDate": 1_753_000_000.5, "ARN": "arn:aws:ssm:eu-west-1:123456789012:parameter/aws" });
    let (one, all) = (json!({ "Parameter": parameter }), json!({ "Parameters": [parameter], "InvalidParameters": [] }));
    let address = stub::answering(move |request| {
        let answer = if request.contains("AmazonSSM.GetParameters") { &all } else { &one };
        stub::http("200 OK", "content-type: application/x-amz-json-1.1\r\n", &answer.to_string())
    });
    let store = opened(&*parameters, Some(&address.await?)).await?;
    let locators = [key.as_str(), "/shop/other"].map(|key| Locator { key: key.to_owned(), pin: Pin::Current });
    let single = store.store.read(&locators[0]).await?;
    ensure!((single.bytes.expose(), single.version.as_str()) == (CANARY.as_bytes(), id.as_str()));
    ensure!(single.created.is_none(), "when the parameter was looked at is not when the version was made");
    let answers = store.read_all(&locators).await;
    ensure!(answers[0].as_ref().is_ok_and(|value| value.version == id));
    refused(&*parameters, answers[1].clone(), StoreErrorKind::Malformed)?;
    Ok(())
}

pub async fn denied(parameters: Shared) -> Result<()> {
    let refusing = json!({ "__type": "AccessDeniedException", "message": CANARY }).to_string();
    let address = stub::answering(move |_| stub::http("400 Bad Request", "", &refusing)).await?;
    let store = opened(&*parameters, Some(&address)).await?;
    let error = refused(&*parameters, store.read(&format!("{BELOW}shop/db")).await, StoreErrorKind::Denied)?;
    ensure!(error.text.contains("secretsmanager:GetSecretValue"), "{error}");
    Ok(())
}

pub async fn not_written(parameters: Shared) -> Result<()> {
    let store = opened(&*parameters, None).await?;
    let written = store.write(&format!("{BELOW}shop/db"), None, b"a").await;
    let error = refused(&*parameters, written, StoreErrorKind::InvalidKey)?;
    ensure!(error.text.contains("key \"shop/db\" through a store with service SecretsManager"), "{error}");
    Ok(())
}
