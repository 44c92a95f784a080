//! What is kept of a Secret.

use rekey_core::digest::Digests;
use serde_json::json;

use super::*;

fn managed(more: &[(&str, serde_json::Value)]) -> SecretRow {
    let record = json!({"publication": 1, "time": "2026-01-01T00:00:00.000Z"}).to_string();
    let annotations = json!({
        names::POLICY: "db", names::REVISION: "r1", names::DIGESTS: Digests::default().to_string(),
        names::CHANGES: record, "note": "ours", "theirs": "x",
        "kubectl.kubernetes.io/last-applied-configuration": r#"{"data": {"password": "aHVudGVyMg=="}}"#,
    });
    let entry = |manager: &str, labels: serde_json::Value, annotations: serde_json::Value| {
        let fields = json!({"f:metadata": {"f:labels": labels, "f:annotations": annotations}});
        json!({"manager": manager, "operation": "Apply", "fieldsV1": fields})
    };
    let mut metadata = json!({
        "uid": "u", "resourceVersion": "7", "annotations": annotations,
        "labels": {"team": "shop", "tier": "db", "theirs": "x"},
        "managedFields": [
            entry("rekey", json!({"f:team": {}, "f:tier": {}}), json!({"f:note": {}})),
            entry("kubectl", json!({"f:theirs": {}, "f:team": {}}), json!({"f:theirs": {}})),
        ],
    });
    for (name, value) in more {
        metadata[*name] = value.clone();
    }
    SecretRow::project(serde_json::from_value(metadata).unwrap())
}

fn wanted(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn labels_and_annotations_are_as_wanted_with_others_beside_but_none_of_ours_left_over() {
    let row = managed(&[]);
    let Managed { labels, annotations, .. } = row.managed().unwrap();
    assert!(labels.are(&wanted(&[("team", "shop"), ("tier", "db")])));
    assert!(!labels.are(&wanted(&[("team", "shop"), ("tier", "cache")])), "another value");
    assert!(!labels.are(&wanted(&[("team", "shop"), ("tier", "db"), ("new", "x")])), "not there yet");
    assert!(!labels.are(&wanted(&[("team", "shop")])), "ours, from an earlier spec");
    assert!(annotations.are(&wanted(&[("note", "ours")])));
    assert!(annotations.are(&wanted(&[("note", "ours"), (names::POLICY, "db"), (names::REVISION, "r1")])));
    assert!(!annotations.are(&wanted(&[("note", "ours"), (names::POLICY, "other")])), "ours by its name");
    assert!(!annotations.are(&wanted(&[])), "ours, from an earlier spec");
    assert!(!annotations.are(&wanted(&[("note", "ours"), ("theirs", "x")])), "wanted, and not ours yet");
}

#[test]
fn what_templates_have_made_is_known_by_its_mark() {
    let row = managed(&[]);
    let Managed { labels, annotations, .. } = row.managed().unwrap();
    let made = labels.beside(&wanted(&[("tier", "db")])).unwrap();
    let notes = annotations.beside(&wanted(&[(names::POLICY, "db"), (names::REVISION, "r1")])).unwrap();
    let tags = policy::Tags { labels: wanted(&[("team", "shop")]), annotations: wanted(&[("note", "ours")]) };
    assert_eq!(policy::mark(made.into_iter(), notes.into_iter()), tags.mark());
    let other = policy::Tags { labels: wanted(&[("team", "other")]), ..tags.clone() };
    assert_ne!(other.mark(), tags.mark());
    assert_eq!(labels.beside(&wanted(&[("tier", "cache")])), None, "what is wanted is not there");
    assert_eq!(policy::Tags::default().mark(), None);
}

#[test]
fn what_others_write_on_a_secret_takes_no_room_in_its_row() {
    let large = "x".repeat(240 * 1024);
    let row = managed(&[]);
    let mut annotations = json!({"theirs": large, "note": large, names::ADOPT_BY: large});
    for (name, text) in [(names::POLICY, "db"), (names::REVISION, "r1"), (names::DIGESTS, "")] {
        annotations[name] = json!(text);
    }
    annotations[names::DIGESTS] = json!(Digests::default().to_string());
    annotations[names::CHANGES] = json!(json!({"publication": 1, "time": ""}).to_string());
    let owner = |kind: &str, uid: usize| json!({"apiVersion": "rekey.dev/v1alpha1", "kind": kind, "name": "db", "uid": format!("u{uid}")});
    let others = (0..1_000).map(|uid| owner("ConfigMap", uid)).chain((0..1_000).map(|uid| owner("SecretPolicy", uid)));
    let others: Vec<serde_json::Value> = others.collect();
    let full = managed(&[("annotations", annotations), ("ownerReferences", json!(others))]);
    let (row, full) = (row.managed().unwrap(), full.managed().unwrap());
    assert_eq!(names_of(&full.annotations), names_of(&row.annotations), "the same, however much is beside them");
    assert!(full.adopt_by.is_none(), "longer than any name");
    assert_eq!((full.owners.len(), full.owners[0].uid.to_string()), (OWNERS, "u0".to_owned()));
    assert!(full.annotations.are(&wanted(&[("note", &large)])) && !full.annotations.are(&wanted(&[("note", "ours")])));
}

fn names_of(tags: &Tags) -> Vec<&str> {
    tags.kept.iter().map(|tag| tag.name.as_ref()).collect()
}

#[test]
fn of_more_labels_than_a_policy_can_want_none_is_kept_and_none_is_as_wanted() {
    let labelled = |count: usize| {
        let names: Vec<String> = (0..count).map(|at| format!("l{at:05}")).collect();
        let labels: serde_json::Map<_, _> = names.iter().map(|name| (name.clone(), json!("x"))).collect();
        let fields: serde_json::Map<_, _> = names.iter().map(|name| (format!("f:{name}"), json!({}))).collect();
        let entry = json!([{"manager": "rekey", "fieldsV1": {"f:metadata": {"f:labels": fields}}}]);
        let row = managed(&[("labels", json!(labels)), ("managedFields", entry)]);
        let wanted = names.into_iter().map(|name| (name, "x".to_owned())).collect();
        let managed = row.managed().unwrap();
        (managed.labels.kept.len(), managed.labels.are(&wanted))
    };
    assert_eq!(labelled(WANTED), (WANTED, true));
    assert_eq!(labelled(5_000), (0, false));
}

#[test]
fn a_row_tells_whose_a_secret_is_and_whether_it_goes() {
    let going = json!("2026-01-01T00:00:00Z");
    let is_going = |row: SecretRow| row.managed().unwrap().is_going;
    assert!(!is_going(managed(&[])) && is_going(managed(&[("deletionTimestamp", going)])));
    let row = managed(&[]);
    assert_eq!(row.object_version(), ObjectVersion { uid: "u".to_owned(), resource_version: "7".to_owned() });
    assert_eq!(row.managed().unwrap().published.policy, "db");
    let other = managed(&[("annotations", json!({names::ADOPT_BY: "db"}))]);
    assert!(matches!(other.holder, Holder::Other { adopt_by: Some(policy), .. } if policy.as_ref() == "db"));
    let labels = json!({names::SCHEDULE_UID: "s"});
    let labelled = managed(&[("labels", labels.clone())]);
    assert!(labelled.managed().is_some(), "a label of ours takes no Secret from its policy");
    let pending = managed(&[("labels", labels), ("name", json!("rekey-pending-1"))]);
    assert!(matches!(pending.holder, Holder::Rotation { schedule } if schedule.as_ref() == "s"));
}

#[test]
fn who_has_made_a_secret_is_told_by_its_fields_and_not_by_what_stands_on_it() {
    let entry = |manager: &str, operation: &str, fields: serde_json::Value| {
        let of = json!([{"manager": manager, "operation": operation, "fieldsV1": fields}]);
        managed(&[("managedFields", of)]).managed().unwrap().is_made_by_us
    };
    let whole = json!({"f:type": {}, "f:data": {"f:a": {}}});
    assert!(entry("rekey", "Apply", whole.clone()));
    assert!(!entry("rekey", "Apply", json!({"f:data": {"f:a": {}}})), "keys in another tool's");
    assert!(!entry("rekey", "Update", whole.clone()), "a record, or a removed key");
    assert!(!entry("kubectl", "Apply", whole), "a copy with all that is on it");
}

#[test]
fn a_controlling_owner_that_is_no_policy_is_seen() {
    let controller =
        |owners: serde_json::Value| managed(&[("ownerReferences", owners)]).managed().unwrap().controller.clone();
    let owner = |group: &str, kind: &str, controls: bool| json!({"apiVersion": format!("{group}/v1"), "kind": kind, "name": "db", "uid": "o", "controller": controls});
    let external = owner("external-secrets.io", "ExternalSecret", true);
    assert_eq!(controller(json!([external])).as_deref(), Some("ExternalSecret db"));
    let ours = json!([owner("rekey.dev", "SecretPolicy", true), owner("apps", "Deployment", false)]);
    assert_eq!(controller(ours), None);
}

#[test]
fn a_seed_that_another_tool_has_written_is_seen_to_be_another() {
    let annotations = Tags::new(wanted(&[(names::SEED, "theirs")]), |_| false);
    assert!(annotations.are(&wanted(&[(names::SEED, "theirs")])));
    assert!(!annotations.are(&wanted(&[(names::SEED, "ours")])));
}

#[test]
fn annotations_of_others_are_counted() {
    let before = managed(&[]).managed().unwrap().other_annotations;
    let entry = json!([{"manager": "rekey", "operation": "Apply", "fieldsV1": {"f:metadata": {"f:annotations": {
        "f:note": {}, "f:theirs": {}}}}}]);
    let now = managed(&[("managedFields", entry)]).managed().unwrap().other_annotations;
    assert_eq!(before - now, "theirs".len() + "x".len());
}

#[test]
fn the_copy_that_kubectl_keeps_of_a_secret_is_not_kept_here() {
    let row = managed(&[]);
    let shown = format!("{row:?}");
    assert!(!shown.contains("aHVudGVyMg") && !shown.contains("ours"), "{shown}");
}
