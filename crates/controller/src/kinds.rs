//! The kinds that are reconciled, each in the same four moves: **observe** what is there (tables fed by watches, fresh
//! reads where it matters), **plan** what should follow (in `rekey-core`, pure), **apply** each step, and **settle**
//! the status, Events and metrics once.

pub mod policy;
pub mod rotation;
pub mod store;
pub mod workload;
