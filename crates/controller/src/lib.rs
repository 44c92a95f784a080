//! The Kubernetes side of Rekey: what is known of the cluster, what has to be looked at because it changed, and the
//! kinds that are reconciled ([`kinds`]).

pub mod error;
pub mod metrics;
pub mod pulse;

mod cluster;
mod context;
mod fair;
#[cfg(test)]
mod in_memory;
mod kinds;
mod labels;
mod line;
mod locks;
mod memory;
mod namespaces;
mod notify;
mod pages;
mod pool;
mod queue;
mod run;
mod settings;
mod stores;
mod watch;
mod workshop;
#[expect(clippy::disallowed_methods, reason = "the room that writes")]
mod write;

pub use context::Parts;
pub use run::run;
pub use settings::Settings;
