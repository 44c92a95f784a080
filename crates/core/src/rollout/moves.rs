//! References that move from one name of a Secret to another: the change of a workload's template that is its rollout.

use std::collections::BTreeMap;

use rekey_api::names;
use serde_json::{Value, json};

use crate::workload::{Marker, Places, Workload};

/// The names that references leave, and the names that they move to.
pub type Moves = BTreeMap<String, String>;

/// A change of a workload's template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TemplateChange {
    /// The whole new restart marker; `None`: it stays.
    pub marker: Option<Marker>,
    /// References that move.
    pub moves: Moves,
}

impl TemplateChange {
    /// Whether the workload still has it.
    #[must_use]
    pub fn is_in_place(&self, workload: &Workload) -> bool {
        let is_marked = self.marker.as_ref().is_none_or(|marker| *marker == workload.marker);
        is_marked && self.moves.values().all(|secret| workload.uses.contains_key(secret))
    }
}

/// Why references cannot be moved.
pub const TOO_MANY: &str = "it refers to the Secret in too many places for one patch; name the Secret in fewer places, or use \
                            versions.references Publish";

/// The secrets that the workload refers to in more places than one patch can change.
#[must_use]
pub fn unmovable<'a>(workload: &Workload, moves: &'a Moves) -> Option<&'a str> {
    let cannot = |name: &&String| matches!(workload.uses.get(*name).map(|how| &how.places), Some(Places::TooMany));
    moves.keys().find(cannot).map(String::as_str)
}

/// The JSON patch (RFC 6902) that makes the change, of just the version of the object that `workload` shows: the API
/// server answers 409 when it is another one by then, or 422 where a name has changed. Lists that refer to Secrets are atomic or keyed by the name that
/// changes, so that an apply could neither replace an entry nor leave the others alone.
#[must_use]
pub fn json_patch(workload: &Workload, change: &TemplateChange) -> Value {
    let mut operations = vec![
        json!({"op": "replace", "path": "/metadata/uid", "value": workload.uid}),
        json!({"op": "replace", "path": "/metadata/resourceVersion", "value": workload.resource_version}),
    ];
    for (old, new) in &change.moves {
        let places = match workload.uses.get(old).map(|how| &how.places) {
            Some(Places::Known(places)) => places.as_ref(),
            Some(Places::TooMany) | None => &[],
        };
        for path in places.iter().map(|place| place.pointer(workload.id.kind)) {
            operations.push(json!({"op": "test", "path": path, "value": old}));
            operations.push(json!({"op": "replace", "path": path, "value": new}));
        }
    }
    if let Some(marker) = &change.marker {
        operations.extend(annotated(workload, marker));
    }
    Value::Array(operations)
}

/// The restart marker of a template, which may have no annotations yet.
fn annotated(workload: &Workload, marker: &Marker) -> Vec<Value> {
    const ANNOTATIONS: &str = "/spec/template/metadata/annotations";
    let empty = json!({"op": "add", "path": ANNOTATIONS, "value": {}});
    let path = format!("{ANNOTATIONS}/{}", names::CONSUMED.replace('/', "~1"));
    let entry = json!({"op": "add", "path": path, "value": marker.to_string()});
    if workload.has_annotations { vec![entry] } else { vec![empty, entry] }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::Deployment;

    use super::*;
    use crate::workload::Project as _;

    fn deployment(annotations: &Value) -> Workload {
        let env = |secret: &str| json!({"name": "A", "valueFrom": {"secretKeyRef": {"name": secret, "key": "a"}}});
        let containers =
            json!([{"name": "app", "env": [env("db"), env("other")], "envFrom": [{"secretRef": {"name": "db"}}]}]);
        let volumes = json!([{"name": "v", "secret": {"secretName": "db-k4v9x2m7qz"}}]);
        let object = json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7"},
            "spec": {"selector": {}, "template": {"metadata": {"annotations": annotations},
                                                  "spec": {"containers": containers, "volumes": volumes}}},
        });
        serde_json::from_value::<Deployment>(object).unwrap().project()
    }

    fn lines(workload: &Workload, change: &TemplateChange) -> Vec<String> {
        let patch = json_patch(workload, change);
        let text = |at: &Value| format!("{} {} {}", at["op"], at["path"], at["value"]).replace('"', "");
        patch.as_array().unwrap().iter().map(text).collect()
    }

    #[test]
    fn every_reference_of_every_old_name_moves_and_no_other() {
        let new = "db-p3v9x2m7qz".to_owned();
        let moves = [("db".to_owned(), new.clone()), ("db-k4v9x2m7qz".to_owned(), new)].into();
        let found = lines(&deployment(&json!({})), &TemplateChange { marker: None, moves });
        let pod = "/spec/template/spec";
        let expected = [
            "replace /metadata/uid u".to_owned(),
            "replace /metadata/resourceVersion 7".to_owned(),
            format!("test {pod}/containers/0/env/0/valueFrom/secretKeyRef/name db"),
            format!("replace {pod}/containers/0/env/0/valueFrom/secretKeyRef/name db-p3v9x2m7qz"),
            format!("test {pod}/containers/0/envFrom/0/secretRef/name db"),
            format!("replace {pod}/containers/0/envFrom/0/secretRef/name db-p3v9x2m7qz"),
            format!("test {pod}/volumes/0/secret/secretName db-k4v9x2m7qz"),
            format!("replace {pod}/volumes/0/secret/secretName db-p3v9x2m7qz"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn the_marker_goes_along_whether_there_are_annotations_or_not() {
        let change = TemplateChange { marker: Some(Marker::parse(Some("db=x"))), moves: Moves::new() };
        let path = "/spec/template/metadata/annotations";
        let entry = format!("add {path}/rekey.dev~1consumed db=x");
        assert_eq!(lines(&deployment(&json!({"a": "b"})), &change)[2..], std::slice::from_ref(&entry)[..]);
        assert_eq!(lines(&deployment(&Value::Null), &change)[2..], [format!("add {path} {{}}"), entry]);
    }

    #[test]
    fn what_no_patch_can_move_is_named() {
        let mut workload = deployment(&json!({}));
        let moves: Moves = [("db".to_owned(), "db-p3v9x2m7qz".to_owned())].into();
        assert_eq!(unmovable(&workload, &moves), None);
        workload.uses.get_mut("db").unwrap().places = Places::TooMany;
        assert_eq!(unmovable(&workload, &moves), Some("db"));
    }
}
