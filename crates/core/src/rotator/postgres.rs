//! `postgres`: two users of a `PostgreSQL` server take turns.
//!
//! Both are members of one role that owns the objects and that nobody logs in as. The stored value names the user that is in use,
//! and the next rotation takes the other one: it gets a new password while the first still logs in. When every consumer has moved, the
//! first one may no longer log in. So at every moment each of the two credentials that consumers may hold is valid.

mod slots;

use std::collections::BTreeMap;

use rekey_api::{
    reference::{CaBundleRef, TlsMode},
    rotator::{CharacterClass, Endpoint, LoginProperties, PasswordSpec, PostgresRotator},
};

pub use self::slots::quoted;
use super::{
    Values,
    database::{Alteration, Fence, Login, Role, RoleChange, Server, ServerTls},
    port::Proof,
    users::{Base, Former, FormerUser, Users, stand},
};
use crate::{SecretBytes, SpecError, chance::Chance, password::Recipe, store::place::Place};

/// A parsed `postgres`.
#[derive(Clone, Debug)]
pub struct Postgres {
    /// The primary.
    pub primary: Endpoint,
    /// The same, as consent names it.
    pub place: Place,
    /// Other addresses where a new login must work.
    pub endpoints: Vec<Endpoint>,
    /// Database to connect to.
    pub database: String,
    /// How connections are protected.
    pub tls: TlsMode,
    /// Certificates to trust, in PEM; without them and `roots_ref`: the system's.
    pub roots: Option<Vec<u8>>,
    /// Where they are instead.
    pub roots_ref: Option<CaBundleRef>,
    /// Secret with the login of a user who may alter the users below.
    pub admin_secret: String,
    /// The two users that take turns.
    pub slots: [String; 2],
    /// The role that owns the objects.
    pub owner: String,
    /// The user that is in use today, if it is neither of them.
    pub from: Option<String>,
    /// Where user and password are in the stored value.
    pub properties: LoginProperties,
    recipe: Recipe,
}

impl Postgres {
    /// Parses it.
    ///
    /// # Errors
    /// Names the field that cannot work.
    pub fn parse(spec: &PostgresRotator) -> Result<Self, SpecError> {
        let Some(users) = &spec.users.alternating else {
            return Err(SpecError::not_yet("spec.rotator.postgres.users.single", "use alternating"));
        };
        if spec.tls.ca_bundle.is_some() && spec.tls.ca_bundle_ref.is_some() {
            return Err(SpecError::field("spec.rotator.postgres.tls", "set at most one of caBundle, caBundleRef"));
        }
        let (first, second, owner) = (&users.first, &users.second, &users.owner);
        if first == second || owner == first || owner == second || users.from.as_ref() == Some(owner) {
            let fix = "first, second and owner must be three different roles, and from another one than owner";
            return Err(SpecError::field("spec.rotator.postgres.users.alternating", fix));
        }
        let LoginProperties { username, password } = &spec.properties;
        if username == password {
            let fix = format!("the property {username:?} appears twice; username and password need a name each");
            return Err(SpecError::field("spec.rotator.postgres.properties", fix));
        }
        let host = if spec.host.contains(':') { format!("[{}]", spec.host) } else { spec.host.clone() };
        let Some(place) = Place::parse(&format!("{host}:{}", spec.port)) else {
            return Err(SpecError::field("spec.rotator.postgres.host", "write a DNS name or an IP address"));
        };
        let plain = PasswordSpec {
            length: LENGTH,
            classes: vec![CharacterClass::Lowercase, CharacterClass::Uppercase, CharacterClass::Digits],
            ..PasswordSpec::default()
        };
        Ok(Self {
            primary: Endpoint { host: spec.host.clone(), port: spec.port },
            place,
            endpoints: spec.endpoints.clone(),
            database: spec.database.clone(),
            tls: spec.tls.mode,
            roots: spec.tls.ca_bundle.as_ref().map(|pem| pem.0.clone()),
            roots_ref: spec.tls.ca_bundle_ref.clone(),
            admin_secret: spec.admin_secret_ref.name.clone(),
            slots: [first.clone(), second.clone()],
            owner: owner.clone(),
            from: users.from.clone(),
            properties: spec.properties.clone(),
            recipe: Recipe::parse(&plain, "spec.rotator.postgres")?,
        })
    }

    /// Every role that matters to it.
    #[must_use]
    pub fn roles(&self) -> Vec<&str> {
        self.slots.iter().chain([&self.owner]).chain(&self.from).map(String::as_str).collect()
    }

    /// The user that stored or new values name.
    #[must_use]
    pub fn user<'v>(&self, values: &'v Values) -> Option<&'v str> {
        values.get(&self.properties.username)?.expose_text()
    }

    /// The login that values hold.
    #[must_use]
    pub fn login(&self, values: &Values) -> Option<Login> {
        let password = values.get(&self.properties.password)?.clone();
        Some(Login { user: self.user(values)?.to_owned(), password })
    }

    /// The primary, with the certificates to trust there.
    #[must_use]
    pub fn server(&self, roots: Option<Vec<u8>>) -> Server {
        self.at(&self.primary, roots)
    }

    fn at(&self, endpoint: &Endpoint, roots: Option<Vec<u8>>) -> Server {
        let Endpoint { host, port } = endpoint.clone();
        Server { host, port, database: self.database.clone(), tls: ServerTls { mode: self.tls, roots } }
    }

    /// What proves a login: it works at the primary and at each of the endpoints.
    #[must_use]
    pub fn proof(&self, made: &Values) -> Option<Proof> {
        let servers =
            std::iter::once(&self.primary).chain(&self.endpoints).map(|at| self.at(at, self.roots.clone())).collect();
        Some(Proof::DatabaseLogin { servers, login: self.login(made)?, acts_as: self.owner.clone() })
    }

    /// The user that a rotation of the `current` values takes.
    ///
    /// # Errors
    /// When the stored value names a user that is neither of both nor `from`: nobody knows which of them is in use.
    pub fn next(&self, current: &Values) -> Result<&str, SpecError> {
        let [first, second] = &self.slots;
        match self.user(current) {
            Some(user) if user == first => Ok(second),
            Some(user) if user == second || self.from.as_deref() == Some(user) => Ok(first),
            None if current.is_empty() => Ok(first),
            Some(_) | None => {
                let fix = format!(
                    "the stored property {:?} names no user, or one that is neither {first:?} nor {second:?}; name it in \
                     users.alternating.from, or correct the stored value",
                    self.properties.username
                );
                Err(SpecError::field("spec.rotator.postgres.users.alternating", fix))
            }
        }
    }

    /// New values: the other user with a new password.
    ///
    /// # Errors
    /// As [`Postgres::next`].
    pub fn make(&self, current: &Values, chance: &dyn Chance) -> Result<Values, SpecError> {
        let user = self.next(current)?;
        Ok(BTreeMap::from([
            (self.properties.username.clone(), SecretBytes::from(user)),
            (self.properties.password.clone(), self.recipe.make(chance)),
        ]))
    }

    /// Whether these are a login of one of its users under the current names.
    #[must_use]
    pub fn fits(&self, made: &Values) -> bool {
        made.len() == 2 && self.login(made).is_some_and(|login| self.slots.contains(&login.user))
    }

    /// What is recorded of the users when a rotation with these new values is prepared.
    #[must_use]
    pub fn base(&self, current: &Values, made: &Values, seen: &[Role], schedule: &str) -> Base {
        // What another schedule has altered since it was looked at is expected by no rotation of this one.
        let fence = |user: Option<&str>| {
            let role = seen.iter().find(|role| Some(role.name.as_str()) == user)?;
            role.fence.clone().filter(|fence| fence.schedule == schedule)
        };
        let (old, new) = (self.user(current), self.user(made));
        // What an earlier rotation has left with a login: it was superseded, or let go.
        let is_left = |role: &&Role| {
            let is_ours = role.fence.as_ref().is_some_and(|fence| fence.schedule == schedule);
            let is_from = self.from.as_deref() == Some(role.name.as_str());
            role.can_login && (is_ours && self.slots.contains(&role.name) || is_from)
        };
        let left = seen.iter().filter(is_left).map(|role| role.name.as_str());
        let others = left.filter(|name| Some(*name) != old && Some(*name) != new);
        let former = old.into_iter().chain(others);
        let former = former.map(|user| Former { user: user.to_owned(), fence: fence(Some(user)) }).collect();
        Base { at: self.whose(), new: fence(new), former }
    }

    /// Where its users are, and whom they act as.
    #[must_use]
    pub fn whose(&self) -> String {
        format!("{} {} {}", self.place, self.database, self.owner)
    }

    /// The users of the rotation that has made these values.
    #[must_use]
    pub fn users(&self, made: &Values, base: &Base, seen: &[Role], ours: &Fence) -> Option<Users> {
        let new = self.user(made)?;
        let role = seen.iter().find(|role| role.name == new);
        let former = base.former.iter().filter(|at| at.user != new).map(|at| {
            let role = seen.iter().find(|role| role.name == at.user);
            FormerUser {
                name: at.user.clone(),
                stand: stand(&at.user, seen, at.fence.as_ref(), ours),
                sessions: role.map_or(0, |role| role.sessions.count),
                owns: role.is_some_and(|role| role.owns),
            }
        });
        Some(Users {
            new_name: new.to_owned(),
            new: stand(new, seen, base.new.as_ref(), ours),
            new_can_login: role.is_some_and(|role| role.can_login),
            stranger: self.stranger(new, seen, &ours.schedule),
            new_sessions: role.map_or(0, |role| role.sessions.count),
            former: former.collect(),
        })
    }

    /// What gives the new user its password.
    #[must_use]
    pub fn grant(&self, made: &Values, base: &Base, fence: Fence) -> Option<RoleChange> {
        let Login { user, password } = self.login(made)?;
        let what = Alteration::Grant { password, owner: Some(self.owner.clone()) };
        Some(RoleChange { role: user, expected: base.new.clone(), fence, what })
    }

    /// What ends a user; `None`: this rotation ends none of this name.
    #[must_use]
    pub fn revoke(&self, base: &Base, user: &str, fence: Fence) -> Option<RoleChange> {
        let Former { user, fence: expected } = base.former.iter().find(|former| former.user == user)?.clone();
        let what = Alteration::Revoke { owner: self.owner.clone() };
        Some(RoleChange { role: user, expected, fence, what })
    }

    /// What makes the server forget the password of a user that this rotation has ended.
    #[must_use]
    pub fn forget(&self, base: &Base, user: &str, fence: Fence) -> Option<RoleChange> {
        let role = base.former.iter().find(|former| former.user == user)?.user.clone();
        Some(RoleChange { role, fence: fence.ended(), expected: Some(fence), what: Alteration::Forget })
    }
}

/// Letters and digits: no client and no connection string has to escape them. 190 bits.
const LENGTH: u32 = 32;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{chance::tests::Sequence, rotator::database::Sessions};

    pub(super) fn parse(change: impl FnOnce(&mut serde_json::Value)) -> Result<Postgres, SpecError> {
        let mut spec = json!({
            "host": "db.shop", "database": "orders", "adminSecretRef": {"name": "admin"},
            "users": {"alternating": {"first": "orders_a", "second": "orders_b", "owner": "orders", "from": "app"}},
        });
        change(&mut spec);
        Postgres::parse(&serde_json::from_value(spec).unwrap())
    }

    fn values(user: &str) -> Values {
        [("username", user), ("password", "old")]
            .map(|(name, value)| (name.to_owned(), SecretBytes::from(value)))
            .into()
    }

    pub(super) fn role(name: &str, can_login: bool, fence: Option<&Fence>) -> Role {
        let member_of = vec!["orders".to_owned()];
        let sessions = Sessions::default();
        Role { name: name.to_owned(), can_login, member_of, fence: fence.cloned(), sessions, owns: false }
    }

    #[test]
    fn users_take_turns() {
        let postgres = parse(|_| {}).unwrap();
        for (current, next) in [("orders_a", "orders_b"), ("orders_b", "orders_a"), ("app", "orders_a")] {
            let made = postgres.make(&values(current), &Sequence::from(7)).unwrap();
            assert_eq!(postgres.user(&made), Some(next), "{current}");
            assert!(postgres.fits(&made));
            let password = postgres.login(&made).unwrap().password;
            let text = password.expose_text().unwrap();
            assert!(text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        }
        assert_eq!(postgres.next(&Values::new()), Ok("orders_a"), "nothing is in use");
        let said = postgres.next(&values("somebody")).unwrap_err().to_string();
        assert!(said.contains("neither \"orders_a\" nor \"orders_b\"") && !said.contains("somebody"), "{said}");
        let only_password: Values = [("password".to_owned(), SecretBytes::from("old"))].into();
        assert!(postgres.next(&only_password).is_err(), "nobody knows whose password that is");
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let users = |spec: &mut serde_json::Value, users: serde_json::Value| spec["users"] = users;
        let same = json!({"alternating": {"first": "a", "second": "b", "owner": "a"}});
        let said = parse(|spec| users(spec, same)).unwrap_err().to_string();
        assert!(said.starts_with("spec.rotator.postgres.users.alternating: first, second and owner"), "{said}");
        let said = parse(|spec| users(spec, json!({"single": {"name": "a"}}))).unwrap_err().to_string();
        assert!(said.contains("spec.rotator.postgres.users.single"), "{said}");
        let said =
            parse(|spec| spec["properties"] = json!({"username": "x", "password": "x"})).unwrap_err().to_string();
        assert!(said.contains("\"x\" appears twice"), "{said}");
    }
}
