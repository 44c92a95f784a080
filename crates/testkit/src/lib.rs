//! The real servers of Rekey's tests: a control plane, a node, stores, a database, an SSH server, and a proxy that
//! breaks the connections between them at a chosen point. For tests only.

pub mod bao;
pub mod cache;
pub mod checkout;
pub mod debian;
pub mod helm;
mod loopback;
pub mod moto;
pub mod network;
pub mod node;
pub mod oracle;
pub mod plane;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod python;
pub mod sshd;
pub mod wait;
