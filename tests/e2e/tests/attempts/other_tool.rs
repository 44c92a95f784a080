//! What another tool does to a Secret of a policy.

use std::collections::BTreeMap;

use anyhow::Result;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    ResourceExt as _,
    api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams},
};
use rekey_api::names;
use rekey_e2e::{Scene, wait::until};
use serde_json::{Value, json};

/// What it writes in place of the password.
pub const THEIRS: &str = "theirs";
/// The name of the label and of the annotation that it puts on, and of its finalizer.
pub const FOREIGN: &str = "example.com/team";

/// See the [module documentation](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// Deletes it.
    Delete,
    /// Deletes it, and makes another one of its name with other bytes.
    Recreate(Other),
    /// Applies other bytes by force, as a field manager of its own.
    ForceApply,
    /// Changes the value of a key.
    Edit,
    /// Adds a key.
    AddKey,
    /// Takes a key off.
    RemoveKey,
    /// Takes off the label by which it is ours.
    TakeLabel,
    /// Takes off an annotation of ours.
    Take(&'static str),
    /// Takes off that label, and every annotation of ours.
    TakeAll,
    /// Puts a label and an annotation of its own on.
    AddMarks,
    /// Adds an owner of its own.
    AddOwner,
    /// Adds a controlling owner of its own.
    AddController,
    /// Adds a finalizer.
    AddFinalizer,
    /// Makes it immutable.
    Freeze,
    /// Makes it immutable with other bytes.
    FreezeTheirs,
    /// Makes it mutable.
    Thaw,
}

/// What another Secret of the name is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Other {
    Mutable,
    Immutable,
    /// Of another type.
    Type,
    /// With all labels and annotations of the one before.
    Marked,
}

/// All attempts. Those after which a way out takes long come last.
pub const ALL: [Attempt; 22] = [
    Attempt::Delete,
    Attempt::Recreate(Other::Mutable),
    Attempt::Recreate(Other::Immutable),
    Attempt::Recreate(Other::Type),
    Attempt::Recreate(Other::Marked),
    Attempt::ForceApply,
    Attempt::Edit,
    Attempt::AddKey,
    Attempt::RemoveKey,
    Attempt::TakeLabel,
    Attempt::Take(names::POLICY),
    Attempt::Take(names::REVISION),
    Attempt::Take(names::DIGESTS),
    Attempt::Take(names::CHANGES),
    Attempt::TakeAll,
    Attempt::AddMarks,
    Attempt::AddOwner,
    Attempt::AddController,
    Attempt::AddFinalizer,
    Attempt::Thaw,
    Attempt::FreezeTheirs,
    Attempt::Freeze,
];

/// What the API server says to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Taken,
    Refused,
}

/// The annotations of ours.
const OURS: [&str; 7] =
    [names::POLICY, names::REVISION, names::DIGESTS, names::CHANGES, names::ON_POLICY_DELETE, names::COPY, names::HELD];

impl Attempt {
    /// Does it.
    pub async fn make(self, scene: &Scene, name: &str) -> Result<Answer> {
        let bytes = json!({"stringData": {"password": THEIRS}});
        let metadata = |metadata: Value| json!({ "metadata": metadata });
        let body = match self {
            Self::Delete => {
                scene.api::<Secret>().delete(name, &DeleteParams::default()).await?;
                return Ok(Answer::Taken);
            }
            Self::Recreate(other) => return other.make(scene, name).await.map(|()| Answer::Taken),
            Self::ForceApply => {
                let mut body = bytes;
                body["apiVersion"] = json!("v1");
                body["kind"] = json!("Secret");
                body["metadata"] = json!({ "name": name });
                return answer(scene.api::<Secret>().patch(name, &tool().force(), &Patch::Apply(&body)).await);
            }
            Self::Edit => bytes,
            Self::AddKey => json!({"stringData": {"extra": THEIRS}}),
            Self::RemoveKey => json!({"data": {"password": null}}),
            Self::TakeLabel => metadata(json!({"labels": {names::MANAGED_BY: null}})),
            Self::Take(annotation) => metadata(json!({"annotations": {annotation: null}})),
            Self::TakeAll => {
                let annotations: Value = OURS.iter().map(|name| ((*name).to_owned(), Value::Null)).collect();
                metadata(json!({"labels": {names::MANAGED_BY: null}, "annotations": annotations}))
            }
            Self::AddMarks => metadata(json!({"labels": {FOREIGN: THEIRS}, "annotations": {FOREIGN: THEIRS}})),
            Self::AddOwner | Self::AddController => {
                let (uid, controller) = (owning(scene).await?, self == Self::AddController);
                metadata(json!({"ownerReferences": [{
                    "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid, "controller": controller,
                }]}))
            }
            Self::AddFinalizer => metadata(json!({"finalizers": [FOREIGN]})),
            Self::Freeze => json!({"immutable": true}),
            Self::FreezeTheirs => json!({"immutable": true, "stringData": {"password": THEIRS}}),
            Self::Thaw => json!({"immutable": false}),
        };
        answer(scene.api::<Secret>().patch(name, &tool(), &Patch::Strategic(&body)).await)
    }
}

/// Another tool as a field manager.
pub fn tool() -> PatchParams {
    PatchParams { field_manager: Some("other-tool".to_owned()), ..PatchParams::default() }
}

fn answer(answer: kube::Result<Secret>) -> Result<Answer> {
    match answer {
        Ok(_) => Ok(Answer::Taken),
        Err(kube::Error::Api(status)) if status.code == 422 => Ok(Answer::Refused),
        Err(error) => Err(error.into()),
    }
}

/// The uid of an object that may own others.
async fn owning(scene: &Scene) -> Result<String> {
    scene.apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner"}})).await?;
    Ok(scene.api::<ConfigMap>().get("owner").await?.uid().unwrap_or_default())
}

impl Other {
    /// Until this tool is the faster one.
    async fn make(self, scene: &Scene, name: &str) -> Result<()> {
        let api = scene.api::<Secret>();
        let before = api.get(name).await?;
        let marks = |all: &BTreeMap<String, String>| (self == Self::Marked).then(|| all.clone());
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: marks(before.labels()),
                annotations: marks(before.annotations()),
                ..ObjectMeta::default()
            },
            immutable: (self == Self::Immutable).then_some(true),
            string_data: Some([("password".to_owned(), THEIRS.to_owned())].into()),
            type_: (self == Self::Type).then(|| "example.com/other".to_owned()),
            ..Secret::default()
        };
        let params = PostParams { field_manager: Some("other-tool".to_owned()), ..PostParams::default() };
        until("another tool is faster", async || {
            api.delete(name, &DeleteParams::default()).await.ok();
            Ok(api.create(&params, &secret).await.ok().map(drop))
        })
        .await
    }
}
