//! What holds for every field of every kind: bounded, documented, never null, no reference to another namespace.

#![expect(clippy::unwrap_used, reason = "a broken schema is a failed test")]

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use rekey_api::crds;
use serde_json::Value;

/// Calls `visit` with the path and schema of every node below `schema`.
fn walk(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), property, visit);
    }
    for (keyword, suffix) in [("items", "[]"), ("additionalProperties", "{}")] {
        if schema[keyword].is_object() {
            walk(&format!("{path}{suffix}"), &schema[keyword], visit);
        }
    }
}

fn walk_all(mut visit: impl FnMut(&CustomResourceDefinition, &str, &Value)) {
    for crd in crds::all() {
        let kind = crd.spec.names.kind.clone();
        for version in &crd.spec.versions {
            let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
            let schema = serde_json::to_value(schema).unwrap();
            for part in ["spec", "status"] {
                walk(&format!("{kind}.{part}"), &schema["properties"][part], &mut |path, node| visit(&crd, path, node));
            }
        }
    }
}

fn complaints(check: impl Fn(&str, &Value) -> Option<&'static str>) -> Vec<String> {
    let mut found = Vec::new();
    walk_all(|_, path, node| {
        if let Some(complaint) = check(path, node) {
            found.push(format!("{path}: {complaint}"));
        }
    });
    found
}

fn missing(node: &Value, keywords: &[&str]) -> bool {
    keywords.iter().any(|keyword| node[keyword].is_null())
}

#[test]
fn every_field_is_bounded() {
    let found = complaints(|path, node| match node["type"].as_str() {
        Some("string") if node["enum"].is_array() || node["format"] == "date-time" => None,
        Some("string") => missing(node, &["maxLength"]).then_some("a string needs maxLength"),
        Some("array") => missing(node, &["maxItems"]).then_some("an array needs maxItems"),
        Some("integer") if path.contains(".status.") => {
            missing(node, &["minimum"]).then_some("an integer needs a minimum")
        }
        Some("integer") => missing(node, &["minimum", "maximum"]).then_some("an integer needs minimum and maximum"),
        Some("object") if node["additionalProperties"].is_object() => {
            missing(node, &["maxProperties"]).then_some("a map needs maxProperties")
        }
        Some("object") if node["additionalProperties"] == true => Some("a map needs a schema for its values"),
        Some("object" | "boolean") => None,
        _ => Some("a field needs a type"),
    });
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn every_field_is_documented() {
    let found = complaints(|path, node| {
        let generated = path.ends_with("[]") || path.ends_with("{}");
        (!generated && node["description"].as_str().is_none_or(|text| text.len() < 5))
            .then_some("a field needs a doc comment")
    });
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn the_doc_of_a_choice_names_every_choice() {
    let found = complaints(|path, node| {
        let words = node["enum"].as_array().filter(|_| path.contains(".spec") && !path.ends_with("[]"))?;
        let doc = node["description"].as_str().unwrap_or_default();
        let named = |word: &Value| word.as_str().is_some_and(|word| doc.contains(word));
        (!words.iter().all(named)).then_some("the doc comment names every choice")
    });
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn nothing_is_null_and_no_format_is_unknown_to_the_api_server() {
    let found = complaints(|_, node| {
        if !node["nullable"].is_null() {
            return Some("an optional field is absent, not null");
        }
        let format = node["format"].as_str()?;
        (!["byte", "date-time", "int32", "int64"].contains(&format)).then_some("a format the API server does not know")
    });
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn every_list_says_how_it_is_merged() {
    let found = complaints(|_, node| match node["x-kubernetes-list-type"].as_str() {
        _ if node["type"] != "array" => None,
        Some("atomic") => None,
        Some("set") => node["items"]["properties"].is_object().then_some("a set holds scalars"),
        Some("map") => {
            let keys = node["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
            let required = node["items"]["required"].as_array().cloned().unwrap_or_default();
            let keyed = |key: &Value| {
                let default = &node["items"]["properties"][key.as_str().unwrap_or_default()]["default"];
                required.contains(key) || !default.is_null()
            };
            let mut keys = keys.peekable();
            (keys.peek().is_none() || !keys.all(keyed))
                .then_some("the keys of a list map are required or have a default")
        }
        _ => Some("a list needs x-kubernetes-list-type"),
    });
    assert_eq!(found, Vec::<String>::new());
}

/// Two who apply the same list server-side would conflict over what the API server has added to it.
#[test]
fn a_list_that_is_merged_as_a_whole_has_no_defaults_inside() {
    let found = complaints(|_, node| {
        let mut defaults = 0;
        if node["x-kubernetes-list-type"] == "atomic" {
            walk("", &node["items"], &mut |_, below| defaults += usize::from(!below["default"].is_null()));
        }
        (defaults > 0).then_some("what is left out has its default where it is read")
    });
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn an_object_is_born_with_the_status_that_nobody_has_looked_at_it() {
    for crd in crds::all() {
        let schema = crd.spec.versions[0].schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
        let status = &serde_json::to_value(schema).unwrap()["properties"]["status"];
        assert_eq!(status["default"], serde_json::json!({"observedGeneration": -1}));
        assert_eq!(status["properties"]["observedGeneration"]["minimum"].as_f64(), Some(-1.0));
        assert!(rekey_api::is_unseen(Some(-1)) && rekey_api::is_unseen(None) && !rekey_api::is_unseen(Some(1)));
    }
}

#[test]
fn every_rule_has_a_message_of_one_line() {
    let found = complaints(|_, node| {
        let rules = node["x-kubernetes-validations"].as_array()?;
        rules
            .iter()
            .any(|rule| rule["message"].as_str().is_none_or(|message| message.contains('\n') || message.len() > 300))
            .then_some("a rule needs a message of one line")
    });
    assert_eq!(found, Vec::<String>::new());
}

/// A Vault namespace is no Kubernetes namespace.
const VAULT_NAMESPACE: &str = "RemoteStore.spec.provider.vault.namespace";

#[test]
fn no_namespaced_kind_refers_to_another_namespace() {
    let mut found = Vec::new();
    walk_all(|crd, path, _| {
        let name = path.rsplit('.').next().unwrap_or_default().to_lowercase();
        if crd.spec.scope == "Namespaced" && name.contains("namespace") && path != VAULT_NAMESPACE {
            found.push(path.to_owned());
        }
    });
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn a_service_account_may_come_from_elsewhere_for_cluster_stores_only() {
    let mut found = Vec::new();
    walk_all(|crd, path, _| {
        if path.ends_with(".namespaceFrom") {
            found.push(crd.spec.names.kind.clone());
        }
    });
    assert_eq!(found, ["ClusterRemoteStore"; 3]);
}

#[test]
fn kinds_have_their_short_names_and_category() {
    let names: Vec<(String, Vec<String>, Vec<String>)> = crds::all()
        .into_iter()
        .map(|crd| {
            let names = crd.spec.names;
            (names.plural, names.short_names.unwrap_or_default(), names.categories.unwrap_or_default())
        })
        .collect();
    let expected = [
        ("clusterremotestores", "crstore"),
        ("remotestores", "rstore"),
        ("rotationschedules", "rotsched"),
        ("secretpolicies", "secpol"),
    ];
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(plural, short)| (plural.to_owned(), vec![short.to_owned()], vec!["rekey".to_owned()]))
        .collect();
    assert_eq!(names, expected);
}
