//! `postgres`: two users of a `PostgreSQL` server take turns.
//!
//! Both are members of one role that owns the objects and that nobody logs in as. The stored value names the user that is in use,
//! and the next rotation takes the other one: it gets a new password while the first still logs in. When every consumer has moved, the
//! first one may no longer log in. So at every moment each of the two credentials that consumers may hold is valid.

use std::collections::BTreeMap;

use rekey_api::{
    reference::{CaBundleRef, TlsMode},
    rotator::{CharacterClass, Endpoint, LoginProperties, PasswordSpec, PostgresRotator},
};

use super::{
    Values,
    database::{Alteration, Fence, Login, Role, RoleChange, Server, ServerTls},
    port::Proof,
    users::{Base, Users, stand},
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
        let old = self.user(current).map(str::to_owned);
        Base { at: self.whose(), new: fence(self.user(made)), old_fence: fence(old.as_deref()), old }
    }

    /// Where its users are, and whom they act as.
    #[must_use]
    pub fn whose(&self) -> String {
        format!("{} {} {}", self.place, self.database, self.owner)
    }

    /// What keeps the users from taking turns, with the SQL that helps; `None`: nothing.
    #[must_use]
    pub fn gaps(&self, seen: &[Role]) -> Option<String> {
        let find = |name: &str| seen.iter().find(|role| role.name == name);
        let (mut gaps, mut sql) = (Vec::new(), Vec::new());
        match find(&self.owner) {
            None => {
                gaps.push(format!("role {} does not exist", self.owner));
                sql.push(format!("CREATE ROLE {} NOLOGIN", quoted(&self.owner)));
            }
            Some(owner) if owner.can_login => {
                gaps.push(format!("role {} may log in", self.owner));
                sql.push(format!("ALTER ROLE {} NOLOGIN", quoted(&self.owner)));
            }
            Some(_) => {}
        }
        for slot in &self.slots {
            let grant = format!("GRANT {} TO {}", quoted(&self.owner), quoted(slot));
            match find(slot) {
                None => {
                    gaps.push(format!("role {slot} does not exist"));
                    sql.extend([format!("CREATE ROLE {} NOLOGIN", quoted(slot)), grant]);
                }
                Some(role) if !role.member_of.contains(&self.owner) => {
                    gaps.push(format!("role {slot} may not act as {}", self.owner));
                    sql.push(grant);
                }
                Some(_) => {}
            }
        }
        if gaps.is_empty() {
            return None;
        }
        Some(format!("{}; run as an administrator of the server: {};", gaps.join(", "), sql.join("; ")))
    }

    /// The user that the next rotation takes, if somebody may use it: it may log in, and not by a rotation of this schedule.
    #[must_use]
    pub fn stranger(&self, next: &str, seen: &[Role], schedule: &str) -> Option<String> {
        let role = seen.iter().find(|role| role.name == next && role.can_login)?;
        let is_ours = role.fence.as_ref().is_some_and(|fence| fence.schedule == schedule);
        (!is_ours).then(|| {
            format!(
                "user {next} may log in, and no rotation of this schedule has allowed that: if nobody uses it, run: ALTER ROLE {} \
                 NOLOGIN;",
                quoted(next)
            )
        })
    }

    /// The user that another schedule has altered, with what to do; `None`: none has.
    #[must_use]
    pub fn claimed(&self, seen: &[Role], schedule: &str) -> Option<String> {
        let is_theirs = |role: &&Role| role.fence.as_ref().is_some_and(|fence| fence.schedule != schedule);
        let role = seen.iter().filter(|role| self.slots.contains(&role.name)).find(is_theirs)?;
        Some(format!(
            "another schedule rotates user {}, as its comment says; if that schedule is gone, run: COMMENT ON ROLE {} IS NULL;",
            role.name,
            quoted(&role.name)
        ))
    }

    /// The users of the rotation that has made these values.
    #[must_use]
    pub fn users(&self, made: &Values, base: &Base, seen: &[Role], ours: &Fence) -> Option<Users> {
        let new = self.user(made)?;
        let role = seen.iter().find(|role| role.name == new);
        let old = base.old.as_deref().filter(|old| *old != new);
        let old_role = seen.iter().find(|role| Some(role.name.as_str()) == old);
        Some(Users {
            new_name: new.to_owned(),
            new: stand(new, seen, base.new.as_ref(), ours),
            new_can_login: role.is_some_and(|role| role.can_login),
            new_sessions: role.map_or(0, |role| role.sessions.count),
            old: old.map(|old| (old.to_owned(), stand(old, seen, base.old_fence.as_ref(), ours))),
            old_sessions: old_role.map_or(0, |role| role.sessions.count),
        })
    }

    /// What gives the new user its password.
    #[must_use]
    pub fn grant(&self, made: &Values, base: &Base, fence: Fence) -> Option<RoleChange> {
        let Login { user, password } = self.login(made)?;
        let what = Alteration::Grant { password, owner: Some(self.owner.clone()) };
        Some(RoleChange { role: user, expected: base.new.clone(), fence, what })
    }

    /// What ends the old one; `None`: there was none.
    #[must_use]
    pub fn revoke(&self, base: &Base, fence: Fence) -> Option<RoleChange> {
        let role = base.old.clone()?;
        let what = Alteration::Revoke { owner: self.owner.clone() };
        Some(RoleChange { role, expected: base.old_fence.clone(), fence, what })
    }
}

/// Letters and digits: no client and no connection string has to escape them. 190 bits.
const LENGTH: u32 = 32;

/// An identifier of SQL (<https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS>).
fn quoted(name: &str) -> String {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if is_plain && !name.starts_with(|sign: char| sign.is_ascii_digit()) {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{chance::tests::Sequence, rotator::database::Sessions};

    fn parse(change: impl FnOnce(&mut serde_json::Value)) -> Result<Postgres, SpecError> {
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

    fn role(name: &str, can_login: bool, fence: Option<&Fence>) -> Role {
        let member_of = vec!["orders".to_owned()];
        Role { name: name.to_owned(), can_login, member_of, fence: fence.cloned(), sessions: Sessions::default() }
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

    #[test]
    fn a_user_that_somebody_may_use_is_not_taken() {
        let postgres = parse(|_| {}).unwrap();
        let fence =
            |schedule: &str| Fence { cluster: "c".to_owned(), schedule: schedule.to_owned(), rotation: "r".to_owned() };
        for (role, is_taken) in [
            (role("orders_b", false, None), true),
            (role("orders_b", true, Some(&fence("s"))), true),
            (role("orders_b", true, Some(&fence("other"))), false),
            (role("orders_b", true, None), false),
        ] {
            assert_eq!(postgres.stranger("orders_b", std::slice::from_ref(&role), "s").is_none(), is_taken, "{role:?}");
        }
    }

    #[test]
    fn what_the_server_lacks_comes_with_the_sql_that_helps() {
        let postgres = parse(|_| {}).unwrap();
        let owner = Role { member_of: Vec::new(), ..role("orders", false, None) };
        let all = [owner.clone(), role("orders_a", false, None), role("orders_b", true, None)];
        assert_eq!(postgres.gaps(&all), None);
        assert_eq!(
            postgres.gaps(&[Role { can_login: true, ..owner.clone() }, all[1].clone()]).as_deref(),
            Some(
                "role orders may log in, role orders_b does not exist; run as an administrator of the server: ALTER ROLE orders \
                 NOLOGIN; CREATE ROLE orders_b NOLOGIN; GRANT orders TO orders_b;"
            )
        );
        let stranger = Role { member_of: Vec::new(), ..all[2].clone() };
        let said = postgres.gaps(&[owner, all[1].clone(), stranger]).unwrap();
        assert!(said.ends_with("GRANT orders TO orders_b;"), "{said}");
        assert_eq!(quoted("a\"; DROP ROLE x"), "\"a\"\"; DROP ROLE x\"");
    }
}
