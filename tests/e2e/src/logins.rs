//! Logins all the time: what the store has, and what each ready pod has in its environment.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt as _, api::ListParams};
use rekey_testkit::postgres::Postgres;
use tokio::time::sleep;

use crate::{Scene, database::logs_in, workloads::is_ready};

/// Between two rounds: each login is a process, and others need the processors too.
const PAUSE: Duration = Duration::from_millis(100);

/// Does `work`, and meanwhile tries the login that the store has and those of the ready pods of `app`, at the server itself.
/// Returns also how many logins of pods there were.
///
/// # Errors
/// When `work` fails, or a login of a pod that is ready before and after, or of a value that is stored before and after.
pub async fn during<T>(
    scene: &Scene,
    postgres: &Arc<Postgres>,
    app: &str,
    work: impl Future<Output = Result<T>>,
) -> Result<(T, u32)> {
    let count = AtomicU32::new(0);
    let tries = async {
        loop {
            stored(scene, postgres).await?;
            count.fetch_add(of_pods(scene, postgres, app).await?, Ordering::Relaxed);
            sleep(PAUSE).await;
        }
    };
    let done: Result<T> = tokio::select! {
        done = work => done,
        failed = tries => failed,
    };
    Ok((done?, count.into_inner()))
}

async fn stored(scene: &Scene, postgres: &Arc<Postgres>) -> Result<()> {
    let (user, password) = scene.stored_login().await?;
    let works = logs_in(postgres, &user, &password).await?;
    ensure!(works || scene.stored_login().await? != (user.clone(), password), "{user}, which is stored, cannot log in");
    Ok(())
}

async fn of_pods(scene: &Scene, postgres: &Arc<Postgres>, app: &str) -> Result<u32> {
    let mut count = 0;
    for (pod, uid) in ready(scene, app).await? {
        let Ok(all) = scene.world.node()?.environment(&scene.namespace, &pod).await else { continue };
        let (Some(user), Some(password)) = (all.get("username"), all.get("password")) else { continue };
        // What a pod held that has gone meanwhile may have ended.
        if !logs_in(postgres, user, password).await? && ready(scene, app).await?.get(&pod) == Some(&uid) {
            bail!("{user}, which the ready pod {pod} has, cannot log in");
        }
        count += 1;
    }
    Ok(count)
}

async fn ready(scene: &Scene, app: &str) -> Result<BTreeMap<String, String>> {
    let params = ListParams::default().labels(&format!("app={app}"));
    let pods = scene.api::<Pod>().list(&params).await?.items.into_iter().filter(is_ready);
    Ok(pods.map(|pod| (pod.name_any(), pod.uid().unwrap_or_default())).collect())
}
