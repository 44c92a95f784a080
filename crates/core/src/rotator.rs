//! The rotators: what each of them asks for and makes, pure.

pub mod ssh_key_pair;
