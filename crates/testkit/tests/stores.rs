//! The stores, the database and the fault proxy do what other tests rely on.

mod stores {
    pub mod aws;
    pub mod database;
    pub mod openbao;
    pub mod postgres_proxy;
    pub mod proxy;
    pub mod upstream;
}

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = [
        stores::proxy::trials(),
        stores::openbao::trials(),
        stores::aws::trials(),
        stores::database::trials(),
        stores::postgres_proxy::trials(),
    ];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit_code()
}

/// A test that runs on a runtime of its own.
pub fn trial<F>(name: &str, test: impl FnOnce() -> F + Send + 'static) -> Trial
where
    F: Future<Output = anyhow::Result<()>>,
{
    Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(test()).map_err(|error| Failed::from(format!("{error:?}")))
    })
}
