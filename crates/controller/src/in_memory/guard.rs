//! An API server that holds no objects and has the rights that a test gives: it answers questions about rights, lists
//! and watches.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use http::{Request, Response};
use kube::{Client, client::Body};
use serde_json::{Value, json};

/// See the [module documentation](self).
#[derive(Default)]
pub struct Guard {
    /// As `verb resource place`; the place is a namespace, or `*`.
    rights: Mutex<BTreeSet<String>>,
    /// Paths that start like this fail, with this code.
    broken: Mutex<Vec<(String, u16)>>,
    asked: Mutex<Vec<String>>,
}

impl Guard {
    /// A client of it. It sends no lists as watches.
    pub fn client(self: &Arc<Self>) -> Client {
        let guard = Arc::clone(self);
        let service = tower::service_fn(move |request: Request<Body>| {
            let guard = Arc::clone(&guard);
            async move {
                let (path, query) =
                    (request.uri().path().to_owned(), request.uri().query().unwrap_or_default().to_owned());
                let body = request.into_body().collect_bytes().await.unwrap();
                let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                match guard.answer(&path, &query, &body) {
                    Some((code, answer)) => {
                        let answer = Body::from(answer.to_string().into_bytes());
                        Response::builder().status(code).body(answer)
                    }
                    None => std::future::pending().await,
                }
            }
        });
        Client::new(service, "default")
    }

    /// Gives rights, as `verb resource`.
    pub fn grant(&self, place: &str, rights: &[String]) {
        let rights = rights.iter().map(|right| format!("{right} {place}"));
        self.rights.lock().unwrap().extend(rights);
    }

    /// Takes all rights that end like this, as `verb resource place`.
    pub fn withdraw(&self, end: &str) {
        self.rights.lock().unwrap().retain(|right| !right.ends_with(end));
    }

    /// Paths that start like this fail from now on.
    pub fn fail(&self, begin: &str, code: u16) {
        self.broken.lock().unwrap().push((begin.to_owned(), code));
    }

    /// What was asked for since the last time, as `verb resource place`; questions about rights as `may …`.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// `None`: never.
    fn answer(&self, path: &str, query: &str, body: &Value) -> Option<(u16, Value)> {
        if let Some((_, code)) = self.broken.lock().unwrap().iter().find(|(begin, _)| path.starts_with(begin)) {
            return Some(refusal(*code));
        }
        if path.ends_with("/selfsubjectaccessreviews") {
            let of = &body["spec"]["resourceAttributes"];
            let [verb, resource, place] =
                ["verb", "resource", "namespace"].map(|field| of[field].as_str().unwrap_or("*"));
            let right = format!("{verb} {resource} {place}");
            let mut answer = body.clone();
            answer["status"] = json!({"allowed": self.has(verb, resource, place)});
            self.asked.lock().unwrap().push(format!("may {right}"));
            return Some((201, answer));
        }
        let parts: Vec<&str> = path.split('/').collect();
        let [.., resource] = parts[..] else { return Some(refusal(404)) };
        let place = parts.iter().position(|part| *part == "namespaces").and_then(|at| parts.get(at + 1)).copied();
        let (place, verb) = (place.unwrap_or("*"), if query.contains("watch=true") { "watch" } else { "list" });
        self.asked.lock().unwrap().push(format!("{verb} {resource} {place}"));
        if !self.has(verb, resource, place) {
            return Some(refusal(403));
        }
        if query.contains("sendInitialEvents=true") {
            return Some(refusal(422));
        }
        if verb == "watch" {
            return None; // nothing changes
        }
        Some((200, json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": []})))
    }

    fn has(&self, verb: &str, resource: &str, place: &str) -> bool {
        let rights = self.rights.lock().unwrap();
        [place, "*"].iter().any(|place| rights.contains(&format!("{verb} {resource} {place}")))
    }
}

fn refusal(code: u16) -> (u16, Value) {
    (code, json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code}))
}
