//! The pending Secret of a rotation.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api,
    api::{DeleteParams, PostParams, Preconditions},
};
use rekey_api::names;
use rekey_core::{
    digest::DigestKey,
    rotation::{Pending, Prepared, Task},
};

use super::{Writer, bytes};
use crate::error::{Error, Operation, status};

impl Writer {
    /// Makes the pending Secret of a rotation. If one is there already it stays: the next look shows whose it is.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn pending(&self, task: &Task, prepared: &Prepared, key: &DigestKey) -> Result<(), Error> {
        let name = Pending::name(&prepared.id);
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &task.spec.namespace);
        let pairs = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>()
        };
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                labels: Some(pairs(&[
                    (names::MANAGED_BY, names::MANAGED_BY_VALUE),
                    (names::SCHEDULE_UID, &task.spec.uid),
                ])),
                annotations: Some(prepared.annotations(task, key)),
                ..ObjectMeta::default()
            },
            data: Some(bytes(&prepared.values)),
            immutable: Some(true),
            ..Secret::default()
        };
        let params = PostParams { field_manager: Some(names::MANAGER.to_owned()), ..PostParams::default() };
        match api.create(&params, &secret).await {
            Ok(_) => Ok(()),
            Err(error) if status(&error) == Some(409) => Ok(()),
            Err(error) => Err(Error::api(Operation::CreatePending, name)(error)),
        }
    }

    /// Deletes a pending Secret.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn drop_pending(&self, namespace: &str, name: &str, uid: &str) -> Result<(), Error> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
            ..DeleteParams::default()
        };
        match api.delete(name, &params).await {
            Ok(_) => Ok(()),
            Err(error) if matches!(status(&error), Some(404 | 409)) => Ok(()),
            Err(error) => Err(Error::api(Operation::DeletePending, name)(error)),
        }
    }
}
