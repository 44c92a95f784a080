//! A new value of a parameter. AWS has no check-and-set: we read the version before the write, and the version that the
//! write has made shows whether another tool wrote in between. If so, its value is overwritten and only in the
//! parameter's history.

use aws_sdk_ssm::types::{ParameterStringFilter, ParameterType};
use rekey_core::store::{StoreError, StoreErrorKind, Write};

use super::{ParameterStore, names};
use crate::aws::{
    clients::Clients,
    errors::{is_code, translate},
};

/// The largest value of a parameter in the standard tier.
const STANDARD: usize = 4_096;
/// The largest value of a parameter in the advanced tier.
const ADVANCED: usize = 8_192;

/// A parameter as it is before the write.
struct Seen {
    version: i64,
    kind: ParameterType,
}

/// The value as text.
///
/// # Errors
/// `Invalid` when no parameter can hold it.
pub(super) fn text(write: &Write) -> Result<&str, StoreError> {
    names::check(&write.key)?;
    if let Some(secret) = names::referenced(&write.key) {
        let text = format!(
            "writing {:?}: it is a secret of Secrets Manager; write key {secret:?} through a store with service \
             SecretsManager",
            write.key
        );
        return Err(StoreError::new(StoreErrorKind::InvalidKey, text));
    }
    let invalid = |why: &str| StoreError::new(StoreErrorKind::Invalid, format!("writing {:?}: {why}", write.key));
    if write.bytes.is_empty() || write.bytes.len() > ADVANCED {
        return Err(invalid(&format!(
            "Parameter Store takes values of 1 to {STANDARD} bytes in the standard tier, and to {ADVANCED} in the \
             advanced tier"
        )));
    }
    write.bytes.expose_text().ok_or_else(|| invalid("Parameter Store holds only text, and this is not UTF-8"))
}

impl ParameterStore {
    pub(super) async fn write_with(&self, clients: &Clients, write: &Write, text: &str) -> Result<String, StoreError> {
        let key = &write.key;
        let conflict = |why: String| StoreError::new(StoreErrorKind::Conflict, format!("writing {key:?}: {why}"));
        let seen = self.seen(clients, key).await?;
        let request = clients.parameters.put_parameter().name(key).value(text);
        let (request, before) = match (&write.base, seen) {
            (None, None) => (request.r#type(ParameterType::SecureString).overwrite(false), 0),
            (None, Some(_)) => return Err(conflict("the parameter exists already".to_owned())),
            (Some(base), None) => {
                return Err(conflict(format!("version {base} should be current, but the parameter is gone")));
            }
            (Some(base), Some(Seen { version, .. })) if *base != version.to_string() => {
                return Err(conflict(format!("version {base} should be current, but {version} is")));
            }
            (Some(_), Some(Seen { version, kind })) => {
                // Without a key AWS would replace the parameter's key by the account's default.
                let encryption = match kind {
                    ParameterType::SecureString => self.encryption(clients, key).await?,
                    _ => None,
                };
                (request.r#type(kind).set_key_id(encryption).overwrite(true), version)
            }
        };
        let what = format!("writing {key:?}");
        let attempt = self.service.attempt(&what, "ssm:PutParameter");
        let version = match request.send().await {
            Ok(answer) => answer.version,
            Err(error) if is_code(&error, "ParameterAlreadyExists") => {
                return Err(conflict("another tool has just created the parameter".to_owned()));
            }
            Err(error) => return Err(explained(translate(&error, attempt), text)),
        };
        if version == before + 1 {
            return Ok(version.to_string());
        }
        Err(conflict(format!("version {before} became version {version}: another tool wrote at the same time")))
    }

    /// The parameter as it is; its value is not decrypted, and not looked at.
    async fn seen(&self, clients: &Clients, key: &str) -> Result<Option<Seen>, StoreError> {
        let what = format!("reading the version of {key:?}");
        let attempt = self.service.attempt(&what, "ssm:GetParameter");
        let answer = match clients.parameters.get_parameter().name(key).with_decryption(false).send().await {
            Err(error) if is_code(&error, "ParameterNotFound") => return Ok(None),
            result => result.map_err(|error| translate(&error, attempt))?,
        };
        let seen =
            answer.parameter.and_then(|parameter| Some(Seen { version: parameter.version, kind: parameter.r#type? }));
        seen.map(Some).ok_or_else(|| {
            let text = format!("{what} at {}: the answer holds no parameter or no type", self.service.place);
            StoreError::new(StoreErrorKind::Malformed, text)
        })
    }

    /// The KMS key of an encrypted parameter.
    async fn encryption(&self, clients: &Clients, key: &str) -> Result<Option<String>, StoreError> {
        let what = format!("reading the KMS key of {key:?}");
        let attempt = self.service.attempt(&what, "ssm:DescribeParameters");
        let filter = ParameterStringFilter::builder().key("Name").option("Equals").values(key).build();
        let filter = filter.map_err(|_| StoreError::new(StoreErrorKind::Invalid, format!("{what}: no name")))?;
        let request = clients.parameters.describe_parameters().parameter_filters(filter);
        let answer = request.send().await.map_err(|error| translate(&error, attempt))?;
        let mut listed = answer.parameters.unwrap_or_default().into_iter();
        let found = listed.find(|parameter| parameter.name() == Some(key));
        let found = found.ok_or_else(|| {
            // Lists lag behind. A guess would change the key.
            let text = format!("{what} at {}: the parameter is not listed yet", self.service.place);
            StoreError::new(StoreErrorKind::Unavailable, text)
        })?;
        Ok(found.key_id)
    }
}

/// Adds the tier to the refusal of a value that fits only the advanced one.
fn explained(mut error: StoreError, text: &str) -> StoreError {
    if error.kind == StoreErrorKind::Invalid && text.len() > STANDARD {
        error.text = format!(
            "{}; a value of more than {STANDARD} bytes needs a parameter of the advanced tier, which costs money, so \
             Rekey does not choose it",
            error.text
        );
    }
    error
}
