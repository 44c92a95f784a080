//! A policy, and what its store holds.

use std::collections::{BTreeMap, BTreeSet};

use chrono::DateTime;
use rekey_api::{SecretPolicy, SecretPolicyStatus};
use rekey_core::{
    SecretBytes, SpecError,
    chance::Chance,
    digest::DigestKey,
    policy::{
        Consumers, Fetched, History, Lookup, PolicySpec, Request, Seen, SeenSecret, SetFrom, Source, Step, Tools,
        UnlockSeen, make, secret,
    },
    stop::Stop,
    store::{Locator, RemoteValue},
};
use serde_json::{Value, json};

/// One value for all.
struct NoChance;

impl Chance for NoChance {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

/// The keys of `stored` as values of the same name.
pub fn each(stored: &BTreeMap<String, Vec<u8>>) -> Value {
    stored.keys().map(|name| one(name)).collect()
}

/// A policy that reads `remote`, and publishes what `templates` make of it and nothing else.
pub fn policy(remote: &Value, templates: &BTreeMap<String, String>) -> Result<PolicySpec, SpecError> {
    let mut remote = remote.clone();
    remote["storeRef"] = json!({"name": "vault"});
    let object = json!({
        "apiVersion": "rekey.dev/v1alpha1",
        "kind": "SecretPolicy",
        "metadata": {"name": "p", "namespace": "shop", "uid": "u", "generation": 1},
        "spec": {"source": {"remote": remote}, "target": {"template": {"data": templates}}},
    });
    let policy = PolicySpec::try_from(&serde_json::from_value::<SecretPolicy>(object).unwrap())?;
    policy.prove(&Stop::default())?;
    Ok(policy)
}

/// The data that it publishes, or why not.
pub fn published(
    policy: &PolicySpec,
    fetched: &Fetched,
    stop: &Stop,
) -> Result<BTreeMap<String, SecretBytes>, SpecError> {
    let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let seen = Seen {
        status: SecretPolicyStatus::default(),
        original: None,
        secret: SeenSecret::Absent,
        over: None,
        taken: BTreeSet::new(),
        is_elsewhere: false,
        other_annotations: 0,
        last: None,
        attempted: None,
        gone: None,
        last_read: None,
        rotation: None,
        overwrites: None,
        history: History::default(),
        unlock: UnlockSeen::default(),
        next_rotation: None,
        plain: None,
        consumers: Consumers::default(),
    };
    let key = DigestKey::new(SecretBytes::from("installation"));
    let tools = Tools { key: &key, chance: &NoChance, now, stop };
    let made = make(policy, &seen, Some(fetched), tools)?;
    let plan = secret(policy, &seen, Some(fetched), made, tools)?;
    let data = plan.steps.into_iter().find_map(|step| match step {
        Step::Apply(desired) => Some(desired.data),
        _ => None,
    });
    Ok(data.unwrap_or_default())
}

/// What was read for it: values of the same names, and all of them for each search.
pub fn fetched(policy: &PolicySpec, stored: &BTreeMap<String, Vec<u8>>) -> Fetched {
    let Source::Remote(remote) = &policy.source else { return Fetched::default() };
    let mut fetched = Fetched::default();
    for (key, value) in stored {
        let value = RemoteValue { bytes: SecretBytes::new(value.clone()), version: "1".to_owned(), created: None };
        let locator = Locator { key: key.clone(), ..Locator::default() };
        fetched.values.insert(Request { store: remote.store.clone(), locator }, value);
    }
    for set in &remote.sets {
        if let SetFrom::Find(search) = &set.from {
            let lookup = Lookup { store: remote.store.clone(), search: search.clone() };
            fetched.found.insert(lookup, stored.keys().cloned().collect());
        }
    }
    fetched
}

/// What was read for a policy of [`rendered`].
pub fn read(stored: &BTreeMap<String, Vec<u8>>) -> Fetched {
    let policy = policy(&json!({"data": each(stored)}), &BTreeMap::new()).unwrap();
    fetched(&policy, stored)
}

/// Parses and renders `templates` on all that was read, as a policy does.
pub fn rendered(
    templates: &BTreeMap<String, String>,
    read: &Fetched,
) -> Result<BTreeMap<String, SecretBytes>, SpecError> {
    let data: Value = read.values.keys().map(|request| request.locator.key.as_str()).map(one).collect();
    published(&policy(&json!({"data": data}), templates)?, read, &Stop::default())
}

fn one(key: &str) -> Value {
    json!({"secretKey": key, "remoteRef": {"key": key}})
}
