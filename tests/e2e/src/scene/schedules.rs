//! Schedules of a scene.

use anyhow::Result;
use rekey_api::RotationSchedule;
use serde_json::json;

use super::Scene;
use crate::{conditions::check, wait::until};

impl Scene {
    /// The schedule of the policy of the same name: it writes a password of 40 characters to a key of a store.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn rotate(&self, name: &str, store: &str, key: &str) -> Result<()> {
        let fields = json!([{"property": "password", "password": {"length": 40}}]);
        self.apply(json!({
            "apiVersion": "rekey.dev/v1alpha1",
            "kind": "RotationSchedule",
            "metadata": {"name": name},
            "spec": {
                "policyRef": {"name": name},
                "writeTo": {"storeRef": {"name": store}, "key": key},
                "rotator": {"generate": {"fields": fields}},
            },
        }))
        .await
    }

    /// A schedule.
    ///
    /// # Errors
    /// When it cannot be read, or its conditions break a rule.
    pub async fn schedule(&self, name: &str) -> Result<RotationSchedule> {
        let schedule = self.api::<RotationSchedule>().get(name).await?;
        check(name, &schedule.status.clone().unwrap_or_default().conditions)?;
        Ok(schedule)
    }

    /// Waits until the operator has looked at a schedule: what was requested before is recorded, and not acted on.
    ///
    /// # Errors
    /// When it does not.
    pub async fn wait_seen(&self, schedule: &str) -> Result<()> {
        until(&format!("RotationSchedule {schedule} is seen"), || async {
            let status = self.schedule(schedule).await?.status.unwrap_or_default();
            Ok((!status.is_unseen()).then_some(()))
        })
        .await
    }

    /// Waits until the open rotation of a schedule is in this step, and returns what it waits for.
    ///
    /// # Errors
    /// When it does not get there.
    pub async fn wait_step(&self, schedule: &str, step: &str) -> Result<String> {
        until(&format!("a rotation of {schedule} in step {step}"), || async {
            let open = self.schedule(schedule).await?.status.and_then(|status| status.rotation);
            Ok(open.filter(|open| open.step.as_str() == step).map(|open| open.message.unwrap_or_default()))
        })
        .await
    }
}
