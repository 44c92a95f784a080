//! Which calls get a number.

use http::{Method, request::Parts};

use super::call::operation;

/// Every call that may change something, by its method.
#[must_use]
pub fn mutating(parts: &Parts) -> bool {
    [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(&parts.method)
}

/// Changes of objects in Kubernetes: no leases (they follow the clock), events (they come whenever they come), questions
/// (reviews), tokens and dry runs.
#[must_use]
pub fn kubernetes(parts: &Parts) -> bool {
    let path = parts.uri.path();
    let groups = ["coordination.k8s.io", "events.k8s.io", "authentication.k8s.io", "authorization.k8s.io"];
    let of_group = |group: &str| path.strip_prefix("/apis/").is_some_and(|rest| rest.starts_with(group));
    // /api/v1/namespaces/<namespace>/<resource>/<name>/<subresource>; a Secret may be named `events` or `token`.
    let segments: Vec<&str> = path.split('/').collect();
    let aside = match segments.get(5..) {
        Some(["events", ..] | ["serviceaccounts", _, "token"]) => path.starts_with("/api/v1/namespaces/"),
        _ => groups.into_iter().any(of_group),
    };
    mutating(parts) && !aside && !parts.uri.query().is_some_and(|query| query.contains("dryRun="))
}

/// Watches of Kubernetes.
#[must_use]
pub fn watch(parts: &Parts) -> bool {
    let asks = |query: &str| query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1"));
    parts.method == Method::GET && parts.uri.query().is_some_and(asks)
}

/// Changes in Vault and `OpenBao`: no logins and nothing about the caller's own token.
#[must_use]
pub fn vault(parts: &Parts) -> bool {
    let path = parts.uri.path();
    let login = path.starts_with("/v1/auth/") && path.split('/').any(|segment| segment == "login");
    mutating(parts) && !login && !path.starts_with("/v1/auth/token/")
}

/// Changes in AWS services of the JSON protocols, where also questions are a POST.
#[must_use]
pub fn aws(parts: &Parts) -> bool {
    let questions = ["Get", "List", "Describe", "BatchGet", "Validate"];
    operation(parts).is_some_and(|operation| {
        let name = operation.rsplit('.').next().unwrap_or(operation);
        !questions.iter().any(|question| name.starts_with(question))
    })
}

/// Every call.
#[must_use]
pub fn all(_: &Parts) -> bool {
    true
}
