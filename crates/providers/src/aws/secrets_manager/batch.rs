//! Current values of several secrets in one answer.

use std::sync::{Arc, atomic::Ordering};

use async_trait::async_trait;
use aws_sdk_secretsmanager::types::{ApiErrorType, SecretValueEntry};
use rekey_core::store::{Locator, Pin, StoreErrorKind};

use super::{SecretsManager, names, stages::CURRENT, value};
use crate::aws::{
    batches::{self, Answers, Batches},
    clients::Clients,
    errors::{is_code, of_code, translate},
};

#[async_trait]
impl Batches for SecretsManager {
    const MOST: usize = 20;

    fn place(&self) -> &str {
        &self.service.place
    }

    fn is_batchable(&self, locator: &Locator) -> bool {
        locator.pin == Pin::Current && names::check(&locator.key).is_ok() && self.batches.load(Ordering::Relaxed)
    }

    async fn batch(&self, locators: &[&Locator], left: usize) -> Answers {
        // A refusal is no error here: the single reads that follow find out whether it is the credential.
        let call = |clients: Arc<Clients>| async move { Ok(self.batch_with(&clients, locators, left).await) };
        let found = self.service.call(call).await;
        found.unwrap_or_else(|error| batches::same(locators, &error))
    }
}

impl SecretsManager {
    async fn batch_with(&self, clients: &Clients, locators: &[&Locator], left: usize) -> Answers {
        let attempt = self.service.attempt("reading several secrets", "secretsmanager:BatchGetSecretValue");
        let asked: Vec<String> = locators.iter().map(|locator| locator.key.clone()).collect();
        let (mut answers, mut next) = (Answers::new(), None);
        // A page holds a value at least.
        for _ in locators {
            let request = clients.secrets.batch_get_secret_value().set_secret_id_list(Some(asked.clone()));
            let page = match request.set_next_token(next).send().await {
                Ok(page) => page,
                Err(error) => {
                    if ["AccessDeniedException", "AccessDenied"].iter().any(|code| is_code(&error, code)) {
                        // Remembered, since each attempt costs a call: policies often allow only single reads.
                        self.batches.store(false, Ordering::Relaxed);
                    }
                    answers.extend(batches::of_failure(locators, &translate(&error, attempt)));
                    return answers;
                }
            };
            for entry in page.secret_values.unwrap_or_default() {
                answers.extend(read(locators, entry));
            }
            for error in page.errors.unwrap_or_default() {
                answers.extend(self.refused(locators, &error));
            }
            next = page.next_token.filter(|token| !token.is_empty());
            if next.is_none() || batches::size(&answers) > left {
                break;
            }
        }
        answers
    }

    /// The error of one secret. A refusal is left to the single read, which logs in afresh.
    fn refused(&self, locators: &[&Locator], error: &ApiErrorType) -> Answers {
        let asked = locators.iter().find(|locator| Some(locator.key.as_str()) == error.secret_id());
        let Some(locator) = asked else { return Answers::new() };
        let what = format!("reading {:?}", locator.key);
        let attempt = self.service.attempt(&what, "secretsmanager:GetSecretValue");
        let error = of_code(error.error_code(), error.message(), attempt);
        if error.kind == StoreErrorKind::Denied {
            return Answers::new();
        }
        Answers::from([((*locator).clone(), Err(error))])
    }
}

/// The value of one secret, under the name that we asked for; nothing if it may be another one.
fn read(locators: &[&Locator], entry: SecretValueEntry) -> Answers {
    let is_current = entry.version_stages().iter().any(|stage| stage == CURRENT);
    let (name, arn) = (entry.name, entry.arn);
    let named = |locator: &&&Locator| Some(&locator.key) == name.as_ref() || Some(&locator.key) == arn.as_ref();
    // Its date is documented as that of the secret, while GetSecretValue gives that of the version: the secret's date
    // would make a new version look old.
    let found = value(entry.secret_string, entry.secret_binary, entry.version_id, None).filter(|_| is_current);
    let Some(found) = found else { return Answers::new() };
    locators.iter().filter(named).map(|locator| ((*locator).clone(), Ok(found.clone()))).collect()
}
