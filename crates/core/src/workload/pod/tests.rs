use serde_json::{Value, json};

use super::*;

fn at(second: u32) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(&text(second)).unwrap().to_utc()
}

fn text(second: u32) -> String {
    format!("2026-01-01T00:00:{second:02}Z")
}

/// A pod of these containers, taken up at second 10, with `db` read by `app`.
fn pod(change: impl FnOnce(&mut Value)) -> Pod {
    let env = json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "db", "key": "a"}}}]);
    let mut object = json!({
        "metadata": {"name": "web-1", "creationTimestamp": text(10)},
        "spec": {"containers": [{"name": "app", "env": env}, {"name": "proxy"}]},
        "status": {"phase": "Running", "startTime": text(10),
                   "containerStatuses": [running("app", 12), running("proxy", 13)]},
    });
    change(&mut object);
    Pod::of(&serde_json::from_value(object).unwrap())
}

fn status(name: &str, restarts: i32, state: &Value, last: &Value) -> Value {
    json!({"name": name, "image": "", "imageID": "", "ready": true, "restartCount": restarts, "state": state,
           "lastState": last})
}

fn running(name: &str, second: u32) -> Value {
    status(name, 0, &json!({"running": {"startedAt": text(second)}}), &json!({}))
}

fn ended(code: i32) -> Value {
    json!({"terminated": {"exitCode": code, "reason": "Error", "message": "password=hunter2"}})
}

fn since(pod: &Pod) -> Option<Since> {
    pod.reads.get("db").map(|reading| reading.since)
}

#[test]
fn the_container_that_reads_counts_and_the_others_do_not() {
    assert_eq!(since(&pod(|_| {})), Some(Since::At(at(12))));
    let restarted = pod(|pod| pod["status"]["containerStatuses"][0] = running("app", 40));
    assert_eq!(since(&restarted), Some(Since::At(at(40))), "it has read again");
    let other = pod(|pod| pod["status"]["containerStatuses"][1] = running("proxy", 40));
    assert_eq!(since(&other), Some(Since::At(at(12))));
    assert_eq!(other.whole, Since::At(at(12)));
}

#[test]
fn what_is_read_once_per_pod_counts_by_the_pods_own_start() {
    let init = |pod: &mut Value, restart: Value| {
        pod["spec"]["initContainers"] =
            json!([{"name": "init", "restartPolicy": restart, "envFrom": [{"secretRef": {"name": "db"}}]}]);
        pod["status"]["initContainerStatuses"] = json!([running("init", 11)]);
        pod["status"]["containerStatuses"][0] = running("app", 40);
    };
    assert_eq!(since(&pod(|pod| init(pod, json!(null)))), Some(Since::At(at(10))));
    assert_eq!(since(&pod(|pod| init(pod, json!("Always")))), Some(Since::At(at(11))), "a sidecar may start again");
    let mounted = pod(|pod| {
        pod["spec"]["volumes"] = json!([{"name": "v", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "db"}}}]);
        pod["status"]["containerStatuses"][0] = running("app", 40);
    });
    assert_eq!(since(&mounted), Some(Since::At(at(10))));
}

#[test]
fn a_container_that_does_not_run_leaves_open_what_it_read() {
    let with = |policy: &str, state: &Value| {
        pod(|pod| {
            pod["spec"]["restartPolicy"] = json!(policy);
            pod["status"]["containerStatuses"][0] = status("app", 1, state, &json!({}));
        })
    };
    let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    for (policy, state, expected) in [
        ("Always", &waiting, Some(Since::Unknown)),
        ("Always", &ended(0), Some(Since::Unknown)),
        ("OnFailure", &ended(1), Some(Since::Unknown)),
        ("OnFailure", &ended(0), None),
        ("Never", &ended(1), None),
    ] {
        assert_eq!(since(&with(policy, state)), expected, "{policy} {state}");
    }
    assert_eq!(since(&pod(|pod| pod["status"] = json!({}))), Some(Since::Unknown), "no node has it yet");
}

#[test]
fn a_pod_shows_how_far_the_clock_of_its_node_is_off() {
    assert_eq!(pod(|_| {}).skew, TimeDelta::zero());
    assert_eq!(pod(|pod| pod["status"]["startTime"] = json!(text(7))).skew, TimeDelta::seconds(3));
    let reported = |second| {
        json!([{"manager": "kubelet", "operation": "Update", "subresource": "status", "time": text(second)},
               {"manager": "kubectl", "operation": "Update", "time": text(1)}])
    };
    assert_eq!(pod(|pod| pod["metadata"]["managedFields"] = reported(13)).skew, TimeDelta::zero());
    assert_eq!(pod(|pod| pod["metadata"]["managedFields"] = reported(9)).skew, TimeDelta::seconds(4));
}

#[test]
fn a_pod_is_steady_since_its_youngest_container_started() {
    let steady = |second| Steady::Since { at: at(second), trouble: None };
    assert_eq!(pod(|_| {}).steady, steady(13));
    let said = |pod: Pod| match pod.steady {
        Steady::Since { at, trouble } => format!("since {} {}", at.format("%S"), trouble.as_deref().unwrap_or("-")),
        Steady::Not(trouble) => format!("not {}", trouble.as_deref().unwrap_or("-")),
    };
    let app = |restarts, state: &Value, last: &Value| {
        pod(|pod| pod["status"]["containerStatuses"][0] = status("app", restarts, state, last))
    };
    let loops = "container app ends again and again (exit code 1): see kubectl logs --previous";
    let waiting = |reason: &str| json!({"waiting": {"reason": reason, "message": "password=hunter2"}});
    let run = json!({"running": {"startedAt": text(40)}});
    assert_eq!(said(app(3, &run, &ended(1))), format!("since 40 {loops}"));
    assert_eq!(said(app(3, &waiting("CrashLoopBackOff"), &ended(1))), format!("not {loops}"));
    assert_eq!(said(app(0, &ended(1), &json!({}))), format!("not {loops}"), "the first time");
    assert_eq!(said(app(0, &waiting("ImagePullBackOff"), &json!({}))), "not container app: ImagePullBackOff");
    assert_eq!(said(app(0, &waiting("ContainerCreating"), &json!({}))), "not -");
    let unscheduled = pod(|pod| {
        let condition = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable"});
        pod["status"] = json!({"phase": "Pending", "conditions": [condition]});
    });
    assert_eq!(said(unscheduled), "not no node takes its pod (Unschedulable)");
}
