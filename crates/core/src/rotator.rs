//! The ways to make a credential and to retire the old one. A rotator only says what to make, write and prove; the
//! caller does it.
//!
//! A rotator answers five calls: [`inspect`](Rotator::inspect) says how far a stored value is,
//! [`prepare`](Rotator::prepare) makes new values, and [`apply`](Rotator::apply), [`verify`](Rotator::verify) and
//! [`retire`](Rotator::retire) say what makes the new credential valid beside the old one, what proves it, and what
//! ends the old one. Which of them a rotation asks for follows from the [`Overlap`].

pub mod database;
pub mod generate;
pub mod port;
pub mod postgres;
pub mod ssh_key_pair;
pub mod users;

use std::collections::BTreeMap;

use rekey_api::rotator::{self as api, SshKeyPairProperties};

use self::{generate::Generate, port::Proof, postgres::Postgres, ssh_key_pair::SshKeyPair};
use crate::{SecretBytes, SpecError, chance::Chance};

/// Properties of a stored value, by name.
pub type Values = BTreeMap<String, SecretBytes>;

/// A parsed rotator.
#[derive(Clone, Debug)]
pub enum Rotator {
    /// Random values.
    Generate(Generate),
    /// An SSH key pair.
    SshKeyPair(SshKeyPair),
    /// Two users of a `PostgreSQL` server.
    Postgres(Box<Postgres>),
}

/// Which credentials are valid at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// The old one ends when the new one is stored.
    None,
    /// Two keys: the new one becomes valid before its first use, and the old one stays valid until nobody uses it.
    TwoKeys,
    /// Two users of a database: the new login works before its first use, and the old one until nobody uses it. The store has one
    /// of them.
    TwoLogins,
}

/// How far a stored value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The new credential is valid; the old one is used.
    Applied,
    /// The new one is used; the old one is still valid.
    Live,
    /// The old one is no longer valid.
    Retired,
}

impl Rotator {
    /// Parses it.
    ///
    /// # Errors
    /// Names the field that cannot work.
    pub fn parse(spec: &api::Rotator) -> Result<Self, SpecError> {
        match (&spec.generate, &spec.ssh_key_pair, &spec.postgres) {
            (Some(generate), None, None) => Generate::parse(generate).map(Self::Generate),
            (None, Some(pair), None) => SshKeyPair::parse(pair).map(Self::SshKeyPair),
            (None, None, Some(postgres)) => Postgres::parse(postgres).map(|it| Self::Postgres(Box::new(it))),
            _ => Err(SpecError::field("spec.rotator", "set exactly one rotator")),
        }
    }

    /// Its name in the API.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Generate(_) => "generate",
            Self::SshKeyPair(_) => "sshKeyPair",
            Self::Postgres(_) => "postgres",
        }
    }

    /// Which credentials are valid at the same time.
    #[must_use]
    pub fn overlap(&self) -> Overlap {
        match self {
            Self::Generate(_) => Overlap::None,
            Self::SshKeyPair(_) => Overlap::TwoKeys,
            Self::Postgres(_) => Overlap::TwoLogins,
        }
    }

    /// The properties of the stored value that it makes.
    #[must_use]
    pub fn properties(&self) -> Vec<&String> {
        match self {
            Self::Generate(generate) => generate.recipes.keys().collect(),
            Self::SshKeyPair(pair) => {
                let SshKeyPairProperties { private_key, public_key, authorized_keys } = &pair.properties;
                vec![private_key, public_key, authorized_keys]
            }
            Self::Postgres(postgres) => vec![&postgres.properties.username, &postgres.properties.password],
        }
    }

    /// Those of them that make the new credential valid beside the old one, and so are in the store before the others.
    #[must_use]
    pub fn early(&self) -> Vec<&String> {
        match self {
            Self::Generate(_) | Self::Postgres(_) => Vec::new(),
            Self::SshKeyPair(pair) => vec![&pair.properties.authorized_keys],
        }
    }

    /// Whether this rotator can still use values that were made earlier. After an edit it may name more properties:
    /// those come with the next rotation.
    #[must_use]
    pub fn fits(&self, made: &Values) -> bool {
        match self {
            Self::Generate(generate) => made.keys().all(|name| generate.recipes.contains_key(name)),
            Self::SshKeyPair(pair) => pair.fits(made),
            Self::Postgres(postgres) => postgres.fits(made),
        }
    }

    /// How far a stored value is, by its properties; `None`: it holds something else.
    #[must_use]
    pub fn inspect(&self, stored: &Values, made: &Values) -> Option<Stage> {
        if stored == made {
            return Some(Stage::Live);
        }
        let early = self.early();
        if early.is_empty() {
            return None;
        }
        if self.retire(made).as_ref() == Some(stored) {
            return Some(Stage::Retired);
        }
        early.iter().all(|name| stored.get(*name) == made.get(*name)).then_some(Stage::Applied)
    }

    /// The rotator of a database, if it is one.
    #[must_use]
    pub fn database(&self) -> Option<&Postgres> {
        match self {
            Self::Postgres(postgres) => Some(postgres),
            Self::Generate(_) | Self::SshKeyPair(_) => None,
        }
    }

    /// New values. `current`: those of its properties that the store has. An RSA key takes seconds.
    ///
    /// # Errors
    /// When the stored values cannot be rotated.
    pub fn prepare(&self, current: &Values, chance: &dyn Chance) -> Result<Values, SpecError> {
        match self {
            Self::Generate(generate) => Ok(generate.make(chance)),
            Self::SshKeyPair(pair) => pair.make(current, chance),
            Self::Postgres(postgres) => postgres.make(current, chance),
        }
    }

    /// The part of the new values that makes the new credential valid beside the old one.
    #[must_use]
    pub fn apply(&self, made: &Values) -> Values {
        let early = self.early();
        made.iter()
            .filter(|(name, _)| early.contains(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// What proves the new credential; `None`: it needs no proof.
    #[must_use]
    pub fn verify(&self, made: &Values) -> Option<Proof> {
        match self {
            Self::Generate(_) => None,
            Self::SshKeyPair(pair) => pair.proof(made),
            Self::Postgres(postgres) => postgres.proof(made),
        }
    }

    /// What the store holds once the old credential is no longer valid; `None`: that needs no write.
    #[must_use]
    pub fn retire(&self, made: &Values) -> Option<Values> {
        match self {
            Self::Generate(_) | Self::Postgres(_) => None,
            Self::SshKeyPair(pair) => Some(pair.retired(made)),
        }
    }
}
