//! YAML, as Kubernetes writes and reads it: that of version 1.1, through JSON.

mod read;
mod resolve;
mod write;

use super::{Entry, Type, signature::takes};

/// The functions of this file.
pub const TABLE: &[Entry] =
    &[("toYaml", takes(&[Type::Any]), write::to_yaml), ("fromYaml", takes(&[Type::Text]), read::from_yaml)];
