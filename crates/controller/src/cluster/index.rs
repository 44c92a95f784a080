//! Finds the rows that refer to an object, without looking at all of them: a namespace may hold thousands of policies
//! and Secrets, and each Secret that changes asks who is concerned.
//!
//! The index of a table is kept by [`Table`](crate::cluster::Table) where a row comes, changes or goes, and nowhere
//! else.

use std::collections::BTreeSet;

use kube::Resource;
use rekey_api::{
    ClusterRemoteStore, RemoteStore, RotationSchedule, SecretPolicy, policy::RemoteSource, reference::StoreRef,
};
use rekey_core::{
    SecretNames,
    store::provider::{self, Reference},
    workload::Kind,
};

use super::row_name;

/// The kind of an object that rows refer to, by its name in their namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Referent {
    /// A Secret: published (by the plain name of its policy), consumed, or holding a credential.
    Secret,
    /// A `RemoteStore` or a `ClusterRemoteStore` of this name.
    Store,
    Policy,
    /// A workload, by kind and name.
    Workload,
    /// A Secret that pods of an account may refer to.
    Mountable,
}

/// What an object refers to.
pub type References = BTreeSet<(Referent, String)>;

/// Objects of ours, which refer to others.
pub trait Refers: Resource<DynamicType = ()> {
    /// To what.
    fn references(&self) -> References;
}

impl Refers for SecretPolicy {
    fn references(&self) -> References {
        let mut all = References::from([(Referent::Secret, SecretNames::of(self).base().to_owned())]);
        if let Some(remote) = &self.spec.source.remote {
            all.extend(stores_of(remote).map(|store| (Referent::Store, store.name)));
        }
        let named = self.spec.rollout.consumers.iter().filter_map(|at| Some((Kind::named(at)?, &at.name)));
        all.extend(named.map(|(kind, name)| (Referent::Workload, row_name(kind, name))));
        all.extend(self.spec.source.vault_engine.iter().map(|engine| (Referent::Store, engine.store_ref.name.clone())));
        all
    }
}

impl Refers for RotationSchedule {
    fn references(&self) -> References {
        let mut all = References::from([(Referent::Policy, self.spec.policy_ref.name.clone())]);
        all.extend(self.spec.write_to.iter().map(|to| (Referent::Store, to.store_ref.name.clone())));
        all
    }
}

impl Refers for RemoteStore {
    fn references(&self) -> References {
        let secrets = provider::references(&self.spec.provider).into_iter().filter_map(Reference::secret);
        secrets.map(|name| (Referent::Secret, name.to_owned())).collect()
    }
}

impl Refers for ClusterRemoteStore {
    fn references(&self) -> References {
        References::new()
    }
}

/// The stores that a source names.
pub fn stores_of(remote: &RemoteSource) -> impl Iterator<Item = StoreRef> {
    let items = remote.data.iter().filter_map(|item| item.store_ref.clone());
    let sets = remote.data_from.iter().filter_map(|set| set.store_ref.as_ref().map(StoreRef::from));
    items.chain(sets).chain([remote.store_ref.clone()])
}

/// See the [module documentation](self). One ordered set: most objects are referred to by one row, and a set for each
/// would be larger than what it holds.
#[derive(Debug, Default)]
pub struct Index {
    /// What is referred to, and the name of the row that does.
    referring: BTreeSet<(Referent, Box<str>, Box<str>)>,
}

impl Index {
    /// Names of the rows that refer to this object, in order.
    pub fn referring(&self, to: Referent, name: &str) -> impl Iterator<Item = &str> {
        let first = (to, Box::from(name), Box::default());
        let from_there = self.referring.range(first..);
        from_there.take_while(move |(kind, of, _)| *kind == to && of.as_ref() == name).map(|(_, _, row)| row.as_ref())
    }

    /// Names of the rows that refer to an object whose name starts with `prefix` and is meant, in order, each once.
    pub fn referring_to_any(&self, to: Referent, prefix: &str, is_meant: impl Fn(&str) -> bool) -> BTreeSet<&str> {
        let first = (to, Box::from(prefix), Box::default());
        let from_there = self.referring.range(first..);
        let found = from_there.take_while(|(kind, of, _)| *kind == to && of.starts_with(prefix));
        found.filter(|(_, of, _)| is_meant(of)).map(|(_, _, row)| row.as_ref()).collect()
    }

    /// The row `name` referred to `before` and refers to `now`.
    pub fn update(&mut self, name: &str, before: &References, now: &References) {
        let entry = |(kind, to): &(Referent, String)| (*kind, Box::from(to.as_str()), Box::from(name));
        for gone in before.difference(now) {
            self.referring.remove(&entry(gone));
        }
        self.referring.extend(now.difference(before).map(entry));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn references(pairs: &[(Referent, &str)]) -> References {
        pairs.iter().map(|(referent, name)| (*referent, (*name).to_owned())).collect()
    }

    #[test]
    fn a_row_is_found_by_what_it_refers_to_now() {
        let (nothing, db) = (References::new(), references(&[(Referent::Secret, "db"), (Referent::Store, "vault")]));
        let mut index = Index::default();
        index.update("b", &nothing, &db);
        index.update("a", &nothing, &db);
        assert_eq!(index.referring(Referent::Secret, "db").collect::<Vec<_>>(), ["a", "b"]);
        let cache = references(&[(Referent::Secret, "cache"), (Referent::Store, "vault")]);
        index.update("a", &db, &cache);
        assert_eq!(index.referring(Referent::Secret, "db").collect::<Vec<_>>(), ["b"]);
        assert_eq!(index.referring(Referent::Secret, "cache").collect::<Vec<_>>(), ["a"]);
        assert_eq!(index.referring(Referent::Store, "vault").count(), 2);
        for other in [Referent::Secret, Referent::Policy] {
            assert_eq!(index.referring(other, "vault").count(), 0, "a name of another kind");
        }
        assert_eq!(index.referring(Referent::Store, "vaul").count(), 0, "the start of a name");
        index.update("a", &cache, &nothing);
        index.update("b", &db, &nothing);
        assert!(index.referring.is_empty(), "nothing is left of rows that are gone");
    }

    #[test]
    fn objects_tell_what_they_refer_to() {
        let policy = json!({
            "metadata": {"name": "orders"},
            "spec": {"source": {"remote": {
                "storeRef": {"name": "vault"},
                "data": [
                    {"secretKey": "a", "remoteRef": {"key": "k"}},
                    {"secretKey": "b", "remoteRef": {"key": "k"}, "storeRef": {"name": "aws"}},
                ],
                "dataFrom": [{"extract": {"key": "k"}, "storeRef": {"name": "ssm"}}],
            }}},
        });
        let policy: SecretPolicy = serde_json::from_value(policy).unwrap();
        let wanted = [
            (Referent::Secret, "orders"),
            (Referent::Store, "aws"),
            (Referent::Store, "ssm"),
            (Referent::Store, "vault"),
        ];
        assert_eq!(policy.references(), references(&wanted));
        let store = json!({"metadata": {"name": "vault"}, "spec": {"provider": {"vault": {
            "server": "https://vault:8200",
            "mount": "secret",
            "auth": {"token": {"secretRef": {"name": "token", "key": "token"}}},
        }}}});
        let store: RemoteStore = serde_json::from_value(store).unwrap();
        assert_eq!(store.references(), references(&[(Referent::Secret, "token")]));
    }

    #[test]
    fn every_secret_that_a_store_needs_is_watched() {
        let vault = |auth, reference| {
            let vault = json!({"server": "https://vault", "auth": auth, "caBundleRef": reference});
            let store = json!({"metadata": {"name": "vault"}, "spec": {"provider": {"vault": vault}}});
            serde_json::from_value::<RemoteStore>(store).unwrap().references()
        };
        let bundle = |kind| json!({"kind": kind, "name": "roots", "key": "ca.crt"});
        let token = json!({"token": {"secretRef": {"name": "login", "key": "token"}}});
        let role = json!({"appRole": {"roleId": "r", "secretRef": {"name": "role", "key": "id"}}});
        let (login, roots, role_id) =
            ((Referent::Secret, "login"), (Referent::Secret, "roots"), (Referent::Secret, "role"));
        assert_eq!(vault(token.clone(), bundle("ConfigMap")), references(&[login]));
        assert_eq!(vault(token, bundle("Secret")), references(&[login, roots]));
        assert_eq!(vault(role, json!(null)), references(&[role_id]));
    }
}
