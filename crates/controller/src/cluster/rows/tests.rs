use rekey_api::RotationSchedule;
use serde_json::Value;

use super::*;
use crate::cluster::{ObjectName, Table};

fn policy(metadata: &serde_json::Value) -> Object<SecretPolicy> {
    let policy = json!({"metadata": metadata, "spec": {"source": {}}});
    Object::<SecretPolicy>::from_object(serde_json::from_value(policy).unwrap(), None)
}

#[test]
fn of_managed_fields_only_who_asked_for_a_rotation_is_kept() {
    let entry = |manager: &str, fields: serde_json::Value| json!({"manager": manager, "fieldsV1": fields});
    let asked = json!({"f:metadata": {"f:annotations": {"f:rekey.dev/rotate-requested": {}, "f:team": {}}}});
    let mut status = entry("rekey-status", asked.clone());
    status["subresource"] = json!("status");
    let row = policy(&json!({"name": "db", "managedFields": [
        entry("kubectl", json!({"f:metadata": {"f:annotations": {"f:team": {}}}})),
        status,
        entry("alice", asked.clone()),
        entry("bob", asked),
    ]}));
    let kept = json!({"f:metadata": {"f:annotations": {"f:rekey.dev/rotate-requested": {}}}});
    assert_eq!(serde_json::to_value(&row.metadata().managed_fields).unwrap(), json!([entry("alice", kept)]));
}

#[test]
fn of_metadata_only_what_is_read_is_kept_however_much_there_is() {
    let large = "ü".repeat(120 * 1024);
    let mut annotations = json!({"kubectl.kubernetes.io/last-applied-configuration": "{}", "team": large});
    for name in ASKED {
        annotations[name] = json!(large);
    }
    let many: serde_json::Map<_, _> = (0..5_000).map(|at| (format!("rekey.dev/label-{at}"), json!("x"))).collect();
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "u"});
    let row = policy(&json!({
        "name": "db", "uid": "u", "resourceVersion": "7", "generation": 3, "annotations": annotations,
        "labels": many, "ownerReferences": vec![owner; 1_000],
        "finalizers": ["example.com/a", names::FINALIZER],
    }));
    let kept = row.metadata();
    assert!(row.object().is_ok());
    let size = serde_json::to_vec(kept).unwrap().len();
    assert!(size < 4 * 1024, "{size}");
    assert_eq!(kept.finalizers.as_ref().map(Vec::len), Some(2), "ours is written together with the others");
    let kept = kept.annotations.as_ref().unwrap();
    assert!(kept.keys().map(String::as_str).eq(std::collections::BTreeSet::from(ASKED)), "{:?}", kept.keys());
    assert!(kept.values().all(|text| text.chars().count() == 257), "still seen to be longer than a token may be");
}

#[test]
fn an_object_with_more_finalizers_than_can_be_kept_is_refused_and_none_is_taken_off() {
    let finalizers: Vec<String> = (0..2_000).map(|at| format!("example.com/{at}")).collect();
    let row = policy(&json!({"name": "db", "finalizers": finalizers}));
    let said = row.object().unwrap_err().to_string();
    assert!(said.starts_with("metadata.finalizers: they take more than 16384 bytes"), "{said}");
    assert_eq!(row.metadata().finalizers, None);
}

#[test]
fn an_object_out_of_bounds_is_told_of_and_not_worked_on() {
    let store = |server: &str| {
        let auth = json!({"token": {"secretRef": {"name": "token", "key": "token"}}});
        let spec = json!({"provider": {"vault": {"server": server, "auth": auth}}});
        let store = json!({"metadata": {"name": "vault", "uid": "u"}, "spec": spec});
        Object::<rekey_api::RemoteStore>::from_object(serde_json::from_value(store).unwrap(), None)
    };
    assert!(store("https://vault:8200").object().is_ok());
    let older = store("https://user@vault:8200");
    let said = older.object().unwrap_err().to_string();
    assert!(said.starts_with("spec.provider.vault.server: it should match"), "{said}");
    assert_eq!(older.metadata().uid.as_deref(), Some("u"), "whom to tell");
    assert!(older.references().is_empty());
}

#[test]
fn a_spec_that_was_within_its_bounds_is_looked_at_again_when_it_changes() {
    let row = |generation: i64, name: &str, before: Option<&Object<SecretPolicy>>| {
        let metadata = json!({"name": "db", "uid": "u", "generation": generation});
        let policy = json!({"metadata": metadata, "spec": {"source": {}, "target": {"name": name}}});
        Object::<SecretPolicy>::from_object(serde_json::from_value(policy).unwrap(), before)
    };
    let first = row(1, "db", None);
    assert!(first.object().is_ok());
    assert!(row(1, "No name", Some(&first)).object().is_ok(), "the API server says that nothing has changed");
    let wrong = row(2, "No name", Some(&first));
    assert!(wrong.object().is_err());
    assert!(row(2, "No name", Some(&wrong)).object().is_err(), "what was wrong stays so");
}

#[test]
fn what_was_found_of_expressions_holds_as_long_as_the_spec() {
    let row = |version: &str, uid: &str, generation: i64| {
        let metadata = json!({"name": "db", "resourceVersion": version, "uid": uid, "generation": generation});
        let source = json!({"remote": {"storeRef": {"name": "vault"}, "dataFrom": [{"extract": {"key": "k"}}]}});
        let policy = json!({"metadata": metadata, "spec": {"source": source}});
        Object::<SecretPolicy>::from_object(serde_json::from_value(policy).unwrap(), None)
    };
    let (table, name) = (Table::default(), ObjectName::new("shop", "db"));
    let set = |row| table.set(&name, row).unwrap().now.unwrap();
    let first = set(row("1", "a", 1));
    assert_eq!((first.verdict(), first.policy().is_some()), (None, true), "nobody has looked yet");
    let wrong = Err(SpecError::field("spec.x", "fix it"));
    first.decide(&wrong);
    let status = set(row("2", "a", 1));
    assert_eq!((status.verdict(), status.policy().is_some()), (Some(wrong), false), "only its status has changed");
    assert_eq!(set(row("3", "a", 2)).verdict(), None, "an edit");
    set(row("4", "a", 2)).decide(&Ok(()));
    assert_eq!(set(row("5", "b", 2)).verdict(), None, "another object of the same name");
}

#[test]
fn a_status_that_we_write_is_ours_in_the_rows_that_follow() {
    let row = |version: &str, status: serde_json::Value| {
        let metadata = json!({"name": "db", "uid": "u", "generation": 1, "resourceVersion": version});
        let policy = json!({"metadata": metadata, "spec": {"source": {}}, "status": status});
        Object::<SecretPolicy>::from_object(serde_json::from_value(policy).unwrap(), None)
    };
    let (table, name) = (Table::default(), ObjectName::new("shop", "db"));
    let set = |row| table.set(&name, row).unwrap().now.unwrap();
    let ours = json!({"observedGeneration": 1});
    let first = set(row("1", json!({})));
    assert!(!first.is_ours(), "we have written none");
    first.writes(&serde_json::from_value(ours.clone()).unwrap());
    assert!(set(row("2", ours.clone())).is_ours());
    assert!(!set(row("3", json!({"observedGeneration": 1, "secretName": "other"}))).is_ours());
    assert!(set(row("4", ours)).is_ours(), "it is ours again, whoever has put it back");
}

/// A change of an object.
type Edit<'a> = &'a dyn Fn(&mut Value);

#[test]
fn a_spec_is_parsed_once_for_what_it_is_parsed_from() {
    let row = |change: &dyn Fn(&mut Value), before: Option<&Object<RotationSchedule>>| {
        let metadata = json!({"name": "db", "namespace": "shop", "uid": "u", "generation": 1, "resourceVersion": "1"});
        let rotator = json!({"generate": {"fields": [{"property": "p", "password": {}}]}});
        let mut object = json!({"metadata": metadata, "spec": {"policyRef": {"name": "db"}, "rotator": rotator}});
        change(&mut object);
        Object::<RotationSchedule>::from_object(serde_json::from_value(object).unwrap(), before)
    };
    let first = row(&|_| {}, None);
    let spec = Arc::clone(first.spec().unwrap());
    let same = row(&|object| object["status"] = json!({"observedGeneration": 1}), Some(&first));
    assert!(Arc::ptr_eq(&spec, same.spec().unwrap()), "only its status has changed");
    let changes: [(&str, Edit<'_>); 4] = [
        ("an edit", &|object| object["metadata"]["generation"] = json!(2)),
        ("another object", &|object| object["metadata"]["uid"] = json!("v")),
        ("a request", &|object| object["metadata"]["annotations"] = json!({names::ROTATE_REQUESTED: "now"})),
        ("a deletion", &|object| object["metadata"]["deletionTimestamp"] = json!("2026-11-21T02:00:00Z")),
    ];
    for (what, change) in changes {
        let other = row(change, Some(&first));
        assert!(!Arc::ptr_eq(&spec, other.spec().unwrap()), "{what}");
    }
    let refused = row(&|object| object["spec"]["schedule"] = json!({"renewBefore": "24h"}), None);
    assert!(
        refused.spec().is_err() && row(&|_| {}, Some(&refused)).spec().is_err(),
        "a refusal is kept with its generation"
    );
    assert!(row(&|object| object["metadata"]["generation"] = json!(2), Some(&refused)).spec().is_ok(), "until an edit");
}
