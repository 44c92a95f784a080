//! The references of one object to Secrets, as they are found one by one.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::LocalObjectReference;
use rekey_api::policy::ConsumeForm;

use super::{Keys, Place, Places, Use, place::index};

/// See the [module documentation](self).
#[derive(Default)]
pub(super) struct References<'a>(BTreeMap<&'a str, Found>);

/// What was found about one Secret.
struct Found {
    forms: BTreeSet<ConsumeForm>,
    keys: Keys,
    places: Vec<Option<Place>>,
}

impl<'a> References<'a> {
    /// Adds a reference, unless its name is empty, which is the name of no Secret. `place`: where the name is; `None`
    /// when an index there is out of range.
    pub fn add(&mut self, secret: &'a str, form: ConsumeForm, keys: Keys, place: Option<Place>) {
        if secret.is_empty() {
            return;
        }
        let nothing = || Found { forms: BTreeSet::new(), keys: Keys::Some(BTreeSet::new()), places: Vec::new() };
        let found = self.0.entry(secret).or_insert_with(nothing);
        found.forms.insert(form);
        found.keys.add(keys);
        found.places.push(place);
    }

    /// Adds the entries of an `imagePullSecrets`.
    pub fn add_pull_secrets(&mut self, secrets: &'a [LocalObjectReference]) {
        for (at, secret) in secrets.iter().enumerate() {
            self.add(&secret.name, ConsumeForm::ImagePull, Keys::All, index(at).map(Place::PullSecret));
        }
    }

    /// All of them, merged by Secret.
    pub fn into_uses(self) -> BTreeMap<String, Use> {
        let merged = |Found { forms, keys, places }| Use { forms, keys, places: Places::from_iter(places) };
        self.0.into_iter().map(|(secret, found)| (secret.to_owned(), merged(found))).collect()
    }
}
