//! What the effects of the operator come to.

use super::*;

impl World {
    pub fn perform(&mut self, task: &Task, seen: &Seen, effect: &Effect) {
        let line = match effect {
            Effect::AddFinalizer => {
                self.finalizer(true);
                "puts the finalizer on the schedule".to_owned()
            }
            Effect::RemoveFinalizer => {
                self.finalizer(false);
                "takes the finalizer off the schedule".to_owned()
            }
            Effect::MakePending { id } => {
                let read = self.remote();
                let current = current(task, read.as_ref()).unwrap();
                let values = task.spec.rotator.prepare(&current, &self.chance).unwrap();
                let database = task.spec.rotator.database();
                let made = Prepared {
                    id: id.clone(),
                    base: read.as_ref().map(|read| read.version.clone()),
                    base_digest: base_digest(task, read.as_ref(), &self.digest_key).unwrap(),
                    users: database
                        .map(|database| database.base(&current, &values, &self.known_roles(), &task.spec.uid)),
                    values,
                };
                let metadata = ObjectMeta {
                    name: Some(Pending::name(id)),
                    uid: Some(format!("uid-of-{id}")),
                    annotations: Some(made.annotations(task, &self.digest_key)),
                    ..ObjectMeta::default()
                };
                if self.pending.iter().all(|(there, _)| there.name != metadata.name) {
                    self.made += 1;
                    self.pending.push((metadata, made.values));
                }
                "makes the pending Secret".to_owned()
            }
            Effect::WriteStore { base, stage } => {
                let read = self.remote();
                let pending = seen.pending.as_ref().unwrap();
                if read.as_ref().map(|read| &read.version) == base.as_ref() {
                    let bytes = merge(task, pending, *stage, read.as_ref()).unwrap();
                    let version = self.store.as_ref().map_or(0, |(version, _)| *version) + 1;
                    self.store = Some((version, serde_json::from_slice(bytes.expose()).unwrap()));
                    self.writes += 1;
                }
                let stage = if *stage == Stage::Live { String::new() } else { format!(", {stage:?}") };
                format!("writes the store over version {}{stage}", base.as_deref().unwrap_or("none"))
            }
            Effect::Grant | Effect::Revoke { .. } | Effect::Forget { .. } => {
                self.alter(task, seen.pending.as_ref().unwrap(), effect)
            }
            Effect::DropPending { uid, .. } => {
                self.drop_pending(uid);
                "drops the pending Secret".to_owned()
            }
        };
        self.log.push(format!("effect    {line}"));
    }

    fn drop_pending(&mut self, uid: &String) {
        let now = time::kube(self.now);
        for (metadata, _) in &mut self.pending {
            if metadata.uid.as_ref() == Some(uid) && metadata.finalizers.is_some() {
                metadata.deletion_timestamp.get_or_insert(now.clone());
            }
        }
        self.pending.retain(|(at, _)| at.uid.as_ref() != Some(uid) || at.finalizers.is_some());
    }
}
