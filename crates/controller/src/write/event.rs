//! Kubernetes Events about objects (<https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>).

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use rekey_api::condition::Severity;
use rekey_core::notice::Notice;

use super::Writer;

/// Who reports.
pub fn reporter(instance: &str) -> Reporter {
    Reporter { controller: "rekey.dev/rekey".to_owned(), instance: Some(instance.to_owned()) }
}

impl Writer {
    /// Reports something about an object. An Event that is lost is no reason to fail: it is logged.
    pub async fn event<K: Resource<DynamicType = ()>>(&self, object: &K, notice: &Notice) {
        self.event_about(&object.object_ref(&()), notice).await;
    }

    /// Reports something about an object that is known by reference only.
    pub async fn event_about(&self, reference: &ObjectReference, notice: &Notice) {
        // A recorder counts Events of equal reason and action as one and keeps the first text: who changed a Secret the
        // second time would never be reported. So none is kept; statuses change before an Event is made, which bounds
        // them.
        let recorder = Recorder::new(self.client.clone(), self.reporter.clone());
        if let Err(error) = recorder.publish(&event(notice), reference).await {
            let (reason, code) = (notice.reason, crate::error::status(&error));
            tracing::warn!(%reason, object = reference.name, ?code, "an Event was lost");
        }
    }
}

fn event(Notice { reason, action, text }: &Notice) -> Event {
    Event {
        type_: match reason.severity() {
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
