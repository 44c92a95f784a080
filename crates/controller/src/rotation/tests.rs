//! Schedules on an API server and a store of a few lines: what is asked of them, and that nothing holds a deletion up.

mod closed;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Client, client::Body};
use rekey_api::{RemoteStore, condition::Reason, rotation::RotationOutcome, store::RemoteStoreSpec};
use rekey_core::{
    SecretBytes,
    chance::Chance,
    digest::DigestKey,
    store::{
        Connect, Credentials, Locator, Probe, RemoteValue, Store, StoreError, StoreErrorKind, Write as StoreWrite,
    },
    time::Clock,
};
use serde_json::{Value, json};

use super::*;
use crate::{
    cluster::{NamespaceAccess, SecretRow, Version},
    context::Settings,
    run::{self, Parts},
};

/// The objects by their paths, and what was asked for.
#[derive(Default)]
struct Server {
    objects: Mutex<BTreeMap<String, Value>>,
    requests: Mutex<Vec<String>>,
    /// Whether it lets nobody at Secrets.
    closed: Mutex<bool>,
}

impl Server {
    fn answer(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.requests.lock().unwrap().push(format!("{method} {path}"));
        let mut objects = self.objects.lock().unwrap();
        if method == "POST" {
            return (201, body.clone()); // an Event
        }
        let refusal = |code: u16, reason: &str| {
            (code, json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason}))
        };
        if path.starts_with(SECRETS) && *self.closed.lock().unwrap() {
            return refusal(403, "Forbidden");
        }
        let of = path.trim_end_matches("/status");
        let Some(object) = objects.get_mut(of) else {
            return refusal(404, "NotFound");
        };
        match method {
            "PATCH" => {
                if let Some(finalizers) = body["metadata"].get("finalizers") {
                    object["metadata"]["finalizers"] = finalizers.clone();
                }
                let whole = body.as_array().into_iter().flatten().find(|operation| operation["path"] == "/status");
                if let Some(status) = whole.map(|operation| &operation["value"]).or(body.get("status")) {
                    object["status"] = status.clone();
                }
                let version = object["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap();
                object["metadata"]["resourceVersion"] = json!((version + 1).to_string());
                (200, object.clone())
            }
            "DELETE" => (200, objects.remove(of).unwrap()),
            _ => (200, object.clone()),
        }
    }

    fn client(self: &Arc<Self>) -> Client {
        let server = Arc::clone(self);
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let server = Arc::clone(&server);
            async move {
                let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
                let body = request.into_body().collect_bytes().await.unwrap();
                let body = serde_json::from_slice(&body).unwrap_or_default();
                let (code, answer) = server.answer(&method, &path, &body);
                http::Response::builder().status(code).body(Body::from(answer.to_string().into_bytes()))
            }
        });
        Client::new(service, "default")
    }
}

/// A clock that stands, no chance at all, and a store that holds the new value and refuses to be tidied up.
struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }
}

impl Chance for Fixed {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

#[async_trait]
impl Connect for Fixed {
    async fn connect(&self, _: &RemoteStoreSpec, _: Arc<dyn Credentials>) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(Self))
    }
}

#[async_trait]
impl Store for Fixed {
    async fn probe(&self) -> Result<Probe, StoreError> {
        Ok(Probe { identity: "nobody".to_owned(), capabilities: Vec::new() })
    }

    async fn read(&self, locator: &Locator) -> Result<RemoteValue, StoreError> {
        let text = if locator.key == "broken" { "no object" } else { r#"{"password": "new"}"# };
        Ok(RemoteValue { bytes: SecretBytes::from(text), version: "2".to_owned(), created: None })
    }

    async fn write(&self, _: &StoreWrite) -> Result<String, StoreError> {
        Err(StoreError::new(StoreErrorKind::Denied, "not allowed to write"))
    }

    async fn finish(&self, _: &str, _: &str) -> Result<(), StoreError> {
        Err(StoreError::new(StoreErrorKind::Denied, "not allowed to tidy up"))
    }
}

const ID: &str = "0193c2a0-0000-7000-8000-000000000001";
const SCHEDULES: &str = "/apis/rekey.dev/v1alpha1/namespaces/shop/rotationschedules/";
const SECRETS: &str = "/api/v1/namespaces/shop/secrets/";

struct World {
    ctx: Context,
    server: Arc<Server>,
    key: ObjectName,
}

fn schedule(key: &str, more: &[(&str, Value)]) -> Value {
    let mut object = json!({
        "apiVersion": "rekey.dev/v1alpha1",
        "kind": "RotationSchedule",
        "metadata": {"name": "db", "namespace": "shop", "uid": "u", "generation": 1, "resourceVersion": "1",
                     "finalizers": [names::FINALIZER]},
        "spec": {
            "policyRef": {"name": "db"},
            "writeTo": {"storeRef": {"name": "vault"}, "key": key},
            "rotator": {"generate": {"fields": [{"property": "password", "password": {"length": 32}}]}},
        },
    });
    for (path, value) in more {
        *object.pointer_mut(path).unwrap() = value.clone();
    }
    object
}

fn deleted(mut object: Value) -> Value {
    object["metadata"]["deletionTimestamp"] = json!("2026-11-21T02:00:00Z");
    object
}

/// A rotation that is about to write, or has written.
fn publishing(mut object: Value) -> Value {
    let rotation = json!({"id": ID, "step": "Publishing", "startedAt": "2027-01-15T07:59:00Z", "reason": "Requested"});
    object["status"] = json!({"observedGeneration": 1, "rotation": rotation});
    object
}

impl World {
    fn new(object: Value) -> Self {
        let server = Arc::new(Server::default());
        let settings = Settings {
            namespaces: Vec::new(),
            operator_namespace: "rekey-system".to_owned(),
            account: String::new(),
            concurrency: 4,
            require_consent: false,
            allow_ambient_credentials: false,
            api_audiences: Vec::new(),
            instance: "test".to_owned(),
        };
        let parts = Parts {
            client: server.client(),
            watch_client: server.client(),
            settings,
            clock: Arc::new(Fixed),
            chance: Arc::new(Fixed),
            connect: Arc::new(Fixed),
            metrics: Arc::default(),
            pulse: Arc::default(),
        };
        let ctx = run::context(parts, DigestKey::new(SecretBytes::from("k")));
        ctx.namespaces.set_open("shop");
        let vault =
            json!({"server": "https://vault:8200", "auth": {"token": {"secretRef": {"name": "t", "key": "t"}}}});
        let store = json!({"metadata": {"name": "vault", "namespace": "shop", "uid": "s", "generation": 1},
                           "spec": {"access": "ReadWrite", "provider": {"vault": vault}}});
        let store: RemoteStore = serde_json::from_value(store).unwrap();
        ctx.known.stores.set(&ObjectName::new("shop", "vault"), Object::from_object(store, None));
        let world = Self { ctx, server, key: ObjectName::new("shop", "db") };
        world.seen(&object);
        world.server.objects.lock().unwrap().insert(format!("{SCHEDULES}db"), object);
        world
    }

    /// As the watch brings it.
    fn seen(&self, object: &Value) {
        let row = Object::from_object(serde_json::from_value(object.clone()).unwrap(), None);
        self.ctx.known.schedules.set(&self.key, row);
    }

    /// Makes the proven pending Secret of the rotation.
    fn pending(&self, value: &str) {
        let row = self.ctx.known.schedules.get(&self.key).unwrap();
        let written = row.object().ok().and_then(|object| object.spec.write_to.clone());
        let key = written.map_or("k".to_owned(), |to| to.key);
        let plan = Plan::parse(&serde_json::from_value(schedule(&key, &[])).unwrap(), None).unwrap();
        let values: BTreeMap<String, SecretBytes> = [("password".to_owned(), SecretBytes::from(value))].into();
        let made = Prepared { id: ID.to_owned(), base: Some("1".to_owned()), base_digest: "d".to_owned(), values };
        let name = format!("{}{ID}", names::PENDING_PREFIX);
        let metadata = ObjectMeta {
            name: Some(name.clone()),
            namespace: Some("shop".to_owned()),
            uid: Some("p".to_owned()),
            labels: Some([(names::SCHEDULE_UID.to_owned(), "u".to_owned())].into()),
            annotations: Some(made.annotations(&plan, &self.ctx.digest_key)),
            ..ObjectMeta::default()
        };
        let data = json!({"password": k8s_openapi::ByteString(value.as_bytes().to_vec())});
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data});
        self.server.objects.lock().unwrap().insert(format!("{SECRETS}{name}"), secret);
        self.ctx.known.secrets.set(&ObjectName::new("shop", name), SecretRow::project(metadata));
    }

    /// One round, as the worker takes it.
    async fn round(&self) -> Result<Next, Error> {
        let done = Schedules::ensure(&self.ctx, &self.key).await;
        if let Err(error) = &done
            && !error.is_quiet()
        {
            Schedules::failed(&self.ctx, &self.key, error).await.unwrap();
        }
        done
    }

    async fn rounds(&self, count: usize) {
        for _ in 0..count {
            let _ = self.round().await;
        }
    }

    fn status(&self) -> RotationScheduleStatus {
        let object = self.server.objects.lock().unwrap()[&format!("{SCHEDULES}db")]["status"].clone();
        serde_json::from_value(object).unwrap()
    }

    /// Nothing of ours holds the schedule, and the pending Secret is gone.
    fn is_let_go(&self) -> bool {
        let objects = self.server.objects.lock().unwrap();
        let finalizers = &objects[&format!("{SCHEDULES}db")]["metadata"]["finalizers"];
        finalizers == &json!([]) && objects.keys().all(|path| !path.starts_with(SECRETS))
    }

    fn asked(&self, what: &str) -> usize {
        self.server.requests.lock().unwrap().iter().filter(|line| line.starts_with(what)).count()
    }
}

#[tokio::test]
async fn of_secrets_that_anybody_labels_few_are_read_and_none_are_listed() {
    let world = World::new(schedule("k", &[]));
    for number in 0..300 {
        let metadata = json!({"name": format!("rekey-pending-{number:04}"), "uid": "theirs", "resourceVersion": "1",
                              "labels": {names::SCHEDULE_UID: "u"}});
        let name = ObjectName::new("shop", format!("rekey-pending-{number:04}"));
        world.ctx.known.secrets.set(&name, SecretRow::project(serde_json::from_value(metadata).unwrap()));
    }
    let lists = SECRETS.trim_end_matches('/');
    world.round().await.unwrap();
    let gets = world.asked(&format!("GET {SECRETS}rekey-pending-"));
    assert!((1..=17).contains(&gets), "{gets}");
    assert_eq!(world.asked(&format!("GET {lists}")), gets, "no list");
}

#[tokio::test]
async fn a_deleted_schedule_that_cannot_be_read_lets_go() {
    for (what, object) in [
        ("out of bounds", schedule("k", &[("/spec/writeTo/key", json!(""))])),
        ("not valid", schedule("k", &[("/spec/writeTo", json!(null))])),
    ] {
        let world = World::new(deleted(object));
        let is_read = world.ctx.known.schedules.get(&world.key).unwrap().object().is_ok();
        assert_eq!(is_read, what == "not valid");
        world.pending("new");
        world.round().await.unwrap();
        assert!(world.is_let_go(), "{what}");
    }
}

#[tokio::test]
async fn a_schedule_that_cannot_be_read_is_told_so_while_it_is_not_deleted() {
    let world = World::new(schedule("k", &[("/spec/writeTo/key", json!(""))]));
    let error = Schedules::ensure(&world.ctx, &world.key).await.unwrap_err();
    assert_eq!(error.reason(), Reason::MalformedObject);
    assert_eq!(world.asked("PATCH"), 0);
}

#[tokio::test]
async fn a_refused_tidy_up_holds_no_deletion_up_for_ever() {
    let world = World::new(deleted(publishing(schedule("k", &[]))));
    world.pending("new");
    for attempt in 1..=TRIES {
        assert_eq!(world.round().await.unwrap_err().reason(), Reason::AccessDenied);
        assert_eq!(world.status().rotation.unwrap().attempts, attempt);
    }
    world.rounds(6).await;
    let past = world.status().history.into_iter().next().unwrap();
    assert_eq!(past.outcome, RotationOutcome::Completed, "the new value is live");
    assert!(past.message.unwrap_or_default().contains("not allowed to tidy up"), "what is left is said");
    assert!(world.is_let_go());
}

#[tokio::test]
async fn a_refused_tidy_up_lets_a_rotation_go_on_and_is_reported() {
    let world = World::new(publishing(schedule("k", &[])));
    world.pending("new");
    world.round().await.unwrap();
    let open = world.status().rotation.unwrap();
    assert_eq!(open.version.as_deref(), Some("2"), "the policy is told what to publish");
    assert!(open.message.unwrap_or_default().contains("not allowed to tidy up"));
}

#[tokio::test]
async fn a_stored_value_that_is_no_object_holds_no_deletion_up_for_ever() {
    let world = World::new(deleted(publishing(schedule("broken", &[]))));
    world.pending("new");
    world.rounds(12).await;
    assert_eq!(world.status().history[0].outcome, RotationOutcome::Failed);
    assert!(world.is_let_go());
}

#[test]
fn a_tidy_up_is_waited_for_as_long_as_it_is_worth_it_and_busy_stores_count_for_a_deletion() {
    for (error, deleted, attempts, waits) in [
        (Error::NoRoom, true, TRIES - 1, true),
        (Error::NoRoom, true, TRIES, false),
        (Error::NoRoom, false, TRIES, true),
        (Error::StoreBusy { store: String::new() }, true, TRIES, false),
        (Error::Deadline(Duration::ZERO), false, 0, true),
        (Error::Deadline(Duration::ZERO), false, TRIES, false),
        (Error::not_allowed("s", "x"), false, 0, false),
    ] {
        assert_eq!(is_worth_waiting(&error, deleted, attempts), waits, "{error} {deleted} {attempts}");
    }
    assert!(is_busy(&Error::NoRoom) && !is_busy(&Error::NotKnownYet { what: String::new() }));
}

#[tokio::test]
async fn what_keeps_the_policy_from_publishing_a_value_that_is_in_the_store_is_said() {
    let world = World::new(publishing(schedule("k", &[])));
    world.pending("new");
    let source = json!({"remote": {"storeRef": {"name": "vault"}, "dataFrom": [{"extract": {"key": "k"}}]}});
    let policy = json!({"metadata": {"name": "db", "namespace": "shop", "uid": "y", "generation": 1, "resourceVersion": "1"},
                        "spec": {"suspend": true, "source": source}});
    world.ctx.known.policies.set(&world.key, Object::from_object(serde_json::from_value(policy).unwrap(), None));
    world.round().await.unwrap();
    let message = world.status().rotation.unwrap().message.unwrap_or_default();
    assert!(message.starts_with("SecretPolicy db is suspended"), "{message}");
}

#[tokio::test]
async fn of_a_schedule_that_is_gone_no_effect_is_remembered() {
    let world = World::new(schedule("k", &[]));
    let now = world.ctx.now();
    let count = || world.ctx.memory.count_effect(&world.key, &Effect::Release, now);
    let pause = || world.ctx.memory.pause(&world.key, &Effect::Release, now);
    count();
    assert!(!pause().is_zero());
    let change = world.ctx.known.schedules.remove(&world.key, Version::new("9")).unwrap();
    notify::schedule(&world.ctx, &change);
    assert!(pause().is_zero());
    count(); // by a round that was under way
    world.round().await.unwrap();
    assert!(pause().is_zero());
}
