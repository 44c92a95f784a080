//! The stores behind the port [`rekey_core::store`]. Types of SDKs and clients end here: what leaves this crate is
//! [`rekey_core::store::StoreError`], in our words.
//!
//! The binary needs only [`Stores`] and [`rotators::Proofs`].

mod address;
mod aws;
mod connect;
mod escapes;
mod http;
mod json;
mod number;
mod rights;
mod roots;
pub mod rotators;
mod session;
mod vault;

pub use connect::Stores;
