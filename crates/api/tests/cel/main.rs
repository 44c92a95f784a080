//! Every rule of the schema refuses what it should, with a message that names the field and the fix, and nothing else.

#![expect(clippy::unwrap_used, reason = "a broken schema is a failed test")]

#[path = "../cases/mod.rs"]
mod cases;
mod structure;

use std::collections::{BTreeMap, BTreeSet};

use cases::Case;
use kube::core::cel::{ValidationErrors, Validator, apply_defaults};
use rekey_api::{ClusterRemoteStore, RemoteStore, RotationSchedule, SecretPolicy, crds};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The schema of each kind, as the API server gets it.
fn schemas() -> BTreeMap<String, Value> {
    crds::all()
        .into_iter()
        .map(|crd| {
            let schema = crd.spec.versions[0].schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
            (crd.spec.names.kind.clone(), serde_json::to_value(schema).unwrap())
        })
        .collect()
}

/// What the API server would say to this case.
fn refusals(schema: &Value, case: &Case) -> Vec<String> {
    let object = apply_defaults(schema, &case.object);
    let before = case.before.as_ref().map(|before| apply_defaults(schema, before));
    let mut said = structure::check(schema, &object);
    if said.is_empty() {
        let errors = Validator::new().validate(schema, &object, before.as_ref());
        said.extend(errors.err().into_iter().flat_map(ValidationErrors::into_vec).map(|error| error.message));
    }
    said
}

#[test]
fn every_case_is_accepted_or_refused_as_it_says() {
    let schemas = schemas();
    let wrong: Vec<String> = cases::all()
        .iter()
        .filter_map(|case| {
            let said = refusals(&schemas[&case.kind], case);
            let right = match &case.refused {
                None => said.is_empty(),
                Some(message) => !said.is_empty() && said.iter().all(|text| text.contains(message)),
            };
            (!right).then(|| format!("{}: expected {:?}, was told {said:?}", case.title, case.refused))
        })
        .collect();
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn every_rule_has_a_case_that_it_refuses() {
    let schemas = schemas();
    let mut rules = BTreeSet::new();
    for schema in schemas.values() {
        collect_messages(schema, &mut rules);
    }
    for case in cases::all().iter().filter(|case| case.refused.is_some()) {
        for message in refusals(&schemas[&case.kind], case) {
            rules.remove(&message);
        }
    }
    assert_eq!(rules, BTreeSet::new());
}

fn collect_messages(schema: &Value, messages: &mut BTreeSet<String>) {
    match schema {
        Value::Object(members) => {
            for rule in members.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
                messages.extend(rule["message"].as_str().map(str::to_owned));
            }
            members.values().for_each(|member| collect_messages(member, messages));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_messages(item, messages)),
        _ => {}
    }
}

/// Reads an object, writes it again, and says what got lost.
fn round_trip<K: DeserializeOwned + serde::Serialize>(object: &Value) -> Value {
    let read: K = serde_json::from_value(object.clone()).unwrap();
    serde_json::to_value(read).unwrap()
}

#[test]
fn every_accepted_object_is_read_and_written_without_loss() {
    let schemas = schemas();
    for case in cases::all().iter().filter(|case| case.refused.is_none()) {
        let schema = &schemas[&case.kind];
        let written = match case.kind.as_str() {
            "SecretPolicy" => round_trip::<SecretPolicy>(&case.object),
            "RotationSchedule" => round_trip::<RotationSchedule>(&case.object),
            "RemoteStore" => round_trip::<RemoteStore>(&case.object),
            "ClusterRemoteStore" => round_trip::<ClusterRemoteStore>(&case.object),
            kind => panic!("no type for {kind}"),
        };
        let expected = canonical(&apply_defaults(schema, &case.object));
        assert_eq!(canonical(&apply_defaults(schema, &written)), expected, "{}", case.title);
    }
}

/// The object without empty lists, and with durations as this crate writes them.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .filter(|(_, member)| !member.as_array().is_some_and(Vec::is_empty))
            .map(|(name, member)| (name.clone(), canonical(member)))
            .collect(),
        Value::Array(items) => items.iter().map(canonical).collect(),
        Value::String(text) => match text.parse::<rekey_api::GoDuration>() {
            Ok(duration) => duration.to_string().into(),
            Err(_) => text.clone().into(),
        },
        other => other.clone(),
    }
}
