//! Names of secrets in Secrets Manager, as people write them.

use std::sync::Arc;

use anyhow::{Result, ensure};
use rekey_core::store::{Respelling, StoreErrorKind};

use crate::{
    aws::Aws,
    subject::{Subject, opened, refused},
};

pub async fn names(aws: Arc<Aws>) -> Result<()> {
    let store = opened(&*aws, None).await?;
    for key in
        ["", "/", " shop/db", "shop%2Fdb", "shop/db:AWSPREVIOUS", "arn:aws:ssm:eu-west-1:123456789012:parameter/a"]
    {
        let error = refused(&*aws, store.read(key).await, StoreErrorKind::InvalidKey)?;
        ensure!(error.text.contains("write "), "{error}");
        refused(&*aws, store.write(key, None, b"a").await, StoreErrorKind::InvalidKey)?;
    }
    // A name may start with a slash, and is another one then.
    let (bare, slashed) = (aws.key("slash"), format!("/{}", aws.key("slash-before")));
    for key in [&bare, &slashed] {
        aws.put(key, key.as_bytes()).await?;
        ensure!(store.read(key).await?.0 == key.as_bytes(), "{key}");
    }
    let asked = format!("/{bare}");
    refused(&*aws, store.read(&asked).await, StoreErrorKind::NotFound)?;
    ensure!(store.store.respellings(&asked) == [Respelling::Same(bare)]);
    Ok(())
}
