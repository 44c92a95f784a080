//! Where a search through grants looks: nowhere that no grant covers.

use rekey_api::store::GrantOperation;

use super::{Consumer, Grants, KeyGlob};

impl KeyGlob {
    /// The folder that everything that fits is in; empty for all of the store.
    fn folder(&self) -> &str {
        let literal = self.0.split('*').next().unwrap_or_default();
        literal.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

impl Grants {
    /// The paths to search for what `consumer` may read of a search below `path`: none is inside another, and without
    /// one no grant covers anything there. An empty path stands for all of the store.
    ///
    /// Grants that depend on unknown labels count: each key is checked later.
    #[must_use]
    pub fn search_paths(&self, consumer: Consumer<'_>, path: Option<&str>) -> Vec<String> {
        let path = path.unwrap_or_default().trim_end_matches('/');
        let rules = self
            .0
            .iter()
            .filter(|rule| rule.operations.contains(&GrantOperation::Read) && rule.selects(consumer) != Some(false));
        let mut paths: Vec<String> = rules
            .flat_map(|rule| &rule.keys)
            .filter_map(|glob| match glob.folder() {
                folder if is_within(folder, path) => Some(folder),
                folder if is_within(path, folder) => Some(path),
                _ => None,
            })
            .map(str::to_owned)
            .collect();
        paths.sort_unstable();
        paths.dedup();
        let all = paths.clone();
        paths.retain(|path| !all.iter().any(|other| other != path && is_within(path, other)));
        paths
    }
}

/// Whether `path` is `folder` or inside it.
fn is_within(path: &str, folder: &str) -> bool {
    folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_search_goes_nowhere_that_no_grant_covers() {
        let grants = json!([
            {"namespaces": {"names": ["shop"]}, "keys": ["team/shop/*", "team/shop/deep/*", "shared/db-*", "one/key"],
                "operations": ["Read"]},
            {"namespaces": {"names": ["shop"]}, "keys": ["drop/*"], "operations": ["Write"]},
            {"namespaces": {"names": ["all"]}, "keys": ["*"], "operations": ["Read"]},
            {"namespaces": {"selector": {"matchLabels": {"team": "pay"}}}, "keys": ["pay/*"], "operations": ["Read"]},
        ]);
        let grants = Grants::parse(&serde_json::from_value::<Vec<_>>(grants).unwrap()).unwrap();
        let none = std::collections::BTreeMap::new();
        let table: [(&str, Option<&str>, &[&str]); 12] = [
            ("shop", None, &["one", "shared", "team/shop"]),
            ("shop", Some(""), &["one", "shared", "team/shop"]),
            ("shop", Some("team"), &["team/shop"]),
            ("shop", Some("team/shop/"), &["team/shop"]),
            ("shop", Some("team/shop/deep/er"), &["team/shop/deep/er"]),
            ("shop", Some("team/other"), &[]),
            ("shop", Some("team/shopping"), &[]),
            ("shop", Some("drop"), &[]),
            ("shop", Some("pay"), &[]),
            ("all", None, &[""]),
            ("all", Some("a/b"), &["a/b"]),
            ("nobody", None, &[]),
        ];
        for (namespace, path, expected) in table {
            let paths = grants.search_paths(Consumer { namespace, labels: Some(&none) }, path);
            assert_eq!(paths, expected, "{namespace} {path:?}");
        }
        let unknown = grants.search_paths(Consumer { namespace: "x", labels: None }, Some("pay/db"));
        assert_eq!(unknown, ["pay/db"], "unknown labels may allow it");
    }
}
