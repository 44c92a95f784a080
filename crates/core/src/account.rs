//! The `ServiceAccount`s that a store logs in as: which namespace they come from, and which audiences their tokens may
//! have.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rekey_api::reference::{NamespaceFrom, ServiceAccountRef, StoreKind};
use serde_json::Value;

use crate::{SecretBytes, SpecError};

/// Checks the `ServiceAccount`s of a store, each with the path of its field, and says whose namespace they are from. `known`:
/// audiences of the API server beside its usual ones.
///
/// Whoever sees a token for an audience of the API server could act as the `ServiceAccount`.
///
/// # Errors
/// For an audience of the API server, and for accounts of consumers where the store itself is theirs.
pub fn check<'a>(
    kind: StoreKind,
    accounts: impl Iterator<Item = (&'static str, &'a ServiceAccountRef)>,
    known: &[String],
) -> Result<NamespaceFrom, SpecError> {
    let mut from = NamespaceFrom::Operator;
    for (field, account) in accounts {
        if let Some(audience) = account.audiences.iter().find(|audience| is_api_server(audience, known)) {
            let fix = format!("{audience:?} is an audience of the API server; name the store's own, for example vault");
            return Err(SpecError::field(&format!("{field}.audiences"), fix));
        }
        match (kind, account.namespace_from) {
            (_, None) => {}
            (StoreKind::ClusterRemoteStore, Some(wanted)) => from = wanted,
            (StoreKind::RemoteStore, Some(NamespaceFrom::Operator | NamespaceFrom::Consumer)) => {
                let fix = "remove it; a RemoteStore uses ServiceAccounts of its own namespace";
                return Err(SpecError::field(&format!("{field}.namespaceFrom"), fix));
            }
        }
    }
    Ok(from)
}

/// The audiences and the issuer of one of the API server's tokens: by default the issuer is an audience. Empty for any
/// other text.
#[must_use]
pub fn audiences(token: &SecretBytes) -> Vec<String> {
    let claims = token.expose_text().and_then(|text| text.split('.').nth(1));
    let claims = claims.and_then(|claims| URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok());
    let claims: Value = claims.and_then(|claims| serde_json::from_slice(&claims).ok()).unwrap_or_default();
    let texts = |claim: &Value| match claim {
        Value::String(text) => vec![text.clone()],
        Value::Array(texts) => texts.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
    };
    [texts(&claims["aud"]), texts(&claims["iss"])].concat()
}

/// The names of the API server by default
/// (<https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/>, `--api-audiences`: by default
/// the issuer of its tokens, `https://kubernetes.default.svc` with the cluster's domain).
const DEFAULTS: [&str; 2] = ["https://kubernetes.default", "kubernetes.default"];

/// Whether the API server would accept a token for `audience`.
fn is_api_server(audience: &str, known: &[String]) -> bool {
    let plain = |text: &str| text.trim().trim_end_matches('/').to_ascii_lowercase();
    let asked = plain(audience);
    DEFAULTS.iter().any(|default| {
        asked.strip_prefix(default).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', ':', '/']))
    }) || known.iter().any(|own| plain(own) == asked)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_tells_audiences_and_issuer() {
        let token = |claims: &Value| {
            let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
            SecretBytes::from(format!("{}.{}.c2ln", part(&json!({"alg": "RS256"})), part(claims)))
        };
        for (claims, expected) in [
            (json!({"aud": ["https://a", "k3s"], "iss": "https://b"}), vec!["https://a", "k3s", "https://b"]),
            (json!({"aud": "https://a"}), vec!["https://a"]),
            (json!({"sub": "x"}), vec![]),
        ] {
            assert_eq!(audiences(&token(&claims)), expected, "{claims}");
        }
        for text in ["", "no token", "a.b.c"] {
            assert!(audiences(&SecretBytes::from(text.to_owned())).is_empty(), "{text}");
        }
    }

    #[test]
    fn only_the_api_servers_own_are_refused() {
        let known = ["https://oidc.eks.example/id/1".to_owned()];
        for (audience, expected) in [
            ("vault", false),
            ("sts.amazonaws.com", false),
            ("https://vault.infra", false),
            ("https://kubernetes.defaults.example", false),
            ("https://kubernetes.default.svc", true),
            ("https://kubernetes.default.svc.cluster.local", true),
            ("https://kubernetes.default.svc/", true),
            ("HTTPS://Kubernetes.default", true),
            ("kubernetes.default.svc", true),
            ("https://oidc.eks.example/id/1", true),
            ("https://oidc.eks.example/id/1/", true),
            ("https://oidc.eks.example/id/2", false),
        ] {
            assert_eq!(is_api_server(audience, &known), expected, "{audience}");
        }
    }
}
