//! The installation's digest key: a Secret in the operator's namespace, made at first start.

use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Client, api::PostParams};
use rekey_api::names;
use rekey_core::{SecretBytes, SpecError, chance::Chance, digest::DigestKey};

use crate::error::{Error, status};

const NAME: &str = "rekey-digest-key";
const FIELD: &str = "key";
/// A shorter key could be guessed, and with it the values.
const LENGTH: usize = 32;

/// Reads the key, or makes it. Losing it restarts nobody: digests are made anew, and what pods hold is told by their
/// start times.
///
/// # Errors
/// When the API server refuses.
pub async fn load(client: &Client, namespace: &str, chance: &dyn Chance) -> Result<DigestKey, Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let object = || format!("Secret {namespace}/{NAME}");
    let found = api.get_opt(NAME).await.map_err(Error::api("read the digest key from", object()))?;
    let secret = match found {
        Some(secret) => secret,
        None => match api.create(&PostParams::default(), &fresh(chance)).await {
            Ok(secret) => secret,
            Err(error) if status(&error) == Some(409) => {
                api.get(NAME).await.map_err(Error::api("read the digest key from", object()))?
            }
            Err(error) => return Err(Error::api("create the digest key in", object())(error)),
        },
    };
    let key = secret.data.and_then(|mut data| data.remove(FIELD)).map(|value| value.0).unwrap_or_default();
    if key.len() < LENGTH {
        let fix = format!("{} holds no key {FIELD:?} of {LENGTH} bytes; delete it, and a new one is made", object());
        return Err(SpecError::field("the digest key", fix).into());
    }
    Ok(DigestKey::new(SecretBytes::new(key)))
}

fn fresh(chance: &dyn Chance) -> Secret {
    let mut key = vec![0; LENGTH];
    chance.fill(&mut key);
    Secret {
        metadata: ObjectMeta {
            name: Some(NAME.to_owned()),
            labels: Some([(names::MANAGED_BY.to_owned(), names::MANAGED_BY_VALUE.to_owned())].into()),
            ..ObjectMeta::default()
        },
        data: Some([(FIELD.to_owned(), ByteString(key))].into()),
        immutable: Some(true),
        ..Secret::default()
    }
}
