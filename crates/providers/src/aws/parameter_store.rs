//! AWS Systems Manager Parameter Store.

mod names;
mod tags;
mod write;

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_ssm::types::{Parameter, ParameterStringFilter};
use rekey_core::{
    SecretBytes,
    store::{
        Allowance, Locator, Pin, Probe, RemoteValue, Respelling, Search, Store, StoreError, StoreErrorKind, Write,
    },
};
use serde::Deserialize;

use super::{
    batches::{self, Answers, Batches},
    clients::Clients,
    errors::{knows_caller, translate},
    found::Found,
    login::Keys,
    service::Service,
    time,
};
use crate::{http::with_allowance, json::is_shallow, rights::Rights};

/// Parameter Store of one account and region.
pub(super) struct ParameterStore {
    service: Service,
}

impl ParameterStore {
    /// The store. Reads the credential at the first call.
    pub(super) fn new(rights: Rights, keys: Keys) -> Self {
        Self { service: Service::new("Parameter Store", rights, keys) }
    }

    async fn read_with(&self, clients: &Clients, key: &str, name: &str) -> Result<RemoteValue, StoreError> {
        let what = match name.strip_prefix(key) {
            Some("") | None => format!("reading {key:?}"),
            Some(selector) => format!("reading {key:?} at {selector:?}"),
        };
        let action = match names::referenced(key) {
            Some(_) => "ssm:GetParameter, and secretsmanager:GetSecretValue on the secret",
            None => "ssm:GetParameter",
        };
        let attempt = self.service.attempt(&what, action);
        let request = clients.parameters.get_parameter().name(name).with_decryption(true);
        let answer = request.send().await.map_err(|error| translate(&error, attempt))?;
        answer.parameter.and_then(|parameter| value(parameter, key)).ok_or_else(|| {
            let text = format!("{what} at {}: the answer holds no value or no version", self.service.place);
            StoreError::new(StoreErrorKind::Malformed, text)
        })
    }

    /// Several parameters in one answer. Single reads follow for what the answer does not hold for sure, and for
    /// everything if one name makes the whole call fail.
    async fn batch_with(&self, clients: &Clients, locators: &[&Locator]) -> Answers {
        let names = locators.iter().filter_map(|locator| names::named(locator).ok()).collect();
        let request = clients.parameters.get_parameters().set_names(Some(names)).with_decryption(true);
        let found = match request.send().await {
            Ok(answer) => answer.parameters.unwrap_or_default(),
            Err(error) => {
                let attempt = self.service.attempt("reading several parameters", "ssm:GetParameters");
                return batches::of_failure(locators, &translate(&error, attempt));
            }
        };
        let answer = |locator: &&Locator| {
            let parameter = found.iter().find(|parameter| is_asked(parameter, locator))?;
            Some(((*locator).clone(), Ok(value(parameter.clone(), &locator.key)?)))
        };
        locators.iter().filter_map(answer).collect()
    }

    async fn find_with(
        &self,
        clients: &Clients,
        search: &Search,
        filters: &[ParameterStringFilter],
        allowance: &Allowance,
    ) -> Result<Vec<String>, StoreError> {
        let attempt = self.service.attempt("listing parameters", "ssm:DescribeParameters");
        let filters = (!filters.is_empty()).then_some(filters.to_vec());
        let (mut found, mut next) = (Found::new(search, allowance), None);
        loop {
            let request = clients.parameters.describe_parameters().max_results(50);
            let request = request.set_parameter_filters(filters.clone()).set_next_token(next);
            let page = request.send().await.map_err(|error| translate(&error, attempt))?;
            found.add(page.parameters.unwrap_or_default().into_iter().filter_map(|parameter| parameter.name))?;
            next = page.next_token.filter(|token| !token.is_empty());
            if next.is_none() {
                return Ok(found.into_keys());
            }
        }
    }
}

/// The filters of a search. AWS lists names without tags, so AWS itself has to filter by tags.
fn filters(search: &Search) -> Result<Vec<ParameterStringFilter>, StoreError> {
    let beginning = names::beginning(search)?.map(|path| ("Name".to_owned(), "BeginsWith", path.to_owned()));
    let tag = |(key, value): (&String, &String)| (format!("tag:{key}"), "Equals", value.clone());
    let wanted = beginning.into_iter().chain(search.tags.iter().map(tag));
    let filter =
        |(key, option, value): (String, &str, String)| {
            ParameterStringFilter::builder().key(key).option(option).values(value).build().map_err(|_| {
                StoreError::new(StoreErrorKind::Invalid, "find cannot be turned into a search for parameters")
            })
        };
    wanted.map(filter).collect()
}

/// The answer for a key. The first version of a parameter is 1; 0 stands for none in the answer, and for a secret of Secrets
/// Manager, whose own version is beside it. Nothing says for sure when that was created.
fn value(parameter: Parameter, key: &str) -> Option<RemoteValue> {
    let (version, created) = if names::referenced(key).is_some() {
        (parameter.source_result().and_then(version_of).unwrap_or_default(), None)
    } else {
        (Some(parameter.version).filter(|version| *version > 0)?.to_string(), time(parameter.last_modified_date))
    };
    Some(RemoteValue { bytes: SecretBytes::from(parameter.value?), version, created })
}

/// The version of the secret that was handed on, from what Secrets Manager has answered.
fn version_of(answer: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(rename = "versionId", alias = "VersionId")]
        version: String,
    }
    if !is_shallow(answer.as_bytes()) {
        return None;
    }
    let Answer { version } = serde_json::from_str(answer).ok()?;
    Some(version).filter(|version| version.len() <= 64 && version.bytes().all(|letter| letter.is_ascii_graphic()))
}

/// Whether the answer belongs to the request. A secret of Secrets Manager may come under its name there; that a
/// parameter is called the same does not matter, since only secrets have version 0.
fn is_asked(parameter: &Parameter, locator: &Locator) -> bool {
    let key = Some(locator.key.as_str());
    let is_whole = parameter.selector().is_none_or(str::is_empty);
    match names::referenced(&locator.key) {
        Some(secret) => {
            parameter.version == 0 && is_whole && (parameter.name() == key || parameter.name() == Some(secret))
        }
        None => parameter.version > 0 && is_whole && (parameter.name() == key || parameter.arn() == key),
    }
}

#[async_trait]
impl Batches for ParameterStore {
    const MOST: usize = 10;

    fn place(&self) -> &str {
        &self.service.place
    }

    fn is_batchable(&self, locator: &Locator) -> bool {
        // Two versions of one key would look alike where the answer leaves out the selector.
        locator.pin == Pin::Current && names::named(locator).is_ok()
    }

    async fn batch(&self, locators: &[&Locator], _left: usize) -> Answers {
        let found = self.service.call(|clients| async move { Ok(self.batch_with(&clients, locators).await) }).await;
        found.unwrap_or_else(|error| batches::same(locators, &error))
    }
}

#[async_trait]
impl Store for ParameterStore {
    async fn probe(&self) -> Result<Probe, StoreError> {
        // AWS refuses the parameter, which does not exist, but not the caller.
        let attempt = self.service.attempt("trying the credential", "ssm:GetParameter");
        let known = |clients: Arc<Clients>| async move {
            knows_caller(clients.parameters.get_parameter().name("rekey-probe").send().await, attempt)
        };
        self.service.probe(known).await
    }

    async fn read(&self, locator: &Locator) -> Result<RemoteValue, StoreError> {
        let name = &names::named(locator)?;
        let call = |clients: Arc<Clients>| async move {
            match locator.pin {
                Pin::Metadata => self.tags(&clients, name).await,
                Pin::Current | Pin::Version(_) | Pin::Stage(_) => self.read_with(&clients, &locator.key, name).await,
            }
        };
        self.service.call(call).await
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
        let filters = &filters(search)?;
        let call = |clients: Arc<Clients>| async move { self.find_with(&clients, search, filters, allowance).await };
        with_allowance(allowance, self.service.call(call)).await
    }

    async fn write(&self, write: &Write) -> Result<String, StoreError> {
        self.service.rights.write()?;
        let text = write::text(write)?;
        self.service.call(|clients| async move { self.write_with(&clients, write, text).await }).await
    }
}
