//! Objects that were stored before a rule existed: whatever the API server refuses today, by schema or by CEL, is refused
//! here too, and nothing that it accepts is.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a broken case is a failed test")]

#[path = "../../api/tests/cases/mod.rs"]
mod cases;

use cases::Case;
use rekey_api::{ClusterRemoteStore, RemoteStore, RotationSchedule, SecretPolicy, condition::Reason, crds};
use rekey_core::{Parse, SpecError};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Why an object is refused.
#[derive(Debug)]
enum Refusal {
    /// It is no object of its kind.
    Malformed,
    Spec(SpecError),
}

fn read<K: Parse + DeserializeOwned>(object: &Value) -> Option<Refusal> {
    match serde_json::from_value::<K>(object.clone()) {
        Ok(object) => object.within_bounds().and_then(|()| object.parse().map(drop)).err().map(Refusal::Spec),
        Err(_) => Some(Refusal::Malformed),
    }
}

/// Why the operator does not work on this object, if it does not.
fn refusal(kind: &str, object: &Value) -> Option<Refusal> {
    match kind {
        "SecretPolicy" => read::<SecretPolicy>(object),
        "RotationSchedule" => read::<RotationSchedule>(object),
        "RemoteStore" => read::<RemoteStore>(object),
        "ClusterRemoteStore" => read::<ClusterRemoteStore>(object),
        kind => panic!("no parser for {kind}"),
    }
}

/// Whether a refusal speaks of a part of the API that is not built yet, and so says nothing of other rules.
fn is_not_built(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Spec(error) if error.reason() == Reason::NotSupportedYet)
}

#[test]
fn what_the_api_server_refuses_is_refused_in_objects_that_are_older_than_the_rule() {
    // An update is refused for what it changes, such as the name of the Secret: of an object that is stored one version is
    // seen, and that one is accepted where it is new.
    let passed: Vec<String> = cases::all()
        .iter()
        .filter(|case| case.refused.is_some() && case.before.is_none())
        .filter(|case| refusal(&case.kind, &case.object).is_none())
        .map(|case| case.title.clone())
        .collect();
    assert_eq!(passed, Vec::<String>::new());
}

#[test]
fn what_the_api_server_accepts_is_accepted() {
    let refused: Vec<String> = cases::all()
        .iter()
        .filter(|case| case.refused.is_none())
        .filter_map(|case| Some((case, refusal(&case.kind, &case.object)?)))
        .filter(|(_, refusal)| !is_not_built(refusal))
        .map(|(case, refusal)| format!("{}: {refusal:?}", case.title))
        .collect();
    assert_eq!(refused, Vec::<String>::new());
}

/// Every spec of an accepted case, with one value out of the bounds that the schema sets.
fn broken(schema: &Value, value: &Value, path: &str, found: &mut Vec<(String, Value)>) {
    let mut add = |what: &str, value: Value| found.push((format!("{path}: {what}"), value));
    match value {
        Value::String(text) => {
            // A length of time has one short form once it is read, however long it was written.
            let is_time = schema["x-kubernetes-validations"].to_string().contains("duration(self)");
            if let Some(most) = schema["maxLength"].as_u64().filter(|_| !is_time) {
                add("too long", text.repeat(usize::try_from(most).unwrap() + 1).into());
            }
            if schema["minLength"].as_u64().is_some_and(|least| least > 0) {
                add("empty", "".into());
            }
            if schema["pattern"].is_string() {
                add("another form", "/ \u{7}".into());
            }
        }
        Value::Number(_) => {
            for (bound, beyond) in [("minimum", -1), ("maximum", 1)] {
                if let Some(number) = schema[bound].as_f64() {
                    #[expect(clippy::cast_possible_truncation, reason = "bounds are small whole numbers")]
                    add(bound, (number as i64 + beyond).into());
                }
            }
        }
        Value::Array(items) => {
            if let Some(most) = schema["maxItems"].as_u64() {
                let number = usize::try_from(most).unwrap() + 1;
                add("too many", items.iter().cycle().take(number).cloned().collect());
            }
            if matches!(schema["x-kubernetes-list-type"].as_str(), Some("set" | "map")) {
                add("twice", items.iter().chain(items).cloned().collect());
            }
        }
        Value::Object(_) | Value::Null | Value::Bool(_) => {}
    }
}

/// Visits every value with its schema, and gives the whole object with that value replaced.
fn mutations(schema: &Value, object: &Value) -> Vec<(String, Value)> {
    fn walk(schema: &Value, value: &Value, at: &str, visit: &mut dyn FnMut(&str, &Value, &Value)) {
        visit(at, schema, value);
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    let below = match &schema["properties"][name] {
                        Value::Null => &schema["additionalProperties"],
                        schema => schema,
                    };
                    walk(below, member, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), visit);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    walk(&schema["items"], item, &format!("{at}/{index}"), visit);
                }
            }
            _ => {}
        }
    }
    let mut all = Vec::new();
    walk(&schema["properties"]["spec"], &object["spec"], "/spec", &mut |at, schema, value| {
        let mut found = Vec::new();
        broken(schema, value, at, &mut found);
        for (title, value) in found {
            let mut object = object.clone();
            *object.pointer_mut(at).unwrap() = value;
            all.push((title, object));
        }
    });
    all
}

#[test]
fn every_bound_of_the_schema_counts_for_objects_that_are_older_than_it() {
    let schemas: Vec<(String, Value)> = crds::all()
        .into_iter()
        .map(|crd| {
            let schema = crd.spec.versions[0].schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
            (crd.spec.names.kind.clone(), serde_json::to_value(schema).unwrap())
        })
        .collect();
    let mut number = 0;
    let mut passed = Vec::new();
    for Case { title, kind, object, .. } in cases::all().iter().filter(|case| case.refused.is_none()) {
        let (_, schema) = schemas.iter().find(|(of, _)| of == kind).unwrap();
        for (what, object) in mutations(schema, object) {
            number += 1;
            // Also parts that are not built yet are bounded before anything else is said of them.
            if refusal(kind, &object).is_none_or(|refusal| is_not_built(&refusal)) {
                passed.push(format!("{title}: {what}"));
            }
        }
    }
    assert!(number > 500, "{number} broken objects");
    assert_eq!(passed, Vec::<String>::new());
}
