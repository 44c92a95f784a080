//! One suite for every store, against the real thing: `OpenBao`, and the emulator of AWS.

mod aws;
mod cases;
mod keeper;
mod logs;
mod stub;
mod subject;
mod vault;

use std::sync::Arc;

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::{Handle, Runtime};

use crate::subject::Subject;

fn main() -> Result<()> {
    let arguments = Arguments::from_args();
    let logs = logs::record();
    let runtime = Runtime::new()?;
    let (bao, moto) = runtime.block_on(async { tokio::try_join!(vault::Bao::start(), aws::Aws::start()) })?;
    let (bao, moto) = (Arc::new(bao), Arc::new(moto));
    let mut secrets = [bao.secrets(), moto.secrets()].concat();
    // The SDK logs the id of an access key at debug. It is a name, not a secret; the operator's log floor is info.
    secrets.retain(|secret| !secret.starts_with("AKIA"));
    secrets.extend([subject::CANARY.to_owned(), subject::BAD.to_owned()]);

    let handle = runtime.handle();
    let mut trials = shared(handle, &(Arc::clone(&bao) as Arc<dyn Subject>));
    trials.extend(shared(handle, &(Arc::clone(&moto) as Arc<dyn Subject>)));
    trials.extend(only_vault(handle, &bao));
    trials.extend(only_aws(handle, &moto));
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop((bao, moto)); // `exit` would leave the servers to die with us
    let leaks = logs.leaks(&secrets);
    for leak in &leaks {
        eprintln!("this was logged: {leak:.300}");
    }
    println!("{} log lines hold {} secrets", logs.lines(), leaks.len());
    if leaks.is_empty() { conclusion.exit() } else { std::process::exit(101) }
}

/// A case as a trial.
fn trial<S, F>(handle: &Handle, name: String, subject: &Arc<S>, case: fn(Arc<S>) -> F) -> Trial
where
    S: ?Sized + Send + Sync + 'static,
    F: Future<Output = Result<()>> + Send + 'static,
{
    let (handle, subject) = (handle.clone(), Arc::clone(subject));
    Trial::test(name, move || handle.block_on(case(subject)).map_err(|error| Failed::from(format!("{error:#}"))))
}

macro_rules! trials {
    ($handle:expr, $subject:expr, $prefix:expr, $module:ident: $($case:ident)*) => {
        vec![$(trial($handle, format!("{}::{}", $prefix, stringify!($case)), $subject, $module::$case)),*]
    };
}

fn shared(handle: &Handle, subject: &Arc<dyn Subject>) -> Vec<Trial> {
    trials!(handle, subject, subject.name(), cases:
        found missing probed read_only denied fixed_later no_credential unavailable silent strange_answers redirect big unicode
        version_pin write_then_read wrong_base written_twice create racing_writes)
}

fn only_vault(handle: &Handle, bao: &Arc<vault::Bao>) -> Vec<Trial> {
    trials!(handle, bao, "openbao", vault:
        restricted_token deleted refused_requests strange_keys kubernetes_login kubernetes_refused
        renewed_token namespaces certificates sealed)
}

fn only_aws(handle: &Handle, moto: &Arc<aws::Aws>) -> Vec<Trial> {
    trials!(handle, moto, "aws", aws:
        other_key binary stage_pin no_mark_stays foreign_pending resumed overtaken to_be_deleted too_big other_region)
}
