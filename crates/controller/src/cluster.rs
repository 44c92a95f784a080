//! What is known of the cluster: rows of its objects, by name, by what they refer to, and how complete the lists are. Nothing
//! here knows a queue, a store or who is told of a change.

pub mod listings;

mod identity;
mod index;
mod name;
mod namespace;
mod rows;
mod table;

pub use self::{
    identity::{Uid, Version},
    index::{References, Referent, Refers, stores_of},
    name::{ObjectName, row_name, workload_name},
    namespace::{NamespaceAccess, Namespaces},
    rows::{
        Holder, Managed, NamespaceRow, Object, Owner, SecretRow, WorkloadRow, other_annotations, own_tags,
        owns_annotation,
    },
    table::{Answer, Change, Row, Table},
};
