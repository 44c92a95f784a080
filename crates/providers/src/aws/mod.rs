//! AWS: Secrets Manager and Parameter Store, over one login.

mod batches;
mod clients;
mod errors;
mod found;
mod keys;
mod login;
mod open;
mod parameter_store;
mod secrets_manager;
mod service;
mod transport;

pub(crate) use self::open::open;
