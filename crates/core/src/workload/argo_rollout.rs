//! `argoproj.io/v1alpha1` `Rollout`: not every cluster has the kind, so it comes without a type.
//! <https://argo-rollouts.readthedocs.io/en/stable/features/specification/>

use chrono::{DateTime, Utc};
use k8s_openapi::{
    api::core::v1::PodTemplateSpec,
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};
use serde::Deserialize as _;
use serde_json::Value;

use super::{Kind, Parts, Progress, Scale, Waiting, Workload, assemble};
use crate::time;

/// The projection of a Rollout. One with a `workloadRef` has no template of its own: the Deployment that it refers to
/// is a consumer like any other.
#[must_use]
pub fn argo_rollout(metadata: &ObjectMeta, object: &Value) -> Workload {
    let borrowed = &object["spec"]["workloadRef"];
    // Beside a reference Argo takes an empty template only.
    let template = PodTemplateSpec::deserialize(&object["spec"]["template"]).ok().filter(|_| borrowed.is_null());
    let without_template = template.is_none().then(|| without_template(borrowed));
    let selector = LabelSelector::deserialize(&object["spec"]["selector"]).ok();
    let assembled = assemble(Parts {
        kind: Kind::Rollout,
        metadata,
        template: template.as_ref(),
        selector: selector.as_ref(),
        progress: progress(metadata, &object["status"]),
    });
    let scale = Scale::of(object["spec"]["replicas"].as_i64());
    Workload { without_template, unavailable: unavailable(&object["status"]), scale, ..assembled }
}

/// Since when its condition `Available` is false.
fn unavailable(status: &Value) -> Option<DateTime<Utc>> {
    let conditions = status["conditions"].as_array()?;
    let short = conditions.iter().find(|at| at["type"] == "Available" && at["status"] == "False")?;
    time::parse(short["lastTransitionTime"].as_str()?)
}

fn without_template(reference: &Value) -> String {
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    match (text("kind"), text("name")) {
        (_, "") => "it has no pod template; give it one, or remove it from spec.rollout.consumers".to_owned(),
        ("Deployment", name) => {
            format!("it takes its template from Deployment {name}: name that one in spec.rollout.consumers")
        }
        (kind, name) => format!(
            "it takes its template from {kind} {name}, which cannot be restarted; remove it from spec.rollout.consumers"
        ),
    }
}

/// Whether its controller has seen the current generation, which is a text there.
fn is_seen(metadata: &ObjectMeta, status: &Value) -> bool {
    let seen = status["observedGeneration"].as_str().and_then(|text| text.parse::<i64>().ok());
    seen.unwrap_or_default() >= metadata.generation.unwrap_or_default()
}

/// Its controller says in one word how far it is.
fn progress(metadata: &ObjectMeta, status: &Value) -> Progress {
    if !is_seen(metadata, status) {
        return Progress::Underway("its controller has not seen the change yet".to_owned());
    }
    match status["phase"].as_str() {
        Some("Healthy") => Progress::Complete,
        Some("Paused") => Progress::Waiting(Waiting::Paused),
        Some("Degraded") => Progress::Stuck("its phase is Degraded".to_owned()),
        Some(_) | None => Progress::Underway("its phase is not Healthy".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rollout(seen: &str, phase: &str) -> Workload {
        let metadata = ObjectMeta { generation: Some(2), ..ObjectMeta::default() };
        let env = json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "db", "key": "a"}}}]);
        let template = json!({"metadata": {"annotations": {"rekey.dev/consumed": "db=x"}},
                              "spec": {"containers": [{"name": "c", "env": env}]}});
        let spec =
            json!({"selector": {"matchLabels": {"app": "web"}}, "template": template, "strategy": {"canary": {}}});
        argo_rollout(&metadata, &json!({"spec": spec, "status": {"observedGeneration": seen, "phase": phase}}))
    }

    #[test]
    fn it_is_read_like_a_deployment() {
        let found = rollout("2", "Healthy");
        assert_eq!(found.uses.keys().collect::<Vec<_>>(), ["db"]);
        assert_eq!((found.selector.as_str(), found.marker.to_string().as_str()), ("app=web", "db=x"));
        assert!(found.progress == Progress::Complete && found.id.kind.rolls());
        assert!(matches!(rollout("1", "Healthy").progress, Progress::Underway(_)));
        assert!(matches!(rollout("2", "Paused").progress, Progress::Waiting(_)));
        assert!(matches!(rollout("2", "Degraded").progress, Progress::Stuck(_)));
        assert!(matches!(rollout("2", "Progressing").progress, Progress::Underway(_)));
    }

    #[test]
    fn one_that_refers_to_a_deployment_has_no_template_of_its_own() {
        let reference = |kind: &str| json!({"apiVersion": "apps/v1", "kind": kind, "name": "web"});
        let of = |spec: Value| argo_rollout(&ObjectMeta::default(), &json!({"spec": spec}));
        let said = |spec: Value| of(spec).without_template.unwrap_or_default();
        let selector = json!({"matchLabels": {"app": "web"}});
        let named = "it takes its template from Deployment web: name that one in spec.rollout.consumers";
        assert_eq!(said(json!({"workloadRef": reference("Deployment")})), named);
        assert_eq!(said(json!({"workloadRef": reference("Deployment"), "selector": selector})), named);
        let empty = json!({"workloadRef": reference("Deployment"), "template": {"spec": {"containers": []}}});
        assert_eq!(said(empty), named);
        assert!(said(json!({"workloadRef": reference("ReplicaSet")})).contains("ReplicaSet web, which cannot be"));
        assert!(said(json!({})).starts_with("it has no pod template; "));
        assert!(of(json!({"workloadRef": reference("Deployment")})).uses.is_empty());
        assert_eq!(rollout("2", "Healthy").without_template, None);
    }
}
