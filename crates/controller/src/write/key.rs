//! The installation's digest key: a Secret in the operator's namespace, made at first start.

use std::time::Duration;

use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Client, api::PostParams};
use rekey_api::{condition::Class, names};
use rekey_core::{SecretBytes, SpecError, chance::Chance, digest::DigestKey};

use crate::error::{Error, Operation, status};

const NAME: &str = "rekey-digest-key";
const FIELD: &str = "key";
/// A shorter key could be guessed, and with it the values.
const LENGTH: usize = 32;

/// A start waits no longer than this between two attempts: nothing works before the key is there.
const LONGEST: Duration = Duration::from_secs(10);

/// The key, as soon as the API server gives it: one that refuses for a moment is no reason to end.
///
/// # Errors
/// When there is a key that cannot be used.
pub async fn wait(client: &Client, namespace: &str, chance: &dyn Chance) -> Result<DigestKey, Error> {
    let mut failures = 0;
    loop {
        let error = match load(client, namespace, chance).await {
            Err(error) if error.class() != Class::Spec => error,
            result => return result,
        };
        failures += 1;
        let delay = error.delay(failures).unwrap_or(LONGEST).min(LONGEST);
        tracing::warn!(
            retry = delay.as_secs_f64(),
            "the digest key cannot be loaded yet, and nothing starts without it: {error}"
        );
        tokio::time::sleep(delay).await;
    }
}

/// Reads the key, or makes it. Losing it restarts no workload: digests are made again, and start times show what pods
/// hold.
///
/// # Errors
/// When the API server refuses.
async fn load(client: &Client, namespace: &str, chance: &dyn Chance) -> Result<DigestKey, Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let object = || format!("Secret {namespace}/{NAME}");
    let found = api.get_opt(NAME).await.map_err(Error::api(Operation::ReadDigestKey, object()))?;
    let secret = match found {
        Some(secret) => secret,
        None => match api.create(&PostParams::default(), &fresh(chance)).await {
            Ok(secret) => secret,
            Err(error) if status(&error) == Some(409) => {
                api.get(NAME).await.map_err(Error::api(Operation::ReadDigestKey, object()))?
            }
            Err(error) => return Err(Error::api(Operation::CreateDigestKey, object())(error)),
        },
    };
    let key = secret.data.and_then(|mut data| data.remove(FIELD)).map(|value| value.0).unwrap_or_default();
    if key.len() < LENGTH {
        let fix = format!(
            "{} holds no key {FIELD:?} of {LENGTH} bytes; delete it, and Rekey makes a new one (`kubectl delete secret \
             {NAME} -n {namespace}`)",
            object()
        );
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

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        sync::{Arc, Mutex},
    };

    use kube::client::Body;
    use rekey_api::condition::Reason;
    use serde_json::{Value, json};
    use tokio::time::Instant;

    use super::*;

    struct Zeros;

    impl Chance for Zeros {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(0);
        }
    }

    /// A client whose server gives these answers, one after the other.
    fn client(answers: Vec<(u16, Value)>) -> Client {
        let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
        let service = tower::service_fn(move |_: http::Request<Body>| {
            let (code, body) = answers.lock().unwrap().pop_front().unwrap();
            let answer = http::Response::builder().status(code).body(Body::from(body.to_string().into_bytes()));
            async move { answer }
        });
        Client::new(service, "default")
    }

    fn refused(code: u16) -> (u16, Value) {
        let reason = if code == 404 { "NotFound" } else { "Refused" };
        (code, json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason}))
    }

    fn secret(code: u16, key: &[u8]) -> (u16, Value) {
        let mut secret = json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": NAME}});
        secret["data"] = json!({FIELD: ByteString(key.to_vec())});
        (code, secret)
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_refuses_for_a_moment_is_asked_again() {
        let busy = [503, 500, 403, 429].map(refused).to_vec();
        let start = Instant::now();
        let made = [busy, vec![refused(404), refused(503), refused(404), secret(201, &[7; LENGTH])]].concat();
        let key = wait(&client(made), "rekey-system", &Zeros).await.unwrap();
        assert_eq!(key, DigestKey::new(SecretBytes::new(vec![7; LENGTH])));
        assert_eq!(start.elapsed().as_secs(), 1 + 2 + 10 + 8 + 10, "longer each time, and never for long");
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_cannot_be_used_is_said_at_once() {
        let error = wait(&client(vec![secret(200, b"short")]), "rekey-system", &Zeros).await.unwrap_err();
        assert_eq!(error.reason(), Reason::InvalidSpec);
        assert!(error.to_string().contains("delete it, and Rekey makes a new one"), "{error}");
    }
}
