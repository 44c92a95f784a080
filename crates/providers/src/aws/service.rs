//! What the services of AWS have in common: where they are, what the spec allows, and who we are to them.

use std::sync::Arc;

use rekey_api::store::Capability;
use rekey_core::store::{Probe, StoreError};

use super::{
    clients::Clients,
    errors::{Attempt, translate},
    login::{Keys, Source},
};
use crate::{http::within, rights::Rights, session::Shared};

/// A service of one account and region.
pub(super) struct Service {
    /// Where it is, for texts.
    pub place: String,
    /// What the spec lets us do.
    pub rights: Rights,
    /// Whether the user chose the endpoint, which may not serve STS.
    overridden: bool,
    session: Shared<Keys>,
}

impl Service {
    /// The service `name`. Reads the credential at the first call.
    pub(super) fn new(name: &str, rights: Rights, keys: Keys) -> Self {
        let place = format!("{name} ({})", keys.connection.at);
        Self { place, rights, overridden: keys.connection.endpoint.is_some(), session: Shared::new(keys) }
    }

    /// Something that is tried here, and the permission it takes.
    pub(super) fn attempt<'a>(&'a self, what: &'a str, action: &'a str) -> Attempt<'a> {
        Attempt { what, place: &self.place, action }
    }

    /// Makes calls with the shared login, within the deadline.
    pub(super) async fn call<T, F, R>(&self, call: F) -> Result<T, StoreError>
    where
        F: Fn(Arc<Clients>) -> R + Send + Sync,
        R: Future<Output = Result<T, StoreError>> + Send,
    {
        within(&self.place, self.session.call(call)).await
    }

    /// Says who we are. Where there is no STS, `known` asks the service itself whether it knows the credential.
    pub(super) async fn probe<R>(&self, known: impl Fn(Arc<Clients>) -> R + Send + Sync) -> Result<Probe, StoreError>
    where
        R: Future<Output = Result<bool, StoreError>> + Send,
    {
        let known = &known;
        let identity = self.call(|clients| async move {
            let attempt = self.attempt("asking for the caller's identity", "sts:GetCallerIdentity");
            match clients.sts.get_caller_identity().send().await {
                Ok(answer) => Ok(self.identity(answer.arn.as_deref().unwrap_or("a caller without ARN"))),
                Err(_) if self.overridden && known(Arc::clone(&clients)).await? => {
                    Ok(format!("{} at {}", self.session.login().who(), self.place))
                }
                Err(error) => Err(translate(&error, attempt)),
            }
        });
        let mut capabilities = self.rights.capabilities();
        capabilities.push(Capability::Find);
        Ok(Probe { identity: identity.await?, capabilities })
    }

    fn identity(&self, arn: &str) -> String {
        let caller = caller(arn);
        match &self.session.login().source {
            Source::KeyPair(_) => caller,
            Source::Account { name, .. } => format!("{caller} by ServiceAccount {name}"),
            Source::Own(_) => format!("{caller} by the operator's own credentials"),
        }
    }
}

/// A caller in words: the role and its account without the session, else the ARN.
fn caller(arn: &str) -> String {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let role = match parts[..] {
        ["arn", _, "sts", _, account, caller] => caller
            .strip_prefix("assumed-role/")
            .and_then(|named| named.rsplit_once('/'))
            .map(|(role, _)| format!("role {role} in account {account}")),
        _ => None,
    };
    // It comes from a server and people see it: short and printable.
    let shown = role.unwrap_or_else(|| arn.to_owned());
    shown.chars().filter(|letter| letter.is_ascii_graphic() || *letter == ' ').take(256).collect()
}

#[cfg(test)]
mod tests {
    use super::caller;

    #[test]
    fn callers() {
        let table = [
            ("arn:aws:iam::123456789012:user/shop", "arn:aws:iam::123456789012:user/shop"),
            ("arn:aws:iam::123456789012:root", "arn:aws:iam::123456789012:root"),
            ("arn:aws:sts::123456789012:assumed-role/reader/rekey", "role reader in account 123456789012"),
            ("arn:aws-cn:sts::123456789012:assumed-role/reader/a:b", "role reader in account 123456789012"),
            ("a caller without ARN", "a caller without ARN"),
            ("arn:\u{1b}[31m", "arn:[31m"),
        ];
        for (arn, text) in table {
            assert_eq!(caller(arn), text, "{arn}");
        }
    }
}
