//! Random passwords.

use std::collections::BTreeSet;

use rekey_api::rotator::{CharacterClass, PasswordSpec};

use crate::{
    SecretBytes, SpecError,
    chance::{Chance, below},
};

/// Fewer characters are easy to guess, and this leaves room for one of each class.
const SHORTEST: usize = 8;

const PUNCTUATION: &str = r##"!"#$%&'()*+,-./:;<=>?@[\]^_`{|}~"##;

/// A parsed specification that can always be fulfilled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    length: usize,
    classes: Vec<Vec<u8>>,
}

impl Recipe {
    /// Checks that every class has characters left and that the length has room for one of each.
    ///
    /// # Errors
    /// Names the field below `field`.
    pub fn parse(spec: &PasswordSpec, field: &str) -> Result<Self, SpecError> {
        let excluded: BTreeSet<char> = spec.exclude.chars().collect();
        let named: BTreeSet<CharacterClass> = spec.classes.iter().copied().collect();
        let mut classes = Vec::new();
        for class in named {
            let left: Vec<u8> = alphabet(class).bytes().filter(|byte| !excluded.contains(&char::from(*byte))).collect();
            if left.is_empty() {
                let fix = format!("it excludes every character of {class:?}; remove that class or exclude less");
                return Err(SpecError::field(&format!("{field}.exclude"), fix));
            }
            classes.push(left);
        }
        let length = usize::try_from(spec.length).unwrap_or(usize::MAX);
        if classes.is_empty() || !(SHORTEST..=4096).contains(&length) {
            let fix = format!("{length} does not fit: use 8 to 4096, and name at least one class");
            return Err(SpecError::field(&format!("{field}.length"), fix));
        }
        Ok(Self { length, classes })
    }

    /// A new password: at least one character of each class, every position equally likely to hold any of them.
    #[must_use]
    pub fn make(&self, chance: &dyn Chance) -> SecretBytes {
        let all: Vec<u8> = self.classes.concat();
        let mut bytes: Vec<u8> = Vec::with_capacity(self.length);
        bytes.extend(self.classes.iter().map(|class| class[below(chance, class.len())]));
        while bytes.len() < self.length {
            bytes.push(all[below(chance, all.len())]);
        }
        // Fisher-Yates, so that the required characters may be anywhere.
        for position in (1..bytes.len()).rev() {
            bytes.swap(position, below_large(chance, position + 1));
        }
        SecretBytes::new(bytes)
    }
}

fn alphabet(class: CharacterClass) -> &'static str {
    match class {
        CharacterClass::Lowercase => "abcdefghijklmnopqrstuvwxyz",
        CharacterClass::Uppercase => "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        CharacterClass::Digits => "0123456789",
        CharacterClass::Punctuation => PUNCTUATION,
    }
}

/// As [`below`], for bounds up to 65,536.
fn below_large(chance: &dyn Chance, bound: usize) -> usize {
    let limit = 65_536 - 65_536 % bound;
    loop {
        let mut bytes = [0; 2];
        chance.fill(&mut bytes);
        let drawn = usize::from(u16::from_le_bytes(bytes));
        if drawn < limit {
            return drawn % bound;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::chance::tests::Sequence;

    fn spec(length: u32, exclude: &str, classes: &[CharacterClass]) -> PasswordSpec {
        PasswordSpec { length, exclude: exclude.to_owned(), classes: classes.to_vec() }
    }

    #[test]
    fn what_cannot_be_fulfilled_is_refused_by_name() {
        let text = |spec: &PasswordSpec| Recipe::parse(spec, "spec.f").map(|_| ()).unwrap_err().to_string();
        assert!(text(&spec(8, "0123456789", &[CharacterClass::Digits])).contains("spec.f.exclude"));
        assert!(text(&spec(1, "", &[CharacterClass::Digits, CharacterClass::Lowercase])).contains("spec.f.length"));
        assert!(text(&spec(8, "", &[])).contains("spec.f.length"));
    }

    proptest! {
        #[test]
        fn length_classes_and_exclusions_hold(length in 8u32..200, exclude in "[a-f0-3@/\\\\\"]{0,12}", seed: u64) {
            let recipe = Recipe::parse(&spec(length, &exclude, &PasswordSpec::default().classes), "f").unwrap();
            let made = recipe.make(&Sequence::from(seed));
            let text = made.expose_text().unwrap();
            prop_assert_eq!(text.len(), usize::try_from(length).unwrap());
            prop_assert!(!text.chars().any(|c| exclude.contains(c)));
            prop_assert!(text.chars().any(|c| c.is_ascii_lowercase()) && text.chars().any(|c| c.is_ascii_uppercase()));
            prop_assert!(text.chars().any(|c| c.is_ascii_digit()) && text.chars().any(|c| c.is_ascii_punctuation()));
        }
    }

    #[test]
    fn two_passwords_differ() {
        let recipe = Recipe::parse(&PasswordSpec::default(), "f").unwrap();
        let chance = Sequence::from(1);
        assert_ne!(recipe.make(&chance), recipe.make(&chance));
    }
}
