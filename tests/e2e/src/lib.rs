//! What the end-to-end tests share: a world of real parts, the built operator in it, and scenes, which are namespaces
//! of their own for one test each.

pub mod conditions;
pub mod operator;
pub mod scene;
pub mod suite;
pub mod wait;
pub mod workloads;
pub mod world;

pub use operator::Operator;
pub use scene::Scene;
pub use world::World;
