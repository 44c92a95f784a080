//! From fetched values to the data of a Secret.

mod certificate;
mod decoding;
pub mod expression;
mod functions;
pub mod json;
pub mod keys;
pub mod kinds;
pub mod mapping;
pub mod property;
pub mod template;
pub mod work;
mod yaml;

pub use crate::render_error::RenderError;
