//! What keeps the users of a schedule from taking turns.

use super::Postgres;
use crate::rotator::database::Role;

impl Postgres {
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
        // Of one that has ended a person has allowed it.
        let is_ours = role.fence.as_ref().is_some_and(|fence| fence.schedule == schedule && !fence.has_ended());
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
        let role = seen.iter().filter(|role| self.takes(&role.name)).find(is_theirs)?;
        Some(format!(
            "another schedule rotates user {}, as its comment says; if that schedule is gone, run: COMMENT ON ROLE {} IS NULL;",
            role.name,
            quoted(&role.name)
        ))
    }

    /// Whether a rotation of this schedule has altered the user last.
    #[must_use]
    pub fn is_ours(&self, user: &str, seen: &[Role], schedule: &str) -> bool {
        let role = seen.iter().find(|role| role.name == user && self.takes(user));
        role.and_then(|role| role.fence.as_ref()).is_some_and(|fence| fence.schedule == schedule)
    }

    /// A user that this and another schedule would let take turns at the same server.
    #[must_use]
    pub fn shares<'s>(&'s self, other: &Self) -> Option<&'s str> {
        let users = || self.slots.iter().chain(&self.from).map(String::as_str);
        (self.place == other.place).then(|| users().find(|user| other.takes(user)))?
    }

    /// Whether it gives the user a password, or ends it.
    fn takes(&self, user: &str) -> bool {
        self.slots.iter().chain(&self.from).any(|name| name == user)
    }
}

/// An identifier of SQL (<https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS>).
#[must_use]
pub fn quoted(name: &str) -> String {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if is_plain && !name.starts_with(|sign: char| sign.is_ascii_digit()) {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::tests::{parse, role},
        *,
    };
    use crate::rotator::database::Fence;

    #[test]
    fn a_user_that_somebody_may_use_is_not_taken() {
        let postgres = parse(|_| {}).unwrap();
        let fence =
            |schedule: &str| Fence { cluster: "c".to_owned(), schedule: schedule.to_owned(), rotation: "r".to_owned() };
        for (role, is_taken) in [
            (role("orders_b", false, None), true),
            (role("orders_b", true, Some(&fence("s"))), true),
            (role("orders_b", true, Some(&fence("s").ended())), false),
            (role("orders_b", false, Some(&fence("s").ended())), true),
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

    #[test]
    fn two_schedules_share_a_user_only_of_one_server() {
        let ours = parse(|_| {}).unwrap();
        for (first, second, from, host, shared) in [
            ("orders_a", "b", None, "db.shop", Some("orders_a")),
            ("a", "app", None, "DB.shop", Some("app")),
            ("a", "b", Some("orders_b"), "db.shop", Some("orders_b")),
            ("a", "b", None, "db.shop", None),
            ("orders_a", "orders_b", None, "other.shop", None),
        ] {
            let mut alternating = json!({"first": first, "second": second, "owner": "orders"});
            if let Some(from) = from {
                alternating["from"] = json!(from);
            }
            let other = parse(|spec| {
                spec["users"] = json!({ "alternating": alternating });
                spec["host"] = json!(host);
            });
            assert_eq!(ours.shares(&other.unwrap()), shared, "{first} {second} {from:?} {host}");
        }
    }
}
