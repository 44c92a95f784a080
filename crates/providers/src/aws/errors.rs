//! What the failures of AWS mean. We match codes and never show messages, since they may quote the request.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use rekey_api::condition::Reason;
use rekey_core::store::{StoreError, StoreErrorKind};

use crate::http::{Failure, find, retry_after};

/// What was tried, and where.
#[derive(Clone, Copy)]
pub(super) struct Attempt<'a> {
    /// For example `reading "shop/orders-db"`.
    pub what: &'a str,
    /// The service and region or host.
    pub place: &'a str,
    /// The permission that it needs.
    pub action: &'a str,
}

/// The failure of a call in the words of the port.
pub(super) fn translate<E>(error: &SdkError<E, HttpResponse>, attempt: Attempt<'_>) -> StoreError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let Attempt { what, place, .. } = attempt;
    if let Some(missing) = find::<CredentialsError>(error) {
        return without_credential(missing, attempt);
    }
    if let Some(failure) = find::<Failure>(error) {
        return failure.error(place);
    }
    match error {
        SdkError::ServiceError(answer) if !answer.raw().status().is_success() => {
            let status = answer.raw().status().as_u16();
            let wait = answer.raw().headers().get("retry-after").and_then(retry_after);
            let meaning = Meaning::of(answer.err().meta().code(), answer.err().meta().message(), status);
            meaning.error(attempt, status).retry_after(wait)
        }
        // Not in the form of AWS, but a refusal or a failure: of a proxy, or of a gateway before the service.
        SdkError::ResponseError(answer) if !answer.raw().status().is_success() => {
            let status = answer.raw().status().as_u16();
            let wait = answer.raw().headers().get("retry-after").and_then(retry_after);
            Meaning::of_status(status).error(attempt, status).retry_after(wait)
        }
        SdkError::TimeoutError(_) => Failure::Timeout.error(place),
        SdkError::DispatchFailure(_) => Failure::Broken.error(place),
        SdkError::ResponseError(_) | SdkError::ServiceError(_) => {
            let text =
                format!("{what} at {place}: the answer does not come from AWS; check spec.provider.aws.endpoint");
            StoreError::new(StoreErrorKind::Malformed, text)
        }
        _ => {
            let text = format!("{what} at {place}: the request cannot be built; check region, endpoint and key");
            StoreError::new(StoreErrorKind::Invalid, text)
        }
    }
}

/// The failure that the code of an answer names.
pub(super) fn of_code(code: Option<&str>, message: Option<&str>, attempt: Attempt<'_>) -> StoreError {
    Meaning::of(code, message, 400).error(attempt, 400)
}

/// The operator's own chain of credentials gave none.
fn without_credential(error: &CredentialsError, attempt: Attempt<'_>) -> StoreError {
    let (kind, why) = match error {
        CredentialsError::CredentialsNotLoaded(_) => (
            StoreErrorKind::Invalid,
            "the operator has no AWS credentials of its own: give its ServiceAccount a role (EKS Pod Identity or web \
             identity), or set spec.provider.aws.auth",
        ),
        CredentialsError::InvalidConfiguration(_) => {
            (StoreErrorKind::Invalid, "the AWS settings in the operator's environment are not usable")
        }
        CredentialsError::ProviderError(_) if find::<Failure>(error).is_none() => (
            StoreErrorKind::Denied,
            "the source of the operator's own AWS credentials refused: check the role of its ServiceAccount, its trust \
             policy or its Pod Identity association",
        ),
        // Also kinds that a later version of the SDK may add.
        _ => (StoreErrorKind::Unavailable, "the source of the operator's own AWS credentials is not responding"),
    };
    let error = StoreError::new(kind, format!("{} at {}: {why}", attempt.what, attempt.place));
    if kind == StoreErrorKind::Invalid { error.because(Reason::CredentialsNotFound) } else { error }
}

/// Whether the failure is this error of the service.
pub(super) fn is_code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>, code: &str) -> bool {
    matches!(error, SdkError::ServiceError(answer) if answer.err().meta().code() == Some(code))
}

/// What the answer to a probe says about the credential. The probe asks for what is not there: AWS refuses that only
/// after it has recognised the caller.
///
/// # Errors
/// The failure, if it says nothing about the credential.
pub(super) fn knows_caller<T, E>(
    answer: Result<T, SdkError<E, HttpResponse>>,
    attempt: Attempt<'_>,
) -> Result<bool, StoreError>
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match answer {
        Ok(_) => Ok(true),
        Err(error) if is_known_caller(&error) => Ok(true),
        Err(error) => Err(translate(&error, attempt)),
    }
}

/// Whether AWS knew who we are, and refused only what we asked for. Only its own codes prove that, a status does not.
fn is_known_caller<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    ["ResourceNotFoundException", "ParameterNotFound", "AccessDeniedException", "AccessDenied"]
        .iter()
        .any(|code| is_code(error, code))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Missing,
    Deleted,
    Forbidden,
    BadCredential,
    Expired,
    BadToken,
    Encryption,
    Exists,
    Throttled,
    Down,
    Nowhere,
    Refused,
}

impl Meaning {
    fn of(code: Option<&str>, message: Option<&str>, status: u16) -> Self {
        match code.unwrap_or_default() {
            "ResourceNotFoundException" | "ParameterNotFound" | "ParameterVersionNotFound" => Self::Missing,
            "InvalidRequestException" if message.is_some_and(says_deleted) => Self::Deleted,
            "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" | "NotAuthorized" => Self::Forbidden,
            "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "InvalidAccessKeyId"
            | "InvalidSignatureException"
            | "SignatureDoesNotMatch"
            | "IncompleteSignature"
            | "IncompleteSignatureException"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "AuthFailure" => Self::BadCredential,
            "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" => Self::Expired,
            "InvalidIdentityToken" | "IDPRejectedClaim" => Self::BadToken,
            "DecryptionFailure" | "EncryptionFailure" | "InvalidKeyId" => Self::Encryption,
            "ResourceExistsException" | "ParameterAlreadyExists" => Self::Exists,
            "IDPCommunicationError" => Self::Down,
            "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "RequestLimitExceeded"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "TooManyRequestsException"
            | "TooManyUpdates"
            | "SlowDown" => Self::Throttled,
            _ => Self::of_status(status),
        }
    }

    /// Only a code says that a key does not exist, never a status alone: any proxy can answer 404.
    fn of_status(status: u16) -> Self {
        match status {
            401 | 403 => Self::Forbidden,
            404 => Self::Nowhere,
            408 | 500..600 => Self::Down,
            429 => Self::Throttled,
            _ => Self::Refused,
        }
    }

    fn error(self, attempt: Attempt<'_>, status: u16) -> StoreError {
        let Attempt { what, place, action } = attempt;
        let (kind, why) = match self {
            Self::Missing => (StoreErrorKind::NotFound, "there is no such key or version".to_owned()),
            Self::Deleted => (
                StoreErrorKind::NotFound,
                "the secret is scheduled for deletion; restore it with `aws secretsmanager restore-secret`".to_owned(),
            ),
            Self::Forbidden => (
                StoreErrorKind::Denied,
                format!("refused ({status}): check that a policy of this identity allows {action}"),
            ),
            Self::BadCredential => (
                StoreErrorKind::Denied,
                format!(
                    "the credential was refused ({status}): check that the access key exists and is active, that the \
                     secret access key belongs to it, and the clock"
                ),
            ),
            Self::Expired => (
                StoreErrorKind::Denied,
                format!("the credential has expired ({status}): replace it, and check the clock"),
            ),
            Self::BadToken => (
                StoreErrorKind::Denied,
                format!("the token was refused ({status}): check that IAM has an OIDC provider for this cluster"),
            ),
            Self::Encryption => (
                StoreErrorKind::Denied,
                "the KMS key of the value could not be used: check that it is enabled and that its policy allows this \
                 identity kms:Decrypt and kms:GenerateDataKey"
                    .to_owned(),
            ),
            Self::Exists => (StoreErrorKind::Conflict, "it exists already with another value".to_owned()),
            Self::Throttled => (StoreErrorKind::Throttled, "AWS asks us to slow down".to_owned()),
            Self::Down => (StoreErrorKind::Unavailable, format!("the service failed ({status})")),
            Self::Nowhere => (
                StoreErrorKind::Invalid,
                format!(
                    "what responds there ({status}) is not AWS: check spec.provider.aws.endpoint and region, and proxies in \
                     between"
                ),
            ),
            Self::Refused => {
                (StoreErrorKind::Invalid, format!("AWS does not accept this ({status}): check the key and the version"))
            }
        };
        let error = StoreError::new(kind, format!("{what} at {place}: {why}"));
        if matches!(self, Self::Nowhere) { error.because(Reason::StoreNotReady) } else { error }
    }
}

fn says_deleted(message: &str) -> bool {
    ["marked for deletion", "marked deleted", "scheduled for deletion"].iter().any(|words| message.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        use StoreErrorKind::{Conflict, Denied, Invalid, NotFound, Throttled, Unavailable};
        let table = [
            (Some("ResourceNotFoundException"), None, 400, NotFound),
            (Some("InvalidRequestException"), Some("it was marked for deletion."), 400, NotFound),
            (Some("InvalidRequestException"), Some("canary"), 400, Invalid),
            (Some("InvalidParameterException"), Some("canary"), 400, Invalid),
            (Some("AccessDeniedException"), Some("canary"), 400, Denied),
            (Some("UnrecognizedClientException"), None, 400, Denied),
            (Some("InvalidSignatureException"), None, 403, Denied),
            (Some("ExpiredTokenException"), None, 400, Denied),
            (Some("DecryptionFailure"), None, 400, Denied),
            (Some("ResourceExistsException"), None, 400, Conflict),
            (Some("ThrottlingException"), None, 400, Throttled),
            (Some("ParameterNotFound"), Some("canary"), 400, NotFound),
            (Some("ParameterVersionNotFound"), None, 400, NotFound),
            (Some("ParameterAlreadyExists"), None, 400, Conflict),
            (Some("TooManyUpdates"), None, 400, Throttled),
            (Some("InvalidKeyId"), Some("canary"), 400, Denied),
            (Some("InvalidIdentityToken"), Some("canary"), 400, Denied),
            (Some("IDPCommunicationError"), None, 400, Unavailable),
            (Some("InternalServiceError"), None, 500, Unavailable),
            (Some("Unheard"), Some("canary"), 418, Invalid),
            (None, None, 403, Denied),
            (None, Some("canary"), 404, Invalid),
            (Some("UnknownOperationException"), None, 404, Invalid),
            (Some("ParameterNotFound"), None, 404, NotFound),
            (None, None, 429, Throttled),
            (None, None, 503, Unavailable),
        ];
        for (code, message, status, kind) in table {
            let attempt = Attempt { what: "reading", place: "here", action: "secretsmanager:GetSecretValue" };
            let error = Meaning::of(code, message, status).error(attempt, status);
            assert_eq!(error.kind, kind, "{code:?} {status}");
            assert!(!error.text.contains("canary"), "{error}");
            assert!(error.text.starts_with("reading at here: "), "{error}");
        }
    }
}
