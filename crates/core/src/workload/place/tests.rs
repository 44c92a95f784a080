//! Every string in these objects that starts with `secret-` is the name of a Secret at a place that counts, and nothing
//! else is.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, PodSpec, Volume},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::core::DynamicObject;
use proptest::prelude::*;
use rekey_api::policy::ConsumeForm;
use serde::{Deserialize as _, de::DeserializeOwned};
use serde_json::{Value, json};

use super::*;
use crate::workload::{Keys, Project, Use, Workload, argo_rollout, gateway, uses};

const TEMPLATES: [Kind; 5] = [Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet, Kind::Rollout, Kind::CronJob];

/// An object with this pod spec, put together without the function that says where it is.
fn with_pods(kind: Kind, pod_spec: &Value) -> Value {
    let template = json!({"metadata": {"annotations": {"note": "of the template"}}, "spec": pod_spec});
    let spec = match kind {
        Kind::CronJob => json!({"schedule": "@daily", "jobTemplate": {"spec": {"template": template}}}),
        _ => json!({"selector": {"matchLabels": {"app": "web"}}, "serviceName": "web", "template": template}),
    };
    json!({"apiVersion": kind.api_version(), "kind": kind.as_str(), "spec": spec,
           "metadata": {"name": "web", "namespace": "shop"}})
}

/// As the watches read it.
fn project(kind: Kind, object: &Value) -> Workload {
    fn typed<K: DeserializeOwned + Project>(object: &Value) -> Workload {
        K::deserialize(object).unwrap().project()
    }
    let untyped = || DynamicObject::deserialize(object).unwrap();
    match kind {
        Kind::Deployment => typed::<k8s_openapi::api::apps::v1::Deployment>(object),
        Kind::StatefulSet => typed::<k8s_openapi::api::apps::v1::StatefulSet>(object),
        Kind::DaemonSet => typed::<k8s_openapi::api::apps::v1::DaemonSet>(object),
        Kind::CronJob => typed::<k8s_openapi::api::batch::v1::CronJob>(object),
        Kind::Ingress => typed::<k8s_openapi::api::networking::v1::Ingress>(object),
        Kind::ServiceAccount => typed::<k8s_openapi::api::core::v1::ServiceAccount>(object),
        Kind::Rollout => argo_rollout(&untyped().metadata, &untyped().data),
        Kind::Gateway => gateway(&untyped().metadata, &untyped().data["spec"]),
    }
}

/// How many names of Secrets an object holds.
fn names_in(value: &Value) -> usize {
    match value {
        Value::String(text) => usize::from(text.starts_with("secret-")),
        Value::Array(list) => list.iter().map(names_in).sum(),
        Value::Object(fields) => fields.values().map(names_in).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

fn known(how: &Use) -> &[Place] {
    match &how.places {
        Places::Known(places) => places,
        Places::TooMany => panic!("too many"),
    }
}

/// Every place leads to the name of its Secret, and every name has one place. The pointers, by Secret.
fn checked(kind: Kind, object: &Value) -> BTreeMap<String, Vec<String>> {
    let found = project(kind, object).uses;
    for (secret, how) in &found {
        let places = known(how);
        assert!(places.is_sorted_by(|one, next| one < next), "{secret}: {places:?}");
        for place in places {
            let pointer = place.pointer(kind);
            assert_eq!(object.pointer(&pointer), Some(&json!(secret)), "{} {pointer}", kind.as_str());
        }
    }
    let count: usize = found.values().map(|how| known(how).len()).sum();
    assert_eq!(count, names_in(object), "{} {object}", kind.as_str());
    let pointers = |how: &Use| known(how).iter().map(|place| place.pointer(kind)).collect();
    found.iter().map(|(secret, how)| (secret.clone(), pointers(how))).collect()
}

fn variable(secret: &str) -> Value {
    json!({"name": "A", "valueFrom": {"secretKeyRef": {"name": secret, "key": "a"}}})
}

fn source(secret: &str) -> Value {
    json!({"secretRef": {"name": secret}})
}

fn projection(secret: &str) -> Value {
    json!({"secret": {"name": secret, "items": [{"key": "k", "path": "p"}]}})
}

/// A volume of each sort that refers to a Secret.
fn volumes(secret: &str) -> [Value; 10] {
    let reference = json!({"name": secret});
    [
        json!({"secret": {"secretName": secret}}),
        json!({"azureFile": {"secretName": secret, "shareName": "s"}}),
        json!({"cephfs": {"monitors": ["m"], "secretRef": reference}}),
        json!({"cinder": {"volumeID": "v", "secretRef": reference}}),
        json!({"csi": {"driver": "d", "nodePublishSecretRef": reference}}),
        json!({"flexVolume": {"driver": "d", "secretRef": reference}}),
        json!({"iscsi": {"iqn": "i", "lun": 0, "targetPortal": "t", "secretRef": reference}}),
        json!({"rbd": {"image": "i", "monitors": ["m"], "secretRef": reference}}),
        json!({"scaleIO": {"gateway": "g", "system": "s", "secretRef": reference}}),
        json!({"storageos": {"secretRef": reference}}),
    ]
}

/// A list with each entry behind one that refers to no Secret, so that no index is that of its neighbour.
fn behind(other: &Value, entries: impl IntoIterator<Item = Value>) -> Vec<Value> {
    entries.into_iter().flat_map(|entry| [other.clone(), entry]).collect()
}

/// One reference of each sort to each of two Secrets.
fn every_form() -> Value {
    let two = ["secret-a", "secret-b"];
    let other_variable = json!({"name": "B", "valueFrom": {"configMapKeyRef": {"name": "map", "key": "a"}}});
    let other_source = json!({"configMapRef": {"name": "map"}});
    let container = json!({"name": "c", "env": behind(&other_variable, two.map(variable)),
                           "envFrom": behind(&other_source, two.map(source))});
    let containers = behind(&json!({"name": "plain"}), [container]);
    let mut all: Vec<Value> = two.iter().flat_map(|secret| volumes(secret)).collect();
    let sources = behind(&json!({"configMap": {"name": "map"}}), two.map(projection));
    all.push(json!({"projected": {"sources": sources}}));
    all.push(json!({"secret": {"optional": true}}));
    for (at, volume) in all.iter_mut().enumerate() {
        volume["name"] = json!(format!("v{at}"));
    }
    json!({"containers": containers, "initContainers": containers, "ephemeralContainers": containers,
           "volumes": behind(&json!({"name": "none", "emptyDir": {}}), all),
           "imagePullSecrets": behind(&json!({}), two.map(|secret| json!({"name": secret}))),
           "serviceAccountName": "web"})
}

#[test]
fn every_place_of_a_pod_template_leads_to_the_name_of_its_secret() {
    for kind in TEMPLATES {
        let found = checked(kind, &with_pods(kind, &every_form()));
        let count = 3 * 2 + 10 + 1 + 1; // env and envFrom of three containers, volumes, a projection, a pull secret
        assert_eq!(found.values().map(Vec::len).collect::<Vec<_>>(), [count, count], "{}", kind.as_str());
    }
}

#[test]
fn every_place_of_an_object_without_pods_leads_to_the_name_of_its_secret() {
    let metadata = json!({"name": "web", "namespace": "shop"});
    let ingress = json!({"metadata": metadata, "spec": {"tls": [
        {"hosts": ["a"]}, {"secretName": "secret-a"}, {"secretName": "secret-b"}, {"secretName": "secret-a"}]}});
    let at = |pointers: &[&str]| pointers.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(checked(Kind::Ingress, &ingress)["secret-a"], at(&["/spec/tls/1/secretName", "/spec/tls/3/secretName"]));

    let account = json!({"metadata": metadata, "secrets": [{"name": "token"}], "imagePullSecrets": [
        {"name": "secret-a"}, {"name": ""}, {"name": "secret-b"}]});
    assert_eq!(checked(Kind::ServiceAccount, &account)["secret-b"], at(&["/imagePullSecrets/2/name"]));

    let gateway = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": metadata, "spec": {
        "listeners": [{"name": "http"},
            {"name": "a", "tls": {"certificateRefs": [
                {"name": "map", "kind": "ConfigMap"}, {"name": "secret-a"}, {"name": "far", "namespace": "infra"},
                {"name": "secret-b", "namespace": "shop"}]}},
            {"name": "b", "tls": {"certificateRefs": [{"name": "secret-b", "group": "", "kind": "Secret"}]}}]}});
    let certificate = |listener, reference| format!("/spec/listeners/{listener}/tls/certificateRefs/{reference}/name");
    assert_eq!(checked(Kind::Gateway, &gateway)["secret-b"], [certificate(1, 3), certificate(2, 0)]);
}

#[test]
fn pointers_read_as_they_are_documented() {
    let list = ContainerList::InitContainers;
    for (place, kind, pointer) in [
        (
            Place::Variable { list, container: 1, variable: 2 },
            Kind::Deployment,
            "/spec/template/spec/initContainers/1/env/2/valueFrom/secretKeyRef/name",
        ),
        (
            Place::Credential { volume: 3, driver: Driver::Csi },
            Kind::CronJob,
            "/spec/jobTemplate/spec/template/spec/volumes/3/csi/nodePublishSecretRef/name",
        ),
        (Place::PullSecret(4), Kind::ServiceAccount, "/imagePullSecrets/4/name"),
    ] {
        assert_eq!(place.pointer(kind), pointer);
    }
}

#[test]
fn a_reference_that_no_patch_can_move_is_said_to_be_one() {
    let named = |name: &str| json!({"name": name});
    let mut secrets = vec![named("secret-first")];
    secrets.extend(vec![named("secret-much"); MOST]);
    secrets.push(named("secret-second"));
    let places = |secrets: &[Value]| {
        let spec = json!({"containers": [], "imagePullSecrets": secrets});
        uses(&serde_json::from_value(spec).unwrap()).into_iter().map(|(name, how)| (name, how.places)).collect()
    };
    let one = |at: u16| Places::Known([Place::PullSecret(at)].into());
    let found: BTreeMap<String, Places> = places(&secrets);
    assert!(matches!(&found["secret-much"], Places::Known(all) if all.len() == MOST));
    assert_eq!(found["secret-second"], one(u16::try_from(MOST).unwrap() + 1));

    secrets.extend(vec![named("secret-much"); usize::from(u16::MAX) - secrets.len()]);
    secrets.extend([named("secret-last"), named("secret-beyond"), named("secret-second")]);
    let found: BTreeMap<String, Places> = places(&secrets);
    assert_eq!((&found["secret-first"], &found["secret-last"]), (&one(0), &one(u16::MAX)));
    for secret in ["secret-much", "secret-beyond", "secret-second"] {
        assert_eq!(found[secret], Places::TooMany, "{secret}");
    }
}

#[test]
fn a_container_or_a_volume_out_of_range_has_no_place() {
    let far = usize::from(u16::MAX) + 1;
    let container = json!({"name": "c", "env": [variable("secret-env")], "envFrom": [source("secret-source")]});
    let volume = json!({"name": "v", "secret": {"secretName": "secret-volume"},
                        "projected": {"sources": [projection("secret-projection")]},
                        "csi": {"driver": "d", "nodePublishSecretRef": {"name": "secret-credential"}}});
    let mut containers = vec![Container::default(); far];
    containers.push(serde_json::from_value(container).unwrap());
    let mut volumes = vec![Volume::default(); far];
    volumes.push(serde_json::from_value(volume).unwrap());
    let found = uses(&PodSpec { containers, volumes: Some(volumes), ..PodSpec::default() });
    assert_eq!(found.len(), 5);
    assert!(found.values().all(|how| how.places == Places::TooMany), "{found:?}");
}

#[test]
fn who_only_names_a_secret_has_no_place_of_it() {
    assert_eq!(Use::of(None, true).unwrap().places, Places::Known([].into()));
    let places = Places::Known([Place::Volume(1)].into());
    let reference = Use { forms: [ConsumeForm::Volume].into(), keys: Keys::All, places: places.clone() };
    assert_eq!(Use::of(Some(&reference), true).unwrap().places, places);
    let borrowing = json!({"spec": {"workloadRef": {"kind": "Deployment", "name": "web"}}});
    assert!(argo_rollout(&ObjectMeta::default(), &borrowing).uses.is_empty());
}

/// There is a row for each workload of an opened namespace.
#[test]
fn a_place_takes_six_bytes() {
    assert_eq!((size_of::<Place>(), size_of::<Places>()), (6, 16));
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&["secret-a", "secret-b", "secret-c", ""][..])
}

fn list(entry: impl Strategy<Value = Value>, most: usize) -> impl Strategy<Value = Vec<Value>> {
    prop::collection::vec(entry, 0..=most)
}

fn container() -> impl Strategy<Value = Value> {
    let variables = prop_oneof![Just(json!({"name": "B", "value": "b"})), name().prop_map(variable)];
    let sources = prop_oneof![Just(json!({"configMapRef": {"name": "map"}})), name().prop_map(source)];
    (list(variables, 3), list(sources, 2)).prop_map(|(env, from)| json!({"name": "c", "env": env, "envFrom": from}))
}

fn volume() -> impl Strategy<Value = Value> {
    let sources = prop_oneof![Just(json!({"configMap": {"name": "map"}})), name().prop_map(projection)];
    let sort = (name(), 0..volumes("").len()).prop_map(|(secret, sort)| volumes(secret)[sort].clone());
    let projected = list(sources, 3).prop_map(|sources| json!({"projected": {"sources": sources}}));
    let source = prop_oneof![1 => Just(json!({"emptyDir": {}})), 4 => sort, 2 => projected];
    (source, prop::sample::select(&["v", "w"][..])).prop_map(|(mut volume, name)| {
        volume["name"] = json!(name);
        volume
    })
}

fn pod_spec() -> impl Strategy<Value = Value> {
    let pull = list(name().prop_map(|secret| json!({"name": secret})), 3);
    let containers = || list(container(), 3);
    (containers(), containers(), containers(), list(volume(), 6), pull).prop_map(
        |(main, init, debug, volumes, pull)| {
            json!({"containers": main, "initContainers": init, "ephemeralContainers": debug, "volumes": volumes,
               "imagePullSecrets": pull})
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_place_of_any_pod_template_leads_to_the_name_of_its_secret(
        spec in pod_spec(),
        kind in prop::sample::select(&TEMPLATES[..]),
    ) {
        checked(kind, &with_pods(kind, &spec));
    }
}
