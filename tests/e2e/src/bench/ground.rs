//! The parts of the bench: a control plane, a store, namespaces with policies, and the operator as shipped.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Context as _, Result};
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Client, Resource,
    api::{DynamicObject, Patch, PatchParams},
};
use rekey_api::{RemoteStore, SecretPolicy, names};
use rekey_testkit::{
    bao::OpenBao,
    plane::{Audit, Plane},
};
use serde_json::{Value, json};

use super::crowd;
use crate::{
    Operator,
    operator::{Options, shipped_binary},
    shipped,
    wait::until,
    world::{GROUPS, OPERATOR},
};

/// The field manager of what the bench applies.
const MANAGER: &str = "bench";
/// A client like the operator, with its rights, that does nothing but the same writes.
const BARE: &str = "system:serviceaccount:rekey-system:bare";

/// See the [module documentation](self).
pub struct Ground {
    /// The store.
    pub bao: OpenBao,
    /// The control plane.
    pub plane: Plane,
    /// With all rights.
    pub client: Client,
    /// With the operator's rights.
    pub bare: Client,
    /// The requests to the API server.
    pub audit: Audit,
    program: PathBuf,
    /// Whether stores accept raised limits.
    raised: AtomicBool,
}

impl Ground {
    /// Starts everything but the operator, which is `operator` or built now.
    ///
    /// # Errors
    /// When a part does not start.
    pub async fn start(operator: Option<PathBuf>) -> Result<Self> {
        let program = match operator {
            Some(program) => program,
            None => tokio::task::spawn_blocking(shipped_binary).await??,
        };
        let (plane, bao) = tokio::try_join!(Plane::start(), OpenBao::start())?;
        let client = plane.client()?;
        shipped::install(&client, MANAGER).await?;
        let group = "rbac.authorization.k8s.io";
        for role in ["rekey", "rekey-namespace"] {
            let binding = json!({
                "apiVersion": format!("{group}/v1"),
                "kind": "ClusterRoleBinding",
                "metadata": {"name": format!("bare-{role}")},
                "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
                "subjects": [{"kind": "ServiceAccount", "name": "bare", "namespace": "rekey-system"}],
            });
            shipped::apply(&client, MANAGER, binding).await?;
        }
        let (bare, audit) = (plane.client_for(BARE, &GROUPS).await?, plane.audit()?);
        Ok(Self { bao, plane, client, bare, audit, program, raised: AtomicBool::new(true) })
    }

    /// Starts the operator, with its defaults but for the limits of rollouts, for these namespaces; for all that its bindings
    /// open if there are none.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn operator(&self, name: &str, spaces: &[&Space]) -> Result<Operator> {
        // What Rekey can do is measured, not what it is told to wait for.
        self.limited(name, spaces, usize::from(u16::MAX))
    }

    /// The same with so many rollouts at once, in a namespace and in all of them.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn limited(&self, name: &str, spaces: &[&Space], rollouts: usize) -> Result<Operator> {
        let named: Vec<&str> = spaces.iter().map(|space| space.name.as_str()).collect();
        let limits = ["--rollouts-per-namespace", "--rollouts"].map(|flag| format!("{flag}={rollouts}"));
        let only = (!named.is_empty()).then(|| format!("--namespaces={}", named.join(",")));
        let options = Options {
            kubeconfig: self.plane.kubeconfig_for("operator", OPERATOR, &GROUPS)?,
            arguments: limits.into_iter().chain(only).collect(),
        };
        Operator::start_shipped(&self.program, name, self.plane.directory(), &options)
    }

    /// A new namespace, opened to the operator, with the store `vault`.
    ///
    /// # Errors
    /// When an object is refused.
    pub async fn space(&self, prefix: &str) -> Result<Space> {
        let space = self.closed(prefix).await?;
        let [whole, ..] = shipped::NAMESPACE_ROLES;
        space.apply(shipped::binding(&space.name, whole)).await?;
        Ok(space)
    }

    /// The same, not opened.
    ///
    /// # Errors
    /// When an object is refused.
    pub async fn closed(&self, prefix: &str) -> Result<Space> {
        let space = Space { name: self.plane.namespace(prefix).await?, client: self.client.clone() };
        let token = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vault-token"},
            "stringData": {"token": self.bao.token()},
        });
        space.apply(token).await?;
        space.apply(self.store()).await?;
        Ok(space)
    }

    /// The store. With its default limit the bench would measure only that, so it is raised as far as possible.
    fn store(&self) -> Value {
        let mut spec = json!({
            "provider": {"vault": {
                "server": self.bao.address(),
                "mount": "secret",
                "kvVersion": "V2",
                "auth": {"token": {"secretRef": {"name": "vault-token", "key": "token"}}},
            }},
        });
        if self.raised.load(Ordering::Relaxed) {
            spec["limits"] = json!({"requestsPerSecond": 10_000, "burst": 20_000});
        }
        json!({"apiVersion": "rekey.dev/v1alpha1", "kind": "RemoteStore", "metadata": {"name": "vault"}, "spec": spec})
    }

    /// Applies an object that is in no namespace.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn apply(&self, object: Value) -> Result<DynamicObject> {
        shipped::apply(&self.client, MANAGER, object).await
    }

    /// Gives the keys `<space>/<number>` below `count` a value.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn put(&self, space: &Space, count: usize, value: &str) -> Result<()> {
        crowd::each(count, |number| self.put_one(space, number, value)).await.map(drop)
    }

    /// Gives one key a value.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn put_one(&self, space: &Space, number: usize, value: &str) -> Result<()> {
        let value = format!("{value}-{number}");
        self.bao.put(&space.key(number), &json!({"password": value})).await.map(drop)
    }
}

/// A namespace of the bench.
#[derive(Clone)]
pub struct Space {
    /// Its name.
    pub name: String,
    client: Client,
}

impl Space {
    /// The key of this number in the store.
    #[must_use]
    pub fn key(&self, number: usize) -> String {
        format!("{}/{number}", self.name)
    }

    /// An API of this namespace with all rights.
    #[must_use]
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// Applies an object in this namespace.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn apply(&self, mut object: Value) -> Result<DynamicObject> {
        object["metadata"]["namespace"] = json!(self.name);
        shipped::apply(&self.client, MANAGER, object).await
    }

    /// Makes the policies `p<number>` below `count`; `key` names the key of each.
    ///
    /// # Errors
    /// When one is refused.
    pub async fn policies(&self, count: usize, interval: &str, key: impl Fn(usize) -> String) -> Result<()> {
        self.policies_with(count, interval, key, &json!({})).await
    }

    /// The same with more fields of their specs.
    ///
    /// # Errors
    /// When one is refused.
    pub async fn policies_with(
        &self,
        count: usize,
        interval: &str,
        key: impl Fn(usize) -> String,
        more: &Value,
    ) -> Result<()> {
        let make = |number: usize| {
            let mut spec = more.clone();
            spec["source"] = json!({"remote": {
                "storeRef": {"name": "vault"},
                "refreshInterval": interval,
                "data": [{"secretKey": "password", "remoteRef": {"key": key(number), "property": "password"}}],
            }});
            self.apply(json!({
                "apiVersion": "rekey.dev/v1alpha1",
                "kind": "SecretPolicy",
                "metadata": {"name": format!("p{number}")},
                "spec": spec,
            }))
        };
        crowd::each(count, make).await.map(drop)
    }

    /// Makes Secrets of another owner, of 8 KiB each.
    ///
    /// # Errors
    /// When one is refused.
    pub async fn unmanaged(&self, count: usize) -> Result<()> {
        let content = "x".repeat(8 * 1024);
        let make = |number: usize| {
            self.apply(json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": format!("other-{number}"), "labels": {"app": "other"}},
                "stringData": {"content": content},
            }))
        };
        crowd::each(count, make).await.map(drop)
    }

    /// Waits until the store is ready; false: its raised limits were refused and are taken off.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn store_ready(&self, ground: &Ground) -> Result<bool> {
        let look = || async {
            let store = self.api::<RemoteStore>().get("vault").await?;
            let found = store.status.unwrap_or_default().conditions;
            let is = |kind: &str| found.iter().any(|at| at.type_ == kind && at.status == "True");
            Ok(if is("Ready") { Some(true) } else { is("Stalled").then_some(false) })
        };
        let raised = until("the store is ready or refused", look).await?;
        if !raised {
            ground.raised.store(false, Ordering::Relaxed);
            self.apply(ground.store()).await?;
            until("the store is ready", || async { Ok(look().await?.filter(|ready| *ready)) }).await?;
        }
        Ok(raised)
    }

    /// Asks for a sync of the policies `p<number>` now.
    ///
    /// # Errors
    /// When one cannot be asked.
    pub async fn ask_sync(&self, numbers: std::ops::Range<usize>, token: &str) -> Result<()> {
        let api = self.api::<SecretPolicy>();
        let body = json!({"metadata": {"annotations": {names::SYNC_REQUESTED: token}}});
        let first = numbers.start;
        let ask = |offset: usize| {
            let (api, body) = (api.clone(), body.clone());
            async move {
                let name = format!("p{}", first + offset);
                let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
                api.patch(&name, &params, &Patch::Merge(&body)).await.with_context(|| format!("ask for {name}"))?;
                Ok(())
            }
        };
        crowd::each(numbers.len(), ask).await.map(drop)
    }
}
