//! Copies of versions that another tool has made, while there are versions of ours: references leave those whose content
//! proves that they are copies.

use rekey_core::policy::PolicySpec;

use super::{super::Policies, is_restored};
use crate::{
    cluster::{ObjectName, SecretRow, backups},
    error::Error,
};

/// Copies that are looked into in one round.
const MOST: usize = 16;

/// Looks into those that were not looked into yet, and queues the consumers if one is proven.
///
/// # Errors
/// When one cannot be read.
pub async fn prove(ctx: &Policies, policy: &PolicySpec) -> Result<(), Error> {
    if !policy.moves_references() {
        return Ok(());
    }
    let is_open = |_: &str, row: &SecretRow| row.managed().is_some_and(|managed| managed.is_backup.get().is_none());
    let mut is_any = false;
    for backup in backups(&ctx.cluster, policy, is_open).into_iter().take(MOST) {
        let Some(managed) = backup.row.managed() else { continue };
        let name = ObjectName::new(policy.namespace.as_str(), backup.name.as_str());
        let is_backup = is_restored(ctx, policy, &name, &backup.row, managed).await?;
        is_any |= managed.is_backup.set(is_backup).is_ok() && is_backup;
    }
    if is_any {
        ctx.notify.workloads_of(&policy.namespace, policy.names.base());
    }
    Ok(())
}
