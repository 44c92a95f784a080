//! The seed of the salts of one Secret's templates: random, and kept on the Secret beside what was made with it.

use std::fmt::{Display, Formatter};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{SecretBytes, chance::Chance};

/// See the [module documentation](self). No secret: whoever may read it may read what it was used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed(Box<[u8; 32]>);

impl Seed {
    /// A new one.
    #[must_use]
    pub fn make(chance: &dyn Chance) -> Self {
        let mut bytes = [0; 32];
        chance.fill(&mut bytes);
        Self(Box::new(bytes))
    }

    /// Reads the annotation; `None` when it is not ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text).ok()?;
        Some(Self(Box::new(bytes.try_into().ok()?)))
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> SecretBytes {
        SecretBytes::new(self.0.to_vec())
    }
}

impl Display for Seed {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&STANDARD.encode(self.0.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::tests::Sequence;

    #[test]
    fn a_seed_reads_back_and_nothing_else_is_one() {
        let seed = Seed::make(&Sequence::from(1));
        assert_eq!(Seed::parse(&seed.to_string()), Some(seed.clone()));
        assert_ne!(Seed::make(&Sequence::from(2)), seed);
        for text in ["", "x", "c2hvcnQ=", &STANDARD.encode([0; 33])] {
            assert_eq!(Seed::parse(text), None, "{text}");
        }
    }
}
