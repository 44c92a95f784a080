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
mod tags;
mod transport;

/// When a version was created, if the service says so.
fn time(date: Option<aws_smithy_types::DateTime>) -> Option<chrono::DateTime<chrono::Utc>> {
    let date = date?;
    chrono::DateTime::from_timestamp(date.secs(), date.subsec_nanos())
}
