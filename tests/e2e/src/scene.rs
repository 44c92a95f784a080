//! A namespace of its own for one test, opened to the operator, with stores in it.

mod consumers;
mod login;
mod policies;
mod schedules;
mod users;

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Result, ensure};
use k8s_openapi::{
    api::core::v1::{Event, Secret},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams},
};
use rekey_api::{RemoteStore, SecretPolicy};
use serde_json::{Value, json};

use crate::{
    World,
    conditions::{self, check},
    shipped,
    wait::{until, until_equal},
};

/// See the [module documentation](self).
pub struct Scene {
    /// The world it is in.
    pub world: Arc<World>,
    /// Its namespace.
    pub namespace: String,
    /// `rollout.stableFor` of policies that do not say.
    pub stable_for: &'static str,
}

impl Scene {
    /// Tests do not wait longer than they must.
    pub const STABLE_FOR: &str = "1s";

    /// A new namespace, opened, with the stores `vault` and `aws`, which rotations may write to.
    ///
    /// # Errors
    /// When an object is refused.
    pub async fn new(world: &Arc<World>, prefix: &str) -> Result<Self> {
        let scene = Self::closed(world, prefix).await?;
        scene.open().await?;
        scene.vault_store("ReadWrite").await?;
        scene.aws_store("ReadWrite").await?;
        Ok(scene)
    }

    /// A new namespace, not opened, with nothing in it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn closed(world: &Arc<World>, prefix: &str) -> Result<Self> {
        let namespace = world.plane.namespace(prefix).await?;
        Ok(Self { world: Arc::clone(world), namespace, stable_for: Self::STABLE_FOR })
    }

    /// Opens the namespace as a user would: with a `RoleBinding`, and one more for each foreign kind of consumer.
    ///
    /// # Errors
    /// When one is refused.
    pub async fn open(&self) -> Result<()> {
        for role in shipped::NAMESPACE_ROLES {
            self.apply(shipped::binding(&self.namespace, role)).await?;
        }
        Ok(())
    }

    /// A key of this test's own in the stores.
    #[must_use]
    pub fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.namespace)
    }

    /// The store `vault`, with a token from a Secret.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn vault_store(&self, access: &str) -> Result<()> {
        self.vault_store_at(self.world.bao.address(), access).await
    }

    /// The same, reached at another address, such as a proxy's.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn vault_store_at(&self, address: &str, access: &str) -> Result<()> {
        self.secret("vault-token", &[("token", self.world.bao.token())]).await?;
        self.store(
            "vault",
            access,
            json!({"vault": {
                "server": address,
                "mount": "secret",
                "kvVersion": "V2",
                "auth": {"token": {"secretRef": {"name": "vault-token", "key": "token"}}},
            }}),
        )
        .await
    }

    /// The store `aws`, with a key pair from a Secret.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn aws_store(&self, access: &str) -> Result<()> {
        self.aws_store_at(self.world.moto.endpoint(), access).await
    }

    /// The same, reached at another address, such as a proxy's.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn aws_store_at(&self, address: &str, access: &str) -> Result<()> {
        self.secret("aws", &[("id", "test"), ("secret", "test")]).await?;
        self.store("aws", access, aws("SecretsManager", address)).await
    }

    /// A store of parameters, with the key pair of the store `aws`.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn parameter_store(&self, name: &str) -> Result<()> {
        self.store(name, "ReadOnly", aws("ParameterStore", self.world.moto.endpoint())).await
    }

    /// A store.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn store(&self, name: &str, access: &str, provider: Value) -> Result<()> {
        self.apply(json!({
            "apiVersion": "rekey.dev/v1alpha1",
            "kind": "RemoteStore",
            "metadata": {"name": name},
            "spec": {"access": access, "provider": provider},
        }))
        .await
    }

    /// Applies an object in this namespace with all rights.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn apply(&self, mut object: Value) -> Result<()> {
        object["metadata"]["namespace"] = json!(self.namespace);
        self.world.apply(object).await.map(drop)
    }

    /// A Secret that another tool makes.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn secret(&self, name: &str, data: &[(&str, &str)]) -> Result<()> {
        let data: BTreeMap<&str, &str> = data.iter().copied().collect();
        self.apply(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data,
        }))
        .await
    }

    /// An API of this namespace with all rights.
    #[must_use]
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.world.client.clone(), &self.namespace)
    }

    /// Objects of this namespace as they are: typed ones cannot hold every status.
    #[must_use]
    pub fn objects<K: kube::Resource<DynamicType = ()>>(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.world.client.clone(), &self.namespace, &ApiResource::erase::<K>(&()))
    }

    /// Puts an annotation on an object.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn annotate<K>(&self, name: &str, annotation: &str, value: &str) -> Result<()>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + serde::de::DeserializeOwned
            + std::fmt::Debug,
    {
        self.change_annotation::<K>(name, annotation, Some(value)).await
    }

    /// Takes an annotation off an object.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn take_annotation<K>(&self, name: &str, annotation: &str) -> Result<()>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + serde::de::DeserializeOwned
            + std::fmt::Debug,
    {
        self.change_annotation::<K>(name, annotation, None).await
    }

    async fn change_annotation<K>(&self, name: &str, annotation: &str, value: Option<&str>) -> Result<()>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + serde::de::DeserializeOwned
            + std::fmt::Debug,
    {
        let body = json!({"metadata": {"annotations": {annotation: value}}});
        let params = PatchParams { field_manager: Some("somebody".to_owned()), ..PatchParams::default() };
        self.api::<K>().patch(name, &params, &Patch::Merge(&body)).await?;
        Ok(())
    }

    /// Suspends a policy, or lets it go on.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn suspend(&self, policy: &str, suspend: bool) -> Result<()> {
        let body = Patch::Merge(json!({"spec": {"suspend": suspend}}));
        self.api::<SecretPolicy>().patch(policy, &PatchParams::default(), &body).await?;
        Ok(())
    }

    /// A Secret as it is now: its keys with their values as text; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn data(&self, name: &str) -> Result<Option<BTreeMap<String, String>>> {
        let secret = self.api::<Secret>().get_opt(name).await?;
        Ok(secret.map(|secret| {
            let data = secret.data.unwrap_or_default();
            data.into_iter().map(|(key, value)| (key, String::from_utf8_lossy(&value.0).into_owned())).collect()
        }))
    }

    /// Waits until the Secret holds exactly this.
    ///
    /// # Errors
    /// When it does not.
    pub async fn wait_data(&self, name: &str, wanted: &[(&str, &str)]) -> Result<()> {
        let wanted: BTreeMap<String, String> =
            wanted.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        until_equal(&format!("Secret {name}"), Some(wanted), || self.data(name)).await
    }

    /// The conditions of a policy, checked for what must always hold.
    ///
    /// # Errors
    /// When they break a rule.
    pub async fn policy_conditions(&self, name: &str) -> Result<Vec<Condition>> {
        let policy = self.api::<SecretPolicy>().get(name).await?;
        let found = policy.status.map(|status| status.conditions).unwrap_or_default();
        check(&format!("SecretPolicy {name}"), &found)?;
        Ok(found)
    }

    /// Waits until a policy shows this among its conditions (`Ready=True/Synced`), and returns the message.
    ///
    /// # Errors
    /// When it does not.
    pub async fn wait_policy(&self, name: &str, wanted: &str) -> Result<String> {
        let kind = wanted.split('=').next().unwrap_or_default();
        let end = tokio::time::Instant::now() + crate::wait::SOON;
        loop {
            let found = self.policy_conditions(name).await?;
            let shown = conditions::shown(&found);
            if shown.iter().any(|at| at == wanted) {
                return Ok(conditions::message(&found, kind));
            }
            ensure!(tokio::time::Instant::now() < end, "SecretPolicy {name}: wanted {wanted}, last seen: {found:?}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// Waits until a policy is `Ready=True/Synced` and not `Reconciling` any more, with its spec acted on.
    ///
    /// # Errors
    /// When it does not get there.
    pub async fn wait_synced(&self, name: &str) -> Result<SecretPolicy> {
        self.wait_done(name, "Ready=True/Synced").await
    }

    /// As [`Scene::wait_synced`], whatever its other conditions are.
    ///
    /// # Errors
    /// When it does not get there.
    pub async fn wait_settled(&self, name: &str) -> Result<SecretPolicy> {
        self.wait_done(name, "Ready=True/").await
    }

    async fn wait_done(&self, name: &str, ready: &str) -> Result<SecretPolicy> {
        until(&format!("SecretPolicy {name} is {ready} and not on its way"), || async {
            let policy = self.api::<SecretPolicy>().get(name).await?;
            let status = policy.status.clone().unwrap_or_default();
            check(name, &status.conditions)?;
            let shown = conditions::shown(&status.conditions);
            let done = shown.iter().any(|at| at.starts_with(ready))
                && !shown.iter().any(|at| at.starts_with("Reconciling"))
                && status.observed_generation == policy.metadata.generation;
            Ok(done.then_some(policy))
        })
        .await
    }

    /// Asks for a sync (`rekey.dev/sync-requested`) and waits until it is handled.
    ///
    /// # Errors
    /// When it is not.
    pub async fn sync(&self, name: &str) -> Result<()> {
        let token = self.ask_sync(name).await?;
        until(&format!("SecretPolicy {name} has handled {token}"), || async {
            let status = self.api::<SecretPolicy>().get(name).await?.status.unwrap_or_default();
            Ok((status.handled_sync() == Some(token.as_str())).then_some(()))
        })
        .await
    }

    /// Asks for a sync, and does not wait; returns the token.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn ask_sync(&self, name: &str) -> Result<String> {
        let policy = self.api::<SecretPolicy>().get(name).await?;
        let token = format!("test-{}", policy.resource_version().unwrap_or_default());
        self.annotate::<SecretPolicy>(name, rekey_api::names::SYNC_REQUESTED, &token).await?;
        Ok(token)
    }

    /// Waits until a store shows this among its conditions.
    ///
    /// # Errors
    /// When it does not.
    pub async fn wait_store(&self, name: &str, wanted: &str) -> Result<RemoteStore> {
        until(&format!("RemoteStore {name} {wanted}"), || async {
            let store = self.api::<RemoteStore>().get(name).await?;
            let found = store.status.clone().unwrap_or_default().conditions;
            check(name, &found)?;
            Ok(conditions::shown(&found).iter().any(|at| at == wanted).then_some(store))
        })
        .await
    }

    /// Reasons and notes of the Events about an object.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn events(&self, name: &str) -> Result<Vec<String>> {
        self.events_with(&format!("involvedObject.name={name}")).await
    }

    /// As [`Scene::events`], of those of type `Warning`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn warnings(&self, name: &str) -> Result<Vec<String>> {
        self.events_with(&format!("involvedObject.name={name},type=Warning")).await
    }

    async fn events_with(&self, fields: &str) -> Result<Vec<String>> {
        let events = self.api::<Event>().list(&ListParams::default().fields(fields)).await?;
        let said =
            |event: Event| format!("{}: {}", event.reason.unwrap_or_default(), event.message.unwrap_or_default());
        Ok(events.into_iter().map(said).collect())
    }
}

/// The provider of an AWS service, with the key pair of the Secret `aws`.
fn aws(service: &str, address: &str) -> Value {
    json!({"aws": {
        "service": service,
        "region": rekey_testkit::moto::REGION,
        "endpoint": address,
        "auth": {"secretRef": {
            "accessKeyId": {"name": "aws", "key": "id"},
            "secretAccessKey": {"name": "aws", "key": "secret"},
        }},
    }})
}
