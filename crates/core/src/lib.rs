//! Every decision Rekey makes: pure, synchronous, with `now` passed in. Nothing here reads a clock, a file, the
//! environment or the network; what must be asked of the world is described by the ports in [`store`] and by
//! [`time::Clock`] and [`chance::Chance`].

pub mod account;
pub mod bounds;
pub mod chance;
pub mod consent;
pub mod digest;
pub mod grant;
pub mod health;
pub mod notice;
pub mod password;
pub mod policy;
pub mod published;
pub mod render;
pub mod rollout;
pub mod rotation;
pub mod rotator;
pub mod schedule;
pub mod stop;
pub mod store;
pub mod summary;
pub mod time;
pub mod workload;

mod network;
mod origin;
mod packed;
mod parse;
mod regexp;
mod render_error;
mod request;
mod rotation_proof;
mod runes;
mod secret_bytes;
mod secret_names;
mod seed;
mod spec_error;
mod store_spec;
mod unbuilt;

pub use parse::Parse;
pub use render_error::RenderError;
pub use secret_bytes::SecretBytes;
pub use secret_names::SecretNames;
pub use seed::Seed;
pub use spec_error::SpecError;
pub use store_spec::StoreSpec;
