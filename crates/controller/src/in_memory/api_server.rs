//! An API server of a few lines: objects by their paths.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use kube::{Client, client::Body};
use serde_json::{Map, Value, json};

/// The objects, and what was asked for.
#[derive(Default)]
pub struct ApiServer {
    objects: Mutex<BTreeMap<String, Value>>,
    requests: Mutex<Vec<String>>,
    /// Starts of requests that are refused, and with which code.
    refused: Mutex<Vec<(String, u16)>>,
    /// Starts of requests whose answers are lost.
    lost: Mutex<Vec<String>>,
    version: Mutex<u64>,
}

/// A request, as far as it matters here.
struct Request {
    method: String,
    path: String,
    /// Of the query.
    manager: String,
    /// Of the query: `key=value`, as far as lists are asked for here.
    selector: Option<String>,
    /// What kind of patch it is.
    content: String,
    body: Value,
}

impl ApiServer {
    /// A client of it.
    pub fn client(self: &Arc<Self>) -> Client {
        let server = Arc::clone(self);
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let server = Arc::clone(&server);
            async move {
                let query = request.uri().query().unwrap_or_default();
                let of_query =
                    |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)).map(str::to_owned);
                let manager = of_query("fieldManager=").unwrap_or_default();
                let selector = of_query("labelSelector=").map(|text| text.replace("%3D", "="));
                let content = request.headers().get("content-type").and_then(|text| text.to_str().ok());
                let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
                let content = content.unwrap_or_default().to_owned();
                let body = request.into_body().collect_bytes().await.unwrap();
                let body = serde_json::from_slice(&body).unwrap_or_default();
                let line = format!("{method} {path}");
                let (code, answer) = server.answer(&Request { method, path, manager, selector, content, body });
                if server.lost.lock().unwrap().iter().any(|begin| line.starts_with(begin)) {
                    return Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
                }
                let answer = Body::from(answer.to_string().into_bytes());
                Ok(http::Response::builder().status(code).body(answer).unwrap())
            }
        });
        Client::new(service, "default")
    }

    /// Puts an object there, as it is.
    pub fn put(&self, path: &str, object: Value) {
        self.objects.lock().unwrap().insert(path.to_owned(), object);
    }

    /// Takes the object at this path away.
    pub fn remove(&self, path: &str) {
        self.objects.lock().unwrap().remove(path);
    }

    /// The object at this path.
    pub fn get(&self, path: &str) -> Option<Value> {
        self.objects.lock().unwrap().get(path).cloned()
    }

    /// Whether any path starts like this.
    pub fn has(&self, begin: &str) -> bool {
        self.objects.lock().unwrap().keys().any(|path| path.starts_with(begin))
    }

    /// Refuses requests that start with `METHOD /path` or, without a method, with `/path`.
    pub fn refuse(&self, begin: &str, code: u16) {
        self.refused.lock().unwrap().push((begin.to_owned(), code));
    }

    /// Does what requests that start with `METHOD /path` ask for, and loses the answer.
    pub fn lose(&self, begin: &str) {
        self.lost.lock().unwrap().push(begin.to_owned());
    }

    /// Refuses and loses nothing any more.
    pub fn allow(&self) {
        self.refused.lock().unwrap().clear();
        self.lost.lock().unwrap().clear();
    }

    /// How many requests have started like this, as `METHOD /path`.
    pub fn asked(&self, begin: &str) -> usize {
        self.requests.lock().unwrap().iter().filter(|line| line.starts_with(begin)).count()
    }

    /// How many requests have changed something, Events aside.
    pub fn writes(&self) -> usize {
        let requests = self.requests.lock().unwrap();
        requests.iter().filter(|line| !line.starts_with("GET ") && !line.ends_with("/events")).count()
    }

    fn answer(&self, request: &Request) -> (u16, Value) {
        let Request { method, path, body, .. } = request;
        let line = format!("{method} {path}");
        self.requests.lock().unwrap().push(line.clone());
        let refused = self.refused.lock().unwrap().clone();
        if let Some((_, code)) = refused.iter().find(|(begin, _)| line.starts_with(begin) || path.starts_with(begin)) {
            return refusal(*code);
        }
        let mut objects = self.objects.lock().unwrap();
        match method.as_str() {
            "POST" if path.ends_with("/events") => (201, body.clone()),
            "POST" => {
                let at = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap());
                if objects.contains_key(&at) {
                    return refusal(409);
                }
                let made = self.stored(body.clone());
                objects.insert(at, made.clone());
                (201, made)
            }
            "PATCH" => self.patch(&mut objects, request),
            "DELETE" => objects.remove(path).map_or_else(|| refusal(404), |gone| (200, gone)),
            _ => match objects.get(path) {
                Some(object) => (200, object.clone()),
                None => listed(&objects, request),
            },
        }
    }

    fn patch(&self, objects: &mut BTreeMap<String, Value>, request: &Request) -> (u16, Value) {
        let Request { path, body, content, manager, .. } = request;
        let of = path.trim_end_matches("/status");
        let is_apply = content.contains("apply-patch");
        let before = objects.get(of).cloned();
        let Some(mut object) = before.or_else(|| is_apply.then(|| json!({"metadata": {}}))) else {
            return refusal(404);
        };
        if !fits(&object, body) {
            return refusal(409);
        }
        if let Some(operations) = body.as_array() {
            let status = operations.iter().find(|operation| operation["path"] == "/status");
            object["status"] = status.map(|operation| operation["value"].clone()).unwrap_or_default();
        } else {
            let mut change = body.clone();
            if let Some(metadata) = change["metadata"].as_object_mut() {
                metadata.remove("resourceVersion"); // it was a condition
            }
            merge(&mut object, &change);
            if is_apply {
                own(&mut object, manager, body);
            }
        }
        let stored = self.stored(object);
        objects.insert(of.to_owned(), stored.clone());
        (200, stored)
    }

    /// In its next version.
    fn stored(&self, mut object: Value) -> Value {
        let mut version = self.version.lock().unwrap();
        let before = object["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse::<u64>().ok());
        *version = before.unwrap_or_default().max(*version) + 1;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = json!(format!("made-{version}"));
        }
        object
    }
}

fn refusal(code: u16) -> (u16, Value) {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        _ => "InternalError",
    };
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason}),
    )
}

/// What lies right below a path, if it is one of a collection.
fn listed(objects: &BTreeMap<String, Value>, request: &Request) -> (u16, Value) {
    let path = &request.path;
    let label = request.selector.as_deref().and_then(|selector| selector.split_once('='));
    let is_selected = |object: &Value| label.is_none_or(|(key, value)| object["metadata"]["labels"][key] == value);
    if !path.ends_with('s') {
        return refusal(404);
    }
    let below = format!("{path}/");
    let below = objects.iter().filter(|(at, _)| at.starts_with(&below)).map(|(_, object)| object);
    let items: Vec<&Value> = below.filter(|object| is_selected(object)).collect();
    (200, json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items}))
}

/// Whether the object is still the one that a patch is meant for.
fn fits(object: &Value, body: &Value) -> bool {
    let operations = body.as_array().into_iter().flatten();
    let conditions = operations.filter_map(|operation| {
        let field = operation["path"].as_str()?.strip_prefix("/metadata/")?;
        Some((field.to_owned(), operation["value"].clone()))
    });
    let wanted = ["uid", "resourceVersion"].map(|field| (field.to_owned(), body["metadata"][field].clone()));
    let wanted = if body.is_array() { Vec::new() } else { wanted.to_vec() };
    let mut all = conditions.chain(wanted).filter(|(_, value)| !value.is_null());
    all.all(|(field, value)| object["metadata"][field] == value)
}

/// As RFC 7396 says, and of owners those that a strategic merge patch deletes.
fn merge(object: &mut Value, change: &Value) {
    let Some(fields) = change.as_object() else {
        *object = change.clone();
        return;
    };
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    for (field, value) in fields {
        let deleted = value.as_array().into_iter().flatten().filter(|item| item["$patch"] == "delete");
        let deleted: Vec<&Value> = deleted.map(|item| &item["uid"]).collect();
        if value.is_null() {
            object.as_object_mut().unwrap().remove(field);
        } else if !deleted.is_empty() {
            object[field].as_array_mut().unwrap().retain(|item| !deleted.contains(&&item["uid"]));
        } else {
            merge(&mut object[field], value);
        }
    }
}

/// Notes what a field manager has applied.
fn own(object: &mut Value, manager: &str, applied: &Value) {
    let names = |part: &Value| -> Map<String, Value> {
        part.as_object().into_iter().flatten().map(|(name, _)| (format!("f:{name}"), json!({}))).collect()
    };
    let mut fields = names(applied);
    fields.insert(
        "f:metadata".to_owned(),
        json!({
            "f:labels": names(&applied["metadata"]["labels"]), "f:annotations": names(&applied["metadata"]["annotations"]),
        }),
    );
    let entry = json!({"manager": manager, "operation": "Apply", "fieldsV1": fields});
    let entries = object["metadata"]["managedFields"].take();
    let others = entries.as_array().into_iter().flatten().filter(|entry| entry["manager"] != manager).cloned();
    object["metadata"]["managedFields"] = others.chain([entry]).collect();
}
