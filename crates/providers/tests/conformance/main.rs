//! One suite for every store, against real servers: `OpenBao`, and the emulator of AWS.

mod aws;
mod aws_login;
mod bytes;
mod cases;
mod find;
mod find_aws;
mod keeper;
mod logs;
mod metadata;
mod parameters;
mod referenced;
mod secret_names;
mod stub;
mod subject;
mod vault;

use std::sync::Arc;

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::{Handle, Runtime};

use crate::{
    subject::Subject,
    vault::{
        auth, engine,
        kv1::{self, Plain},
        search, spelling, verbatim,
    },
};

fn main() -> Result<()> {
    if let Some(endpoint) = std::env::args().skip_while(|argument| argument != aws_login::CHILD).nth(1) {
        return Runtime::new()?.block_on(aws_login::with_own_credentials(&endpoint));
    }
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
    let plain = Arc::new(Plain(Arc::clone(&bao)));
    trials.extend(without_versions(handle, &(Arc::clone(&plain) as Arc<dyn Subject>)));
    trials.extend(searched(handle, &(Arc::clone(&bao) as Arc<dyn Subject>)));
    trials.extend(only_vault(handle, &bao));
    trials.extend(only_kv1(handle, &plain));
    trials.extend(only_aws(handle, &moto));
    let parameters = Arc::new(parameters::Parameters(Arc::clone(&moto)));
    trials.extend(shared(handle, &(Arc::clone(&parameters) as Arc<dyn Subject>)));
    // Parameter Store has no check of the version that is overwritten: its own case says what is left of this one.
    trials.retain(|trial| trial.name() != "parameters::racing_writes");
    trials.extend(only_parameters(handle, &parameters));
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop((plain, bao, moto, parameters)); // `exit` would leave the servers to die with us
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
        found dated missing probed read_only denied fixed_later no_credential unavailable silent strange_answers redirect big unicode
        version_pin write_then_read wrong_base written_twice create racing_writes)
}

/// What holds for a store that keeps no versions.
fn without_versions(handle: &Handle, subject: &Arc<dyn Subject>) -> Vec<Trial> {
    let mut trials = trials!(handle, subject, subject.name(), cases:
        found dated missing probed read_only denied fixed_later no_credential unavailable silent strange_answers redirect big unicode
        written_twice create);
    trials.extend(trials!(handle, subject, subject.name(), find: found_by_path found_by_name nothing_found));
    trials
}

/// For stores that are searched by tags, too.
fn searched(handle: &Handle, subject: &Arc<dyn Subject>) -> Vec<Trial> {
    trials!(handle, subject, subject.name(), find: found_by_path found_by_name found_by_tag nothing_found)
}

fn only_vault(handle: &Handle, bao: &Arc<vault::Bao>) -> Vec<Trial> {
    let mut trials = trials!(handle, bao, "openbao", vault:
        restricted_token deleted refused_requests strange_keys namespaces certificates sealed searchable binary
        many_keys bounded);
    trials.extend(trials!(handle, bao, "openbao", verbatim: kept));
    trials.extend(trials!(handle, bao, "openbao", metadata: custom custom_denied uncounted));
    trials.extend(trials!(handle, bao, "openbao", spelling: slashes request_in_key));
    trials.extend(trials!(handle, bao, "openbao", auth:
        kubernetes_login kubernetes_refused endless_login idle_token app_role_login jwt_login));
    trials.extend(trials!(handle, bao, "openbao", search:
        search_denied tags_denied search_refused search_too_wide search_bounded));
    trials.extend(trials!(handle, bao, "openbao", engine:
        certificates_issued database_roles engine_refusals engine_answers));
    trials
}

fn only_kv1(handle: &Handle, plain: &Arc<Plain>) -> Vec<Trial> {
    let mut trials = trials!(handle, plain, "openbao-kv1", kv1:
        no_versions overwritten written_otherwise written_over hints other_version no_tags);
    trials.extend(trials!(handle, plain, "openbao-kv1", verbatim: kept_plain));
    trials.extend(trials!(handle, plain, "openbao-kv1", metadata: none_in_kv1));
    trials.extend(trials!(handle, plain, "openbao-kv1", spelling: slashes_plain));
    trials
}

fn only_aws(handle: &Handle, moto: &Arc<aws::Aws>) -> Vec<Trial> {
    trials!(handle, moto, "aws", aws:
        other_key binary stage_pin batches batches_denied batches_throttled no_mark_stays foreign_pending resumed
        overtaken to_be_deleted too_big other_region bounded)
    .into_iter()
    .chain(trials!(handle, moto, "aws", aws_login:
            assumed_role web_identity chained_roles refused_by_sts refreshed own_credentials odd_times))
    .chain(trials!(handle, moto, "aws", find_aws: secrets secrets_by_tag denied))
    .chain(trials!(handle, moto, "aws", secret_names: names))
    .chain(trials!(handle, moto, "aws", bytes: secrets))
    .chain(trials!(handle, moto, "aws", metadata: secrets))
    .collect()
}

fn only_parameters(handle: &Handle, parameters: &Arc<parameters::Parameters>) -> Vec<Trial> {
    trials!(handle, parameters, "parameters", parameters:
        kinds kept_as_it_was label_pin names limits batches batches_denied raced)
    .into_iter()
    .chain(trials!(handle, parameters, "parameters", referenced: read together as_documented denied not_written))
    .chain(trials!(handle, parameters, "parameters", bytes: parameters))
    .chain(trials!(handle, parameters, "parameters", metadata: parameters))
    .chain(trials!(handle, parameters, "parameters", find_aws: parameters parameters_by_tag))
    .collect()
}
