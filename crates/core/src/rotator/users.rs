//! The two users that a rotation is about: what they were like when it was prepared, and how far they are.

use serde::{Deserialize, Serialize};

use super::database::{Fence, Role};

/// What was seen of the users when the rotation was prepared: it is part of what the pending Secret proves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Where they are, and whom they act as: elsewhere the same names are other users.
    pub at: String,
    /// The fence of the user that gets the new password.
    pub new: Option<Fence>,
    /// The users that end with this rotation: the one that the stored value named, and what an earlier rotation has left.
    pub former: Vec<Former>,
}

/// A user that ends with a rotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    /// Its name.
    pub user: String,
    /// Its fence when the rotation was prepared.
    pub fence: Option<Fence>,
}

/// How far the user of a rotation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserStand {
    /// It is as it was when the rotation was prepared.
    Before,
    /// This rotation has altered it last, and it may log in.
    Granted,
    /// This rotation has altered it last, and it may no longer log in.
    Revoked,
    /// The same, and its password is forgotten.
    Ended,
    /// Another rotation has altered it.
    Foreign(Option<Fence>),
    /// There is no such user.
    Missing,
}

/// The users of a rotation, as a look at the server has shown them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Users {
    /// The user that gets the new password.
    pub new_name: String,
    /// How far it is.
    pub new: UserStand,
    /// Whether it may log in.
    pub new_can_login: bool,
    /// Why it may be somebody else's: it may log in, and no rotation of the schedule has allowed that.
    pub stranger: Option<String>,
    /// Its sessions.
    pub new_sessions: u64,
    /// Those that end.
    pub former: Vec<FormerUser>,
}

/// A user that ends with a rotation, as a look at the server has shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormerUser {
    /// Its name.
    pub name: String,
    /// How far it is.
    pub stand: UserStand,
    /// Its sessions.
    pub sessions: u64,
    /// Whether it still owns something.
    pub owns: bool,
}

impl FormerUser {
    /// Whether another rotation has altered it.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        matches!(self.stand, UserStand::Foreign(_))
    }
}

/// How far the `user` of a rotation is. `expected`: the fence that it had when the rotation was prepared.
#[must_use]
pub fn stand(user: &str, seen: &[Role], expected: Option<&Fence>, ours: &Fence) -> UserStand {
    let Some(role) = seen.iter().find(|role| role.name == user) else { return UserStand::Missing };
    match &role.fence {
        Some(fence) if *fence == Fence::UNREADABLE => UserStand::Foreign(None),
        Some(fence) if fence == ours && role.can_login => UserStand::Granted,
        Some(fence) if fence == ours => UserStand::Revoked,
        Some(fence) if *fence == ours.ended() && !role.can_login => UserStand::Ended,
        fence if fence.as_ref() == expected => UserStand::Before,
        fence => UserStand::Foreign(fence.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rotator::database::Sessions;

    fn role(name: &str, can_login: bool, fence: Option<&Fence>) -> Role {
        let (name, sessions) = (name.to_owned(), Sessions::default());
        Role { name, can_login, member_of: Vec::new(), fence: fence.cloned(), sessions, owns: false }
    }

    fn fence(rotation: &str) -> Fence {
        Fence { cluster: "c".to_owned(), schedule: "s".to_owned(), rotation: rotation.to_owned() }
    }

    #[test]
    fn how_far_a_user_is_follows_from_its_fence() {
        let (before, ours, other) = (fence("1"), fence("2"), fence("3"));
        for (seen, expected) in [
            (role("a", false, None), UserStand::Foreign(None)),
            (role("a", true, Some(&before)), UserStand::Before),
            (role("a", true, Some(&ours)), UserStand::Granted),
            (role("a", false, Some(&ours)), UserStand::Revoked),
            (role("a", false, Some(&ours.ended())), UserStand::Ended),
            (role("a", true, Some(&ours.ended())), UserStand::Foreign(Some(ours.ended()))),
            (role("a", true, Some(&other)), UserStand::Foreign(Some(other.clone()))),
            (role("a", true, Some(&Fence::UNREADABLE)), UserStand::Foreign(None)),
        ] {
            assert_eq!(stand("a", std::slice::from_ref(&seen), Some(&before), &ours), expected, "{seen:?}");
        }
        assert_eq!(stand("a", &[role("a", false, None)], None, &ours), UserStand::Before);
        assert_eq!(stand("b", &[role("a", false, None)], None, &ours), UserStand::Missing);
    }
}
