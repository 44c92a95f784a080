//! Kubernetes Events about our objects.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client, Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use rekey_api::condition::Reason;

/// Publishes Events (<https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>). A lost Event
/// is no reason to fail: it is logged.
pub struct Events {
    client: Client,
    reporter: Reporter,
}

impl Events {
    /// Events of this instance.
    #[must_use]
    pub fn new(client: Client, instance: &str) -> Self {
        let reporter = Reporter { controller: "rekey.dev/rekey".to_owned(), instance: Some(instance.to_owned()) };
        Self { client, reporter }
    }

    /// Tells something that went as wanted.
    pub async fn normal<K: Resource<DynamicType = ()>>(&self, object: &K, reason: Reason, action: &str, note: &str) {
        self.publish(&object.object_ref(&()), EventType::Normal, reason, action, note).await;
    }

    /// Tells something that somebody should look at.
    pub async fn warning<K: Resource<DynamicType = ()>>(&self, object: &K, reason: Reason, action: &str, note: &str) {
        self.publish(&object.object_ref(&()), EventType::Warning, reason, action, note).await;
    }

    /// About an object that is known by reference only.
    pub async fn about(&self, reference: &ObjectReference, reason: Reason, action: &str, note: &str) {
        self.publish(reference, EventType::Normal, reason, action, note).await;
    }

    /// Tells something that somebody should look at, of an object that is known by reference only.
    pub async fn warning_about(&self, reference: &ObjectReference, reason: Reason, action: &str, note: &str) {
        self.publish(reference, EventType::Warning, reason, action, note).await;
    }

    async fn publish(&self, reference: &ObjectReference, type_: EventType, reason: Reason, action: &str, note: &str) {
        let event = Event {
            type_,
            reason: reason.as_str().to_owned(),
            note: Some(clip(note)),
            action: action.to_owned(),
            secondary: None,
        };
        // A recorder counts Events of equal reason and action as one and keeps the first text: who changed a Secret the
        // second time would never be told. So none is kept; statuses change before an Event is made, which bounds them.
        let recorder = Recorder::new(self.client.clone(), self.reporter.clone());
        if let Err(error) = recorder.publish(&event, reference).await {
            tracing::warn!(%reason, object = reference.name, code = ?crate::error::status(&error), "an Event was lost");
        }
    }
}

/// The API takes notes of up to 1 KiB.
fn clip(note: &str) -> String {
    let mut end = note.len().min(1000);
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    note[..end].to_owned()
}
