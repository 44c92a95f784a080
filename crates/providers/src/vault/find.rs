//! Searches: key-value engines can list folders, so a search is a walk through them.

use std::{collections::BTreeMap, pin::pin};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use rekey_api::provider::KvVersion;
use rekey_core::{
    SecretBytes,
    store::{Allowance, Search, StoreError, StoreErrorKind},
};
use vaultrs::api::{kv1::requests::ListSecretRequest, kv2::requests::ListSecretsRequest};

use super::{AT_ONCE, Vault, paths, wire};

/// The deepest nesting of folders in a search.
const DEEPEST: usize = 32;
/// The most folders that one search looks into.
const MOST_FOLDERS: usize = 100;
/// The most keys that one search looks at.
const MOST_KEYS: usize = 2_000;
/// The most names that one list may have: with one more, there are too many keys or too many folders.
const MOST_NAMES: usize = MOST_FOLDERS + MOST_KEYS + 1;

impl Vault {
    /// The keys that fit, sorted. A folder that does not exist holds none. Listed names count as read.
    pub(super) async fn find_with(
        &self,
        token: &SecretBytes,
        search: &Search,
        allowance: &Allowance,
    ) -> Result<Vec<String>, StoreError> {
        match self.mount.version {
            KvVersion::V1 if !search.tags.is_empty() => {
                let text = "find.tags needs custom metadata, which KV version 1 does not have: search by path or \
                            nameRegexp, or use a mount of KV version 2";
                return Err(StoreError::new(StoreErrorKind::InvalidKey, text));
            }
            KvVersion::V1 | KvVersion::V2 => {}
        }
        let mut keys = self.walk(token, search, allowance).await?;
        if !search.tags.is_empty() {
            let tagged = stream::iter(keys).map(|key| self.tagged(token, key, &search.tags));
            keys = tagged.buffer_unordered(AT_ONCE).try_filter_map(async |key| Ok(key)).try_collect().await?;
        }
        keys.sort_unstable();
        Ok(keys)
    }

    /// All keys below the path that fit by name, one level of folders after the other.
    async fn walk(
        &self,
        token: &SecretBytes,
        search: &Search,
        allowance: &Allowance,
    ) -> Result<Vec<String>, StoreError> {
        let path = search.path.as_deref().unwrap_or_default().trim_end_matches('/');
        let mut level = vec![if path.is_empty() { String::new() } else { paths::key(path)? }];
        let (mut depth, mut folders, mut seen, mut fitting) = (0, 0, 0, Vec::new());
        while !level.is_empty() {
            depth += 1;
            folders += level.len();
            if depth > DEEPEST {
                return Err(self.too_much(&format!("folders nested more than {DEEPEST} deep")));
            }
            let lists = stream::iter(level).map(|folder| self.list(token, folder));
            let mut lists = pin!(lists.buffer_unordered(AT_ONCE));
            level = Vec::new();
            while let Some(entries) = lists.try_next().await? {
                allowance.keep(entries.iter().map(String::len).sum())?;
                for entry in entries {
                    if let Some(folder) = entry.strip_suffix('/') {
                        level.push(folder.to_owned());
                        continue;
                    }
                    seen += 1;
                    if search.fits(&entry) {
                        fitting.push(entry);
                    }
                }
                if seen > MOST_KEYS {
                    return Err(self.too_much(&format!("more than {MOST_KEYS} keys")));
                }
                if folders + level.len() > MOST_FOLDERS {
                    return Err(self.too_much(&format!("more than {MOST_FOLDERS} folders")));
                }
            }
        }
        Ok(fitting)
    }

    fn too_much(&self, what: &str) -> StoreError {
        let text = format!(
            "the search in mount {:?} at {} finds {what}: search below a longer find.path",
            self.mount.path,
            self.place()
        );
        StoreError::new(StoreErrorKind::Invalid, text)
    }

    /// What is in a folder, with its path before it. Folders end with a slash.
    async fn list(&self, token: &SecretBytes, folder: String) -> Result<Vec<String>, StoreError> {
        let (mount, path) = (self.mount.path.clone(), folder.clone());
        let (answer, listed) = match self.mount.version {
            KvVersion::V1 => {
                (self.server.call(Some(token), ListSecretRequest { mount, path }).await?, self.mount.path.clone())
            }
            KvVersion::V2 => (
                self.server.call(Some(token), ListSecretsRequest { mount, path }).await?,
                format!("{}/metadata", self.mount.path),
            ),
        };
        let what = format!("listing {folder:?} of mount {:?} at {}", self.mount.path, self.place());
        let prefix = if folder.is_empty() { folder } else { folder + "/" };
        match answer.status {
            200 => {
                let names = wire::names(answer.body.expose(), MOST_NAMES)
                    .map_err(|malformed| StoreError::new(malformed.kind(), format!("{what}: {malformed}")))?;
                Ok(names.into_iter().map(|name| prefix.clone() + &name).collect())
            }
            404 if wire::is_bare_refusal(answer.body.expose()) => Ok(Vec::new()),
            404 => {
                let text = format!("{what}: check that the mount exists, and that it is KV version {}", self.number());
                Err(StoreError::new(StoreErrorKind::Invalid, text))
            }
            _ => Err(self.server.refusal(&answer, &what, &self.hint("list", &format!("{listed}/{prefix}")))),
        }
    }

    fn number(&self) -> u8 {
        match self.mount.version {
            KvVersion::V1 => 1,
            KvVersion::V2 => 2,
        }
    }

    /// The key, if its custom metadata holds all tags.
    async fn tagged(
        &self,
        token: &SecretBytes,
        key: String,
        tags: &BTreeMap<String, String>,
    ) -> Result<Option<String>, StoreError> {
        let hint = self.hint("read", &self.metadata_path(&key));
        let found = self.metadata(token, &key, &hint).await?; // none: it went away since it was listed
        let carries = |(name, value): (&String, &String)| {
            found.as_ref().is_some_and(|metadata| metadata.entries().get(name) == Some(value))
        };
        Ok(tags.iter().all(carries).then_some(key))
    }
}
