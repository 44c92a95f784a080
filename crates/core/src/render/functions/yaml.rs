//! YAML, as Kubernetes writes and reads it: that of version 1.1, through JSON.

mod read;
mod resolve;
mod write;

use super::{Entry, Type, signature::takes};

/// Characters that YAML has no place for, and line ends that its versions do not read alike.
fn has_no_place(character: char) -> bool {
    matches!(character, '\x7f'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}' | '\u{feff}')
}

/// The functions of this file.
pub const TABLE: &[Entry] =
    &[("toYaml", takes(&[Type::Any]), write::to_yaml), ("fromYaml", takes(&[Type::Text]), read::from_yaml)];
