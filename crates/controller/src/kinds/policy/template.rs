//! Templates in other objects of the namespace, read at each need and never kept.

use std::fmt::Debug;

use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{Api, Resource};
use rekey_core::{
    SecretBytes,
    consent::{Credential, Reader},
    policy::{PolicySpec, TemplateKind, TemplateRef},
    render::RenderError,
};
use serde::de::DeserializeOwned;

use super::Policies;
use crate::{
    cluster::ObjectName,
    error::{Error, Operation, status},
    stores::consent,
};

/// Reads a template.
///
/// # Errors
/// When it is not there, the policy may not use it, or the API server refuses.
pub async fn read(ctx: &Policies, policy: &PolicySpec, reference: &TemplateRef) -> Result<SecretBytes, Error> {
    let key = &reference.key;
    let text = match reference.kind {
        TemplateKind::ConfigMap => {
            let config: ConfigMap = get(ctx, policy, reference).await?;
            config.data.and_then(|mut data| data.remove(key)).map(SecretBytes::from)
        }
        TemplateKind::Secret => {
            let secret: Secret = get(ctx, policy, reference).await?;
            let reader = Reader { label: format!("SecretPolicy/{}", policy.name) };
            let credential = Credential { namespace: &policy.namespace, name: &reference.name };
            let consent = consent(&secret, ctx.settings.require_consent);
            reader.check(credential, consent).map_err(Error::store("read", "the template"))?;
            secret.data.and_then(|mut data| data.remove(key)).map(|value| SecretBytes::new(value.0))
        }
    };
    let (kind, field) = named(reference.kind);
    text.ok_or_else(|| missing(format!("{kind} {:?} has no key {key:?}; add it, or fix {field}.key", reference.name)))
}

async fn get<K>(ctx: &Policies, policy: &PolicySpec, reference: &TemplateRef) -> Result<K, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let (namespace, name) = (policy.namespace.as_str(), reference.name.as_str());
    let api: Api<K> = Api::namespaced(ctx.client.clone(), namespace);
    api.get(name).await.map_err(|error| {
        if status(&error) == Some(404) {
            let (kind, field) = named(reference.kind);
            return missing(format!("{kind} {name:?} does not exist; create it, or fix {field}.name"));
        }
        let operation = match reference.kind {
            TemplateKind::ConfigMap => Operation::ReadConfigMap,
            TemplateKind::Secret => Operation::ReadSecret,
        };
        Error::api(operation, ObjectName::new(namespace, name))(error)
    })
}

/// The kind, and the field that names an object of it.
fn named(kind: TemplateKind) -> (&'static str, &'static str) {
    match kind {
        TemplateKind::ConfigMap => ("ConfigMap", "configMapRef"),
        TemplateKind::Secret => ("Secret", "secretRef"),
    }
}

fn missing(text: String) -> Error {
    Error::Spec(RenderError::TemplateMissing { text }.into())
}
