//! The Kubernetes side of Rekey. Each kind is reconciled in the same four moves: **observe** what is there (tables fed
//! by watches, fresh reads where it matters), **plan** what should follow (in `rekey-core`, pure), **apply** each step,
//! and **settle** the status, Events and metrics once.

pub mod context;
pub mod drive;
pub mod error;
pub mod metrics;
pub mod namespaces;
pub mod pulse;

mod apply;
mod cluster;
mod connections;
mod credentials;
mod digest_key;
mod events;
mod fair;
mod labels;
mod locks;
mod memory;
mod notify;
mod pages;
mod policy;
mod pool;
mod queue;
mod rotation;
mod run;
mod settle;
mod store;
mod store_kind;
mod turns;
mod watch;
mod workload;
mod workshop;

pub use context::Settings;
pub use run::{Parts, run};
