//! AWS Secrets Manager.

mod batch;
mod names;
mod stages;
mod tags;
mod write;

use std::sync::{Arc, atomic::AtomicBool};

use async_trait::async_trait;
use aws_sdk_secretsmanager::types::{Filter, FilterNameStringType, SecretListEntry};
use aws_smithy_types::Blob;
use chrono::{DateTime, Utc};
use rekey_core::{
    SecretBytes,
    store::{
        Allowance, Locator, Pin, Probe, RemoteValue, Respelling, Search, Store, StoreError, StoreErrorKind, Write,
    },
};
use uuid::Uuid;

use self::stages::CURRENT;
use super::{
    batches::{self, Batches as _},
    clients::Clients,
    errors::{knows_caller, translate},
    found::Found,
    login::Keys,
    service::Service,
    time,
};
use crate::{http::with_allowance, rights::Rights};

/// The largest value Secrets Manager takes.
const LARGEST: usize = 65_536;

/// Secrets Manager of one account and region.
pub(super) struct SecretsManager {
    service: Service,
    /// Whether we may read several secrets in one call; true until AWS refuses it.
    batches: AtomicBool,
}

impl SecretsManager {
    /// The store. Reads the credential at the first call.
    pub(super) fn new(rights: Rights, keys: Keys) -> Self {
        Self { service: Service::new("Secrets Manager", rights, keys), batches: AtomicBool::new(true) }
    }

    async fn read_with(&self, clients: &Clients, locator: &Locator) -> Result<RemoteValue, StoreError> {
        let request = clients.secrets.get_secret_value().secret_id(&locator.key);
        let (request, named) = match &locator.pin {
            Pin::Metadata => return self.tags(clients, &locator.key).await,
            Pin::Current => (request.version_stage(CURRENT), String::new()),
            Pin::Version(version) => (request.version_id(version), format!(" version {version:?}")),
            Pin::Stage(stage) => (request.version_stage(stage), format!(" stage {stage:?}")),
        };
        let what = format!("reading {:?}{named}", locator.key);
        let attempt = self.service.attempt(&what, "secretsmanager:GetSecretValue");
        let answer = request.send().await.map_err(|error| translate(&error, attempt))?;
        let created = time(answer.created_date);
        value(answer.secret_string, answer.secret_binary, answer.version_id, created).ok_or_else(|| {
            let text = format!("{what} at {}: the answer holds no value or no version", self.service.place);
            StoreError::new(StoreErrorKind::Malformed, text)
        })
    }

    async fn find_with(
        &self,
        clients: &Clients,
        search: &Search,
        allowance: &Allowance,
    ) -> Result<Vec<String>, StoreError> {
        let attempt = self.service.attempt("listing secrets", "secretsmanager:ListSecrets");
        let filters = filters(search);
        let filters = (!filters.is_empty()).then_some(filters);
        let (mut found, mut next) = (Found::new(search, allowance), None);
        loop {
            let request = clients.secrets.list_secrets().max_results(100).set_filters(filters.clone());
            let page = request.set_next_token(next).send().await.map_err(|error| translate(&error, attempt))?;
            let carries = |secret: &SecretListEntry| {
                let is = |(key, value): (&String, &String)| {
                    secret.tags().iter().any(|tag| tag.key() == Some(key) && tag.value() == Some(value))
                };
                search.tags.iter().all(is)
            };
            found
                .add(page.secret_list.unwrap_or_default().into_iter().filter(carries).filter_map(|entry| entry.name))?;
            next = page.next_token.filter(|token| !token.is_empty());
            if next.is_none() {
                return Ok(found.into_keys());
            }
        }
    }
}

/// The part of a search that AWS can do. Its filters match prefixes, so we check the answers again.
fn filters(search: &Search) -> Vec<Filter> {
    let path = search.path.as_deref().map(|path| path.trim_end_matches('/'));
    let mut wanted: Vec<_> = path.map(|path| (FilterNameStringType::Name, path)).into_iter().collect();
    if let Some((key, value)) = search.tags.iter().next() {
        wanted.extend([(FilterNameStringType::TagKey, key.as_str()), (FilterNameStringType::TagValue, value.as_str())]);
    }
    wanted.retain(|(_, value)| is_filter(value));
    wanted.into_iter().map(|(key, value)| Filter::builder().key(key).values(value).build()).collect()
}

/// Whether AWS takes this as a prefix; a leading `!` would negate the filter.
fn is_filter(value: &str) -> bool {
    let allowed = |letter: u8| letter.is_ascii_alphanumeric() || b" :_@/+=.-!".contains(&letter);
    !value.is_empty() && value.len() <= 512 && value.bytes().all(allowed) && !value.starts_with('!')
}

fn value(
    text: Option<String>,
    binary: Option<Blob>,
    version: Option<String>,
    created: Option<DateTime<Utc>>,
) -> Option<RemoteValue> {
    let bytes = match (text, binary) {
        (Some(text), _) => SecretBytes::from(text),
        (None, Some(binary)) => SecretBytes::new(binary.into_inner()),
        (None, None) => return None,
    };
    version.map(|version| RemoteValue { bytes, version, created })
}

#[async_trait]
impl Store for SecretsManager {
    async fn probe(&self) -> Result<Probe, StoreError> {
        // AWS refuses the secret, which does not exist, but not the caller.
        let attempt = self.service.attempt("trying the credential", "secretsmanager:DescribeSecret");
        let known = |clients: Arc<Clients>| async move {
            knows_caller(clients.secrets.describe_secret().secret_id("rekey-probe").send().await, attempt)
        };
        self.service.probe(known).await
    }

    async fn read(&self, locator: &Locator) -> Result<RemoteValue, StoreError> {
        names::check(&locator.key)?;
        self.service.call(|clients| async move { self.read_with(&clients, locator).await }).await
    }

    async fn read_all(&self, locators: &[Locator], allowance: &Allowance) -> Vec<Result<RemoteValue, StoreError>> {
        batches::read_all(self, locators, allowance).await
    }

    fn respellings(&self, key: &str) -> Vec<Respelling> {
        names::respellings(key)
    }

    fn values_per_request(&self) -> usize {
        Self::MOST
    }

    async fn find(&self, search: &Search, allowance: &Allowance) -> Result<Vec<String>, StoreError> {
        let call = |clients: Arc<Clients>| async move { self.find_with(&clients, search, allowance).await };
        with_allowance(allowance, self.service.call(call)).await
    }

    async fn write(&self, write: &Write) -> Result<String, StoreError> {
        self.service.rights.write()?;
        names::check(&write.key)?;
        if write.bytes.is_empty() || write.bytes.len() > LARGEST {
            let text = format!("writing {:?}: Secrets Manager takes values of 1 to {LARGEST} bytes", write.key);
            return Err(StoreError::new(StoreErrorKind::Invalid, text));
        }
        self.service.call(|clients| async move { self.write_with(&clients, write).await }).await
    }

    async fn finish(&self, key: &str, version: &str) -> Result<(), StoreError> {
        let Ok(token) = Uuid::parse_str(version) else {
            return Ok(()); // not a version of ours
        };
        let write = &Write { key: key.to_owned(), base: None, token, bytes: SecretBytes::default() };
        let call = self.service.call(|clients| async move {
            let seen = self.stages(&clients, key).await?;
            let ours = Some(version.to_owned());
            if seen.is_some_and(|seen| seen.current == ours && seen.pending == ours) {
                self.unmark(&clients, write).await;
            }
            Ok(())
        });
        call.await
    }
}
