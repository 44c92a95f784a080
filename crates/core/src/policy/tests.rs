//! What is written when the values have been read, and what the status then says: in a small world of one policy.

mod back_to;
mod config_maps;
mod decisions;
mod earlier;
mod emptied;
mod engines;
mod frozen;
mod held;
mod metadata;
mod original;
mod ownership;
mod plain;
mod proof;
mod records;
mod recreated;
mod rotations;
mod salts;
mod sets;
mod sources;
mod taken;
mod templates;
mod unlock;
mod versioned;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use rekey_api::{
    SecretPolicyStatus,
    condition::{Class, Reason, Severity},
    policy::ChangeReason,
};
use serde_json::{Value, json};

use super::*;
use crate::{
    SecretBytes, chance::tests::Sequence, digest::DigestKey, notice::Notice, published::Published, stop::Stop,
    store::RemoteValue, workload::Keys,
};

/// Makes the values and decides, as for a policy without anything slow.
fn planned(policy: &PolicySpec, seen: &Seen, fetched: Option<&Fetched>, tools: Tools<'_>) -> Result<Plan, SpecError> {
    secret(policy, seen, fetched, make(policy, seen, fetched, tools)?, tools)
}

/// A policy, its store and its Secret; what a plan asks for is applied to the Secret.
struct World {
    object: SecretPolicy,
    value: Value,
    version: String,
    created: Option<DateTime<Utc>>,
    secret: SeenSecret,
    other_annotations: usize,
    last: Option<Arc<Published>>,
    gone: Option<DateTime<Utc>>,
    data: BTreeMap<String, SecretBytes>,
    rotation: Option<OpenRotation>,
    history: History,
    copies: BTreeMap<String, BTreeMap<String, SecretBytes>>,
    consumers: Consumers,
    next: Option<DateTime<Utc>>,
    adopt_by: Option<String>,
    unlock: UnlockSeen,
    over: Option<ObjectVersion>,
    key: DigestKey,
    chance: Sequence,
    stop: Stop,
    now: DateTime<Utc>,
}

impl World {
    fn new() -> Self {
        Self::with(&json!({}))
    }

    fn with(more: &Value) -> Self {
        let mut spec = json!({"source": {"remote": {
            "storeRef": {"name": "vault"},
            "data": [
                {"secretKey": "username", "remoteRef": {"key": "shop/db", "property": "username"}},
                {"secretKey": "password", "remoteRef": {"key": "shop/db", "property": "password"}},
            ],
        }}});
        for (name, value) in more.as_object().unwrap() {
            spec[name] = value.clone();
        }
        let object = json!({
            "apiVersion": "rekey.dev/v1alpha1",
            "kind": "SecretPolicy",
            "metadata": {"name": "db", "namespace": "shop", "uid": "u", "generation": 1},
            "spec": spec,
        });
        Self {
            object: serde_json::from_value(object).unwrap(),
            value: json!({"username": "orders", "password": "one"}),
            version: "1".to_owned(),
            created: None,
            other_annotations: 0,
            secret: SeenSecret::Absent,
            last: None,
            gone: None,
            data: BTreeMap::new(),
            rotation: None,
            history: History::default(),
            copies: BTreeMap::new(),
            consumers: Consumers::default(),
            next: None,
            adopt_by: None,
            unlock: UnlockSeen::default(),
            over: None,
            key: DigestKey::new(SecretBytes::from("k")),
            chance: Sequence::from(1),
            stop: Stop::default(),
            now: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
        }
    }

    fn policy(&self) -> PolicySpec {
        PolicySpec::try_from(&self.object).unwrap()
    }

    fn status(&self) -> SecretPolicyStatus {
        self.object.status.clone().unwrap_or_default()
    }

    fn seen(&self) -> Seen {
        Seen {
            status: self.status(),
            secret: self.secret.clone(),
            original: None,
            over: self.over.clone(),
            taken: BTreeSet::new(),
            is_elsewhere: false,
            other_annotations: self.other_annotations,
            last: self.last.clone(),
            attempted: None,
            gone: self.gone,
            last_read: Some(LastRead { at: self.now, age: TimeDelta::zero(), next: self.next }),
            rotation: self.rotation.clone(),
            overwrites: None,
            history: self.history.clone(),
            unlock: self.unlock.clone(),
            next_rotation: None,
            plain: None,
            consumers: self.consumers.clone(),
        }
    }

    fn fetched(&self) -> Fetched {
        let bytes = SecretBytes::from(self.value.to_string());
        let value = RemoteValue { bytes, version: self.version.clone(), created: self.created };
        let Source::Remote(remote) = self.policy().source else { return Fetched::default() };
        let requests =
            remote.reads().map(|(store, locator)| Request { store: store.clone(), locator: locator.clone() });
        Fetched { values: requests.map(|request| (request, value.clone())).collect(), ..Fetched::default() }
    }

    fn tools(&self) -> Tools<'_> {
        Tools { key: &self.key, chance: &self.chance, now: self.now, stop: &self.stop }
    }

    fn plan(&self) -> Result<Plan, SpecError> {
        self.plan_with(Some(&self.fetched()))
    }

    fn plan_with(&self, fetched: Option<&Fetched>) -> Result<Plan, SpecError> {
        planned(&self.policy(), &self.seen(), fetched, self.tools())
    }

    /// Plans and applies, a second later each time.
    fn sync(&mut self) -> Plan {
        self.now += TimeDelta::seconds(1);
        let fetched = self.fetched();
        self.sync_with(Some(&fetched)).unwrap()
    }

    fn sync_with(&mut self, fetched: Option<&Fetched>) -> Result<Plan, SpecError> {
        let plan = self.plan_with(fetched)?;
        for step in &plan.steps {
            match step {
                Step::Apply(desired) => self.apply(desired),
                Step::Delete(..) => (self.secret, self.data) = (SeenSecret::Absent, BTreeMap::new()),
                Step::Rebase { name, record, .. } => self.rebase(name, record),
                Step::Mark { .. } => panic!("each value has a Secret of its own"),
                Step::Keep { published, mark } => self.keep(published, *mark),
                Step::Restore { copy, record } => {
                    let content = Copied { kind: None, data: self.copies[&copy.revision].clone() };
                    self.apply(&self.policy().restored(content, record, Tags::default(), None));
                }
                Step::Verified => {
                    if let SeenSecret::Ours { content, .. } = &mut self.secret {
                        *content = None;
                    }
                }
            }
        }
        self.object.status = Some(plan.status.clone());
        self.next = plan.again;
        Ok(plan)
    }

    /// As the API server would, and what is seen of it then.
    fn keep(&mut self, published: &Arc<Published>, mark: Option<Mark>) {
        let content = Copied { kind: None, data: self.data.clone() };
        let copy = self.policy().copy(content, published, mark);
        assert!(copy.immutable && copy.name == format!("db-{}", published.revision), "{copy:?}");
        self.copies.insert(published.revision.clone(), copy.data);
        self.history.values.retain(|at| at.published.revision != published.revision);
        self.history.values.push(Earlier { published: Arc::clone(published), mark, reread: None });
    }

    fn rebase(&mut self, name: &str, record: &Arc<Published>) {
        if name == "db" {
            let SeenSecret::Ours { published, content, .. } = &mut self.secret else { panic!("no Secret of ours") };
            (*published, *content) = (Arc::clone(record), None);
        }
        let kept = self.history.values.iter_mut().find(|at| name == format!("db-{}", at.published.revision));
        if let Some(kept) = kept {
            (kept.published, kept.reread) = (Arc::clone(record), None);
        }
    }

    /// As the API server would: keys of others stay unless they are named for removal.
    fn apply(&mut self, desired: &Desired) {
        for name in desired.surplus(self.data.keys()) {
            self.data.remove(&name);
        }
        self.data.extend(desired.data.clone());
        let metadata = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
            annotations: Some(desired.annotations.clone()),
            ..Default::default()
        };
        self.secret = SeenSecret::Ours {
            published: Arc::new(Published::read(&metadata).unwrap()),
            content: None,
            dressed: true,
            immutable: desired.immutable,
            kind: desired.kind.clone().unwrap_or_else(|| "Opaque".to_owned()),
            adopt_by: self.adopt_by.clone(),
            controller: None,
        };
    }

    fn published(&self) -> &Arc<Published> {
        match &self.secret {
            SeenSecret::Ours { published, .. } => published,
            other => panic!("no Secret of ours: {other:?}"),
        }
    }

    /// Another tool has changed the Secret, or its content has not been looked at yet.
    fn look(&mut self, change: impl FnOnce(&mut Content)) {
        let immutable = matches!(&self.secret, SeenSecret::Ours { immutable: true, .. });
        let kind = "Opaque".to_owned();
        let mut found = Content { kind, immutable, ..content(self.data.clone()) };
        change(&mut found);
        found.is_intact = found.data == self.data;
        self.data = found.data.clone();
        if let SeenSecret::Ours { content, .. } = &mut self.secret {
            *content = Some(found);
        }
    }

    fn change(&mut self, property: &str, value: &str) {
        self.value[property] = json!(value);
        self.version = (self.version.parse::<u64>().unwrap() + 1).to_string();
    }

    fn shown(&self) -> Vec<String> {
        let conditions = self.status().conditions;
        conditions.iter().map(|at| format!("{}={}/{}", at.type_, at.status, at.reason)).collect()
    }

    fn reasons(&self) -> Vec<ChangeReason> {
        self.status().history.iter().rev().map(|change| change.reason).collect()
    }
}

fn content(data: BTreeMap<String, SecretBytes>) -> Content {
    Content {
        version: ObjectVersion { uid: "s".to_owned(), resource_version: "1".to_owned() },
        data,
        kind: "Opaque".to_owned(),
        immutable: false,
        edited_by: Vec::new(),
        edited_at: None,
        created: None,
        other_annotations: 0,
        claims: Claims::default(),
        tags: Tags::default(),
        is_intact: false,
    }
}

fn writes(plan: &Plan) -> usize {
    plan.steps.iter().filter(|step| matches!(step, Step::Apply(_))).count()
}

fn text(data: &BTreeMap<String, SecretBytes>) -> Vec<(&str, &str)> {
    data.iter().map(|(key, value)| (key.as_str(), value.expose_text().unwrap())).collect()
}

/// The keys of the two that have changed since the first publication.
fn changed(world: &World) -> Vec<&'static str> {
    let changed = |key: &&str| world.published().changed(&Keys::Some([(*key).to_owned()].into())).is_some();
    ["password", "username"].into_iter().filter(changed).collect()
}
