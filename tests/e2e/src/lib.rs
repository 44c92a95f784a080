//! What the end-to-end tests share: a world of real parts, the built operator in it, and scenes, which are namespaces
//! of their own for one test each.

pub mod account;
pub mod applier;
pub mod bench;
pub mod conditions;
pub mod database;
pub mod demo;
pub mod document;
pub mod foreign;
pub mod kill;
pub mod kubectl;
pub mod kubelet;
pub mod logins;
pub mod mask;
pub mod operator;
pub mod readers;
pub mod release;
pub mod scene;
pub mod shell;
pub mod shipped;
pub mod suite;
pub mod versions;
pub mod vigil;
pub mod wait;
pub mod workloads;
pub mod world;

pub use account::Account;
pub use operator::Operator;
pub use release::Release;
pub use scene::Scene;
pub use world::World;
