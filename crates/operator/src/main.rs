//! The Rekey operator.

mod api_server;
mod args;
mod client;
mod health;
mod lease;
mod run;
mod serve;
mod system;
mod telemetry;
mod version;

use std::process::ExitCode;

use clap::Parser as _;

/// Freed memory is zeroed, so that values do not stay behind in buffers of HTTP and TLS libraries.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> = zeroizing_alloc::ZeroAlloc(std::alloc::System);

fn main() -> ExitCode {
    match args::Args::parse().command {
        args::Command::Crds => system::print(&rekey_api::crds::yaml()),
        args::Command::Run(options) => run::main(*options),
    }
}
