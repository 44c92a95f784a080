//! What a search has found, page by page, within bounds.

use std::collections::BTreeSet;

use rekey_core::store::{Allowance, Search, StoreError, StoreErrorKind};

/// The most keys a search may find.
const KEYS: usize = 10_000;
/// The most pages that a search reads.
const PAGES: usize = 1_000;

/// Keys found so far.
pub(super) struct Found<'a> {
    search: &'a Search,
    allowance: &'a Allowance,
    keys: BTreeSet<String>,
    pages: usize,
}

impl<'a> Found<'a> {
    /// Nothing yet.
    pub(super) fn new(search: &'a Search, allowance: &'a Allowance) -> Self {
        Self { search, allowance, keys: BTreeSet::new(), pages: 0 }
    }

    /// Takes the keys of one more page that fit.
    ///
    /// # Errors
    /// `Invalid` when there are more keys or pages than the bounds above, `TooMuch` when it is more than the allowance
    /// holds.
    pub(super) fn add(&mut self, keys: impl Iterator<Item = String>) -> Result<(), StoreError> {
        self.pages += 1;
        for key in keys.filter(|key| self.search.fits(key)) {
            self.allowance.keep(key.len())?;
            self.keys.insert(key);
        }
        let text = if self.keys.len() > KEYS {
            format!("the search finds more than {KEYS} keys: narrow it by path, nameRegexp or tags")
        } else if self.pages > PAGES {
            format!("the search goes through more than {PAGES} pages of keys: narrow it by path or tags")
        } else {
            return Ok(());
        };
        Err(StoreError::new(StoreErrorKind::Invalid, text))
    }

    /// All that was found, sorted.
    pub(super) fn into_keys(self) -> Vec<String> {
        self.keys.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        let search = Search { path: Some("shop/".into()), ..Search::default() };
        let allowance = Allowance::new(1024 * 1024);
        let mut found = Found::new(&search, &allowance);
        found.add((0..KEYS).map(|number| format!("shop/{number}"))).unwrap();
        found.add(["other/a", "shop/1"].map(str::to_owned).into_iter()).unwrap();
        let error = found.add(std::iter::once("shop/one-too-many".to_owned())).unwrap_err();
        assert!(error.kind == StoreErrorKind::Invalid && error.text.contains("10000 keys"), "{error}");

        let mut found = Found::new(&search, &allowance);
        for _ in 0..PAGES {
            found.add(std::iter::empty()).unwrap();
        }
        let error = found.add(std::iter::empty()).unwrap_err();
        assert!(error.kind == StoreErrorKind::Invalid && error.text.contains("1000 pages"), "{error}");
    }

    #[test]
    fn sorted_and_distinct() {
        let search = Search::default();
        let allowance = Allowance::new(3);
        let mut found = Found::new(&search, &allowance);
        found.add(["b", "a"].map(str::to_owned).into_iter()).unwrap();
        found.add(["c"].map(str::to_owned).into_iter()).unwrap();
        let error = found.add(["d"].map(str::to_owned).into_iter()).unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::TooMuch);
        assert_eq!(found.into_keys(), ["a", "b", "c"]);
    }
}
