//! A rotation from its request to its end, with the policy that publishes the new value. Values are made on a thread,
//! so the time of the runtime is not paused: it would go on while the thread works.

use super::*;
use crate::kinds::policy::Policies;

pub struct Pair {
    pub world: World,
    policies: Policies,
}

impl Pair {
    /// The value is published, and a rotation is asked for.
    pub async fn new() -> Self {
        let source = json!({"remote": {"storeRef": {"name": "vault"}, "dataFrom": [{"extract": {"key": "k"}}]}});
        Self::of(json!({ "source": source }), r#"{"password": "new"}"#).await
    }

    /// The same of a policy with this spec and this value.
    async fn of(spec: Value, value: &str) -> Self {
        let world = World::new(&schedule("k", &[]));
        world.ground.values.put("k", value);
        world.ground.values.refuse("write", None);
        world.ground.values.refuse("tidy up", None);
        world.ground.apply::<SecretPolicy>(&json!({
            "apiVersion": "rekey.dev/v1alpha1", "kind": "SecretPolicy",
            "metadata": {"name": "db", "namespace": "shop", "uid": "y", "generation": 1, "resourceVersion": "1"},
            "spec": spec,
        }));
        let policies = world.ground.context.policies();
        let pair = Self { world, policies };
        pair.rounds(2).await; // a request that is on a schedule at first sight is no request
        let mut object = pair.world.object();
        object["metadata"]["annotations"] = json!({names::ROTATE_REQUESTED: "now"});
        object["metadata"]["resourceVersion"] = json!("500");
        pair.world.ground.apply::<RotationSchedule>(&object);
        pair
    }

    pub async fn rounds(&self, count: usize) {
        for _ in 0..count {
            let _ = self.policies.ensure(&self.world.key).await;
            let _ = self.world.round().await;
            self.world.ground.clock.pass(TimeDelta::seconds(1));
            self.pending_is_seen();
        }
    }

    /// The watch brings what was written.
    fn pending_is_seen(&self) {
        let name = self.world.status().rotation.map(|open| format!("{}{}", names::PENDING_PREFIX, open.id));
        let secret = name.and_then(|name| Some((self.world.ground.server.get(&format!("{SECRETS}{name}"))?, name)));
        if let Some((secret, name)) = secret {
            let row = SecretRow::project(serde_json::from_value(secret["metadata"].clone()).unwrap());
            self.world.schedules.cluster.secrets.set(&ObjectName::new("shop", name), row);
        }
    }

    fn stored(&self) -> String {
        self.world.ground.values.get("k").unwrap()
    }

    fn published(&self) -> Value {
        self.world.ground.server.get(&format!("{SECRETS}db")).unwrap()["data"]["password"].clone()
    }
}

#[tokio::test]
async fn a_rotation_is_taken_to_its_end() {
    let pair = Pair::new().await;
    let (stored, published) = (pair.stored(), pair.published());
    pair.rounds(30).await;
    let status = pair.world.status();
    assert_eq!(status.rotation, None, "{status:?}");
    assert_eq!(status.history[0].outcome, RotationOutcome::Completed);
    assert_eq!(status.last_handled_rotate.as_deref(), Some("now"));
    assert!(pair.stored() != stored && pair.published() != published);
    assert_eq!(pair.world.object()["metadata"]["finalizers"], json!([]));
    assert!(!pair.world.ground.server.has(&format!("{SECRETS}{}", names::PENDING_PREFIX)));
    let writes = pair.world.ground.server.writes();
    pair.rounds(3).await;
    assert_eq!(pair.world.ground.server.writes(), writes, "and rests");
}

#[tokio::test]
async fn a_store_that_refuses_the_write_keeps_the_old_value_everywhere() {
    let pair = Pair::new().await;
    let (stored, published) = (pair.stored(), pair.published());
    pair.world.ground.values.refuse("write", Some(StoreErrorKind::Denied));
    pair.rounds(10).await;
    assert_eq!((pair.stored(), pair.published()), (stored.clone(), published.clone()));
    let open = pair.world.status().rotation.unwrap();
    assert!(open.attempts > 0, "each refusal counts");
    assert!(pair.world.ground.server.has(&format!("{SECRETS}{}", names::PENDING_PREFIX)), "the new value is kept");
    pair.world.ground.values.refuse("write", None);
    for _ in 0..5 {
        pair.world.ground.clock.pass(TimeDelta::minutes(2));
        pair.rounds(10).await;
    }
    assert_eq!(pair.world.status().history[0].outcome, RotationOutcome::Completed);
    assert!(pair.stored() != stored && pair.published() != published);
}

/// A key pair that is about to be proven at a server.
fn verifying(world: &World) -> Value {
    let mut object = world.object();
    object["spec"]["rotator"] = json!({"sshKeyPair": {"endpoints": [{"host": "git.example.com", "user": "deploy"}]}});
    object["metadata"]["annotations"] = json!({names::ROTATE_REQUESTED: "now"});
    object["metadata"]["resourceVersion"] = json!("500");
    object["metadata"]["generation"] = json!(2);
    object
}

impl Pair {
    async fn at_the_server(refusal: StoreErrorKind) -> Self {
        let pair = Self::new().await;
        pair.world.ground.values.put("k", "{}");
        pair.world.ground.values.refuse("log in", Some(refusal));
        pair.world.ground.apply::<RotationSchedule>(&verifying(&pair.world));
        for _ in 0..20 {
            let _ = pair.world.round().await;
            pair.world.ground.clock.pass(TimeDelta::seconds(1));
            pair.pending_is_seen();
        }
        pair
    }
}

#[tokio::test]
async fn a_server_that_refuses_the_key_is_not_asked_at_every_look() {
    let pair = Pair::at_the_server(StoreErrorKind::Denied).await;
    let open = pair.world.status().rotation.unwrap();
    assert_eq!((open.step.as_str(), open.message.as_deref()), ("Verifying", Some("not allowed to log in")));
    assert!(!pair.stored().contains("OPENSSH"), "the new private key is not used");
    let logins = pair.world.ground.values.logins();
    for _ in 0..50 {
        let _ = pair.world.round().await;
    }
    assert_eq!(pair.world.ground.values.logins(), logins, "no time has passed");
    assert!(logins <= 3, "{logins}");
}

#[tokio::test]
async fn a_server_that_is_gone_holds_no_deletion_up_for_ever() {
    let pair = Pair::at_the_server(StoreErrorKind::Unavailable).await;
    let mut object = deleted(pair.world.object());
    object["metadata"]["resourceVersion"] = json!("900");
    pair.world.ground.apply::<RotationSchedule>(&object);
    for _ in 0..20 {
        let _ = pair.world.round().await;
        pair.pending_is_seen();
    }
    assert_eq!(pair.world.status().history[0].outcome, RotationOutcome::Abandoned);
    assert_eq!(pair.world.object()["metadata"]["finalizers"], json!([]));
}

/// A value that is written and cannot be published would keep the rotation open, and the Secret on the old value, for ever.
#[tokio::test]
async fn what_the_policy_could_not_publish_is_not_made() {
    let item = json!({"secretKey": ".dockerconfigjson", "remoteRef": {"key": "k", "property": "password"}});
    let spec = json!({
        "source": {"remote": {"storeRef": {"name": "vault"}, "data": [item]}},
        "target": {"type": "kubernetes.io/dockerconfigjson"},
    });
    let pair = Pair::of(spec, r#"{"password": "{\"auths\": {}}"}"#).await;
    let before = pair.stored();
    pair.rounds(10).await;
    let status = pair.world.status();
    let rotated = status.conditions.iter().find(|at| at.type_ == "Rotated").unwrap();
    assert_eq!((rotated.status.as_str(), rotated.reason.as_str()), ("False", "PolicyNotReady"), "{}", rotated.message);
    assert!(rotated.message.contains("SecretPolicy db could not publish a new value: "), "{}", rotated.message);
    assert_eq!((status.rotation, pair.stored()), (None, before));
    assert!(!pair.world.ground.server.has(&format!("{SECRETS}{}", names::PENDING_PREFIX)));
}
