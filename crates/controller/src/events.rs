//! Kubernetes Events about our objects.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client, Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use rekey_core::notice::{Notice, Severity};

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

    /// Tells something about an object.
    pub async fn tell<K: Resource<DynamicType = ()>>(&self, object: &K, notice: &Notice) {
        self.tell_about(&object.object_ref(&()), notice).await;
    }

    /// Tells something about an object that is known by reference only.
    pub async fn tell_about(&self, reference: &ObjectReference, notice: &Notice) {
        // A recorder counts Events of equal reason and action as one and keeps the first text: who changed a Secret the
        // second time would never be told. So none is kept; statuses change before an Event is made, which bounds them.
        let recorder = Recorder::new(self.client.clone(), self.reporter.clone());
        if let Err(error) = recorder.publish(&event(notice), reference).await {
            let (reason, code) = (notice.reason, crate::error::status(&error));
            tracing::warn!(%reason, object = reference.name, ?code, "an Event was lost");
        }
    }
}

fn event(Notice { severity, reason, action, text }: &Notice) -> Event {
    Event {
        type_: match severity {
            Severity::Normal => EventType::Normal,
            Severity::Warning => EventType::Warning,
        },
        reason: reason.as_str().to_owned(),
        note: Some(clip(text)),
        action: (*action).to_owned(),
        secondary: None,
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
