//! For tests: a cluster that is nothing but rows, a store that is nothing but values, a clock that does not run, and no
//! chance at all. What the reconcilers write comes back as the watches would bring it.

mod api_server;
mod guard;
mod store;

use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use kube::Client;
use rekey_api::RemoteStore;
use rekey_core::{
    SecretBytes,
    chance::Chance,
    digest::DigestKey,
    rollout::Limits,
    rotator::{database::Databases, port::Prove},
    time::Clock,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use self::store::Opens;
pub use self::{api_server::ApiServer, guard::Guard, store::Values};
use crate::{
    cluster::{Kind, Object, ObjectName},
    context::{Context, Parts},
    settings::Settings,
};

/// The namespace that is opened.
pub const SHOP: &str = "shop";

/// Where the Secrets of the namespace are.
pub const SECRETS: &str = "/api/v1/namespaces/shop/secrets/";

/// A clock that moves only when a test moves it.
pub struct Standing(Mutex<DateTime<Utc>>);

impl Standing {
    /// Some time passes.
    pub fn pass(&self, time: TimeDelta) {
        *self.0.lock().unwrap() += time;
    }
}

impl Clock for Standing {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap()
    }
}

/// The same bytes each time.
struct Sevens;

impl Chance for Sevens {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

/// A namespace with a `RemoteStore` named `vault` that may be written.
pub struct Ground {
    /// The parts of the controller.
    pub context: Context,
    /// What the reconcilers ask and write.
    pub server: Arc<ApiServer>,
    /// What the store holds.
    pub values: Arc<Values>,
    /// The time.
    pub clock: Arc<Standing>,
}

impl Ground {
    /// Nothing is there but the store.
    pub fn new() -> Self {
        let (server, values) = (Arc::<ApiServer>::default(), Arc::<Values>::default());
        let clock = Arc::new(Standing(Mutex::new(DateTime::from_timestamp(1_800_000_000, 0).unwrap())));
        let settings = Settings {
            namespaces: Vec::new(),
            operator_namespace: "rekey-system".to_owned(),
            account: "--serviceaccount=rekey-system:rekey".to_owned(),
            concurrency: 4,
            rollouts: Limits { namespace: 10, cluster: 50 },
            require_consent: false,
            allow_ambient_credentials: false,
            allow_alpha: false,
            api_audiences: Vec::new(),
            instance: "test".to_owned(),
            predecessor: None,
        };
        let client: Client = server.client();
        let parts = Parts {
            client: client.clone(),
            watch_client: client,
            settings,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            chance: Arc::new(Sevens),
            connect: Arc::new(Opens(Arc::clone(&values))),
            prove: Arc::clone(&values) as Arc<dyn Prove>,
            databases: Arc::clone(&values) as Arc<dyn Databases>,
            metrics: Arc::default(),
            pulse: Arc::default(),
        };
        let context = Context::new(parts, DigestKey::new(SecretBytes::from("k")));
        context.cluster.namespaces.set_open(SHOP);
        let ground = Self { context, server, values, clock };
        let vault =
            json!({"server": "https://vault:8200", "auth": {"token": {"secretRef": {"name": "t", "key": "t"}}}});
        ground.seen::<RemoteStore>(&json!({
            "apiVersion": "rekey.dev/v1alpha1", "kind": "RemoteStore",
            "metadata": {"name": "vault", "namespace": SHOP, "uid": "s", "generation": 1, "resourceVersion": "1"},
            "spec": {"access": "ReadWrite", "provider": {"vault": vault}},
        }));
        ground
    }

    /// A user applies an object of ours, and the watch brings it.
    pub fn apply<K: Kind>(&self, object: &Value) {
        let name = object["metadata"]["name"].as_str().unwrap();
        let plural = K::plural(&());
        self.server.put(&format!("/apis/rekey.dev/v1alpha1/namespaces/{SHOP}/{plural}/{name}"), object.clone());
        self.seen::<K>(object);
    }

    /// As the watch brings it.
    pub fn seen<K: Kind + DeserializeOwned>(&self, object: &Value) {
        let name = ObjectName::new(SHOP, object["metadata"]["name"].as_str().unwrap());
        let row = Object::from_object(serde_json::from_value(object.clone()).unwrap(), None);
        K::table(&self.context.cluster).set(&name, row);
    }
}
