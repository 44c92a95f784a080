//! Rotations of two users of a database: at every moment the pod's login works.

use proptest::prelude::*;
use rekey_api::rotation::RotationReason as Why;

use super::*;
use crate::rotator::database::{Alteration, Fence, Sessions};

impl World {
    /// The user `orders_a` is in use, and a rotation is asked for.
    pub fn users_take_turns() -> Self {
        let users = json!({"alternating": {"first": "orders_a", "second": "orders_b", "owner": "orders"}});
        let postgres = json!({"host": "db", "database": "orders", "adminSecretRef": {"name": "admin"}, "users": users});
        let mut world = Self::new(&json!({"rotator": {"postgres": postgres}, "retireAfter": "10m"}));
        world.store = Some((1, json!({"username": "orders_a", "password": "old", "host": "db"})));
        let role = |name: &str, can_login, member_of: &[&str]| Role {
            name: name.to_owned(),
            can_login,
            member_of: member_of.iter().map(|name| (*name).to_owned()).collect(),
            fence: None,
            sessions: Sessions::default(),
            owns: false,
        };
        world.roles = vec![
            (role("orders", false, &[]), String::new()),
            (role("orders_a", true, &["orders"]), "old".to_owned()),
            (role("orders_b", false, &["orders"]), String::new()),
        ];
        world.settle();
        world.ask(TOKEN);
        world
    }

    pub fn known_roles(&self) -> Vec<Role> {
        self.roles.iter().map(|(role, _)| role.clone()).collect()
    }

    pub fn role(&mut self, name: &str) -> &mut (Role, String) {
        self.roles.iter_mut().find(|(role, _)| role.name == name).unwrap()
    }

    /// An earlier rotation of the schedule has left the user with a login.
    pub fn leave(&mut self, user: &str) {
        let fence = Fence { cluster: "c".to_owned(), schedule: "u".to_owned(), rotation: "earlier".to_owned() };
        let (role, _) = self.role(user);
        (role.can_login, role.fence) = (true, Some(fence));
    }

    /// Whether the password is one of a user who may log in.
    fn logs_in(&self, password: &str) -> bool {
        self.roles.iter().any(|(role, held)| role.can_login && held == password)
    }

    pub fn users(&self, task: &Task, state: &State, pending: Option<&Pending>) -> UsersView {
        let (Some(database), Some(pending)) = (task.spec.rotator.database(), pending) else {
            return UsersView::NotAsked;
        };
        if !matches!(state, State::Applying(_) | State::Verifying(_) | State::Retiring(_)) {
            return UsersView::NotAsked;
        }
        let ours = pending.fence(&task.spec.owner(), &self.digest_key);
        let users = database.users(&pending.values, &pending.users, &self.known_roles(), &ours);
        users.map_or(UsersView::NotAsked, UsersView::Seen)
    }

    pub fn proof(&self, task: &Task, made: Option<&Values>) -> ProofView {
        let login = task.spec.rotator.database().and_then(|database| database.login(made?));
        let works = login.is_none_or(|login| {
            let password = login.password.expose_text().unwrap_or_default();
            self.roles.iter().any(|(role, held)| role.name == login.user && role.can_login && held == password)
        });
        match &self.refused {
            Some(why) => ProofView::Refused(why.clone()),
            None if works => ProofView::Proven,
            None => ProofView::Refused("db:5432 does not accept the login".to_owned()),
        }
    }

    /// As a server does it: compare and set.
    pub fn alter(&mut self, task: &Task, pending: &Pending, effect: &Effect) -> String {
        let database = task.spec.rotator.database().unwrap();
        let fence = pending.fence(&task.spec.owner(), &self.digest_key);
        let change = match effect {
            Effect::Revoke { user } => database.revoke(&pending.users, user, fence),
            Effect::Forget { user } => database.forget(&pending.users, user, fence),
            _ => database.grant(&pending.values, &pending.users, fence),
        };
        let change = change.unwrap();
        let (role, password) = self.role(&change.role);
        if role.fence != change.expected && role.fence.as_ref() != Some(&change.fence) {
            return format!("is kept from {} by its fence", change.role);
        }
        role.fence = Some(change.fence);
        match change.what {
            Alteration::Grant { password: new, .. } => {
                role.can_login = true;
                *password = new.expose_text().unwrap().to_owned();
                format!("gives {} a new password", change.role)
            }
            Alteration::Revoke { .. } => {
                role.can_login = false;
                role.sessions = Sessions::default();
                role.owns = false;
                format!("ends {}", change.role)
            }
            Alteration::Forget => {
                *password = String::new();
                format!("forgets the password of {}", change.role)
            }
        }
    }

    /// Turns to the end; the pod's login works all the time.
    fn turn_users(&mut self, fault: &mut dyn FnMut(usize) -> Option<Fault>) {
        for number in 0..400 {
            if self.turn(fault(number)) == Turn::Waits {
                self.others();
                self.now += TimeDelta::minutes(1);
            }
            assert!(self.logs_in(&self.pod), "the pod is locked out\n{}", self.log.join("\n"));
            assert!(self.logs_in(self.password().unwrap()), "the stored login does not work\n{}", self.log.join("\n"));
            if !self.status().history.is_empty() && self.at_rest() {
                return;
            }
        }
    }

    fn logins(&self) -> Vec<(&str, bool)> {
        self.roles.iter().map(|(role, _)| (role.name.as_str(), role.can_login)).collect()
    }
}

#[test]
fn the_new_login_works_before_it_is_used_and_the_old_one_until_nobody_uses_it() {
    let mut world = World::users_take_turns();
    world.log.clear();
    world.turn_users(&mut |_| None);
    let shown: Vec<&str> = world.log.iter().map(String::as_str).filter(|line| !line.contains(" until 20")).collect();
    assert_eq!(
        shown,
        [
            "status    Preparing",
            "effect    puts the finalizer on the schedule",
            "effect    makes the pending Secret",
            "status    Applying",
            "effect    gives orders_b a new password",
            "status    Verifying",
            "status    Publishing",
            "effect    writes the store over version 1",
            "status    Publishing, version 2, the policy publishes the new value",
            "policy    publishes the Secret",
            "status    RollingOut, version 2, not yet on the new value: web",
            "consumer  restarts",
            "status    Settling, version 2",
            "status    Retiring, version 2", // and waits for retireAfter
            "status    Retiring, version 2",
            "effect    ends orders_a", // and another retireAfter
            "status    Retiring, version 2",
            "effect    forgets the password of orders_a",
            "status    idle, Completed (Requested)",
            "effect    drops the pending Secret",
            "effect    takes the finalizer off the schedule",
        ],
        "{}",
        world.log.join("\n")
    );
    assert_eq!(world.logins(), [("orders", false), ("orders_a", false), ("orders_b", true)]);
    assert_eq!(world.store.as_ref().unwrap().1["username"], "orders_b");
    world.ask("again");
    let before = world.status().history.len();
    for _ in 0..3 {
        world.settle();
        world.now += TimeDelta::minutes(11);
    }
    world.settle();
    assert_eq!(world.status().history.len(), before + 1);
    assert_eq!(world.logins(), [("orders", false), ("orders_a", true), ("orders_b", false)], "they take turns");
}

#[test]
fn a_user_that_may_be_in_use_gets_no_other_password() {
    let mut world = World::users_take_turns();
    world.leave("orders_b");
    world.role("orders_b").0.sessions.count = 2;
    world.settle();
    assert_eq!(world.rotated(), Some(Reason::Held));
    let message = world.status().rotation.unwrap().message.unwrap();
    let sql = "if nobody uses it, run: ALTER ROLE orders_b NOLOGIN;";
    assert_eq!(message, format!("user orders_b is not free: it has 2 sessions; {sql}"));
    world.role("orders_b").0.sessions.count = 0;
    world.pod = "somebody's".to_owned();
    world.turn(None);
    world.turn(None);
    let message = world.status().rotation.unwrap().message.unwrap();
    assert!(message.contains("still running with the old value: web"), "{message}");
    world.pod = "old".to_owned();
    world.turn_users(&mut |_| None);
    assert_eq!(world.outcomes(), [(RotationOutcome::Completed, Why::Requested)]);
}

#[test]
fn what_another_rotation_has_altered_is_left_alone() {
    let theirs = Fence { cluster: "c".to_owned(), schedule: "other".to_owned(), rotation: "r".to_owned() };
    let mut world = World::users_take_turns();
    world.until("Applying");
    world.role("orders_b").0.fence = Some(theirs.clone());
    world.role("orders_b").1 = "theirs".to_owned();
    world.settle();
    assert_eq!(world.outcomes(), [(RotationOutcome::Superseded, Why::Requested)]);
    assert_eq!((world.writes, world.role("orders_b").1.as_str()), (0, "theirs"));
    let mut world = World::users_take_turns();
    world.until("Retiring");
    world.role("orders_a").0.fence = Some(theirs);
    for _ in 0..3 {
        world.settle();
        world.now += TimeDelta::minutes(11);
    }
    assert_eq!(world.outcomes(), [(RotationOutcome::Completed, Why::Requested)]);
    assert!(world.role("orders_a").0.can_login, "it is somebody else's");
}

#[test]
fn a_session_that_nobody_explains_keeps_the_old_user_until_it_ends_or_you_let_it_go() {
    for let_go in [false, true] {
        let mut world = World::users_take_turns();
        world.until("Retiring");
        world.role("orders_a").0.sessions.count = 1;
        world.now += TimeDelta::minutes(11);
        world.settle();
        assert_eq!((world.rotated(), world.role("orders_a").0.can_login), (Some(Reason::Held), true));
        let open = world.status().rotation.unwrap();
        assert!(open.message.unwrap().contains("has 1 session that no known consumer explains"));
        if let_go {
            let annotations = world.object.metadata.annotations.as_mut().unwrap();
            annotations.insert(names::LET_GO.to_owned(), open.id);
        } else {
            world.role("orders_a").0.sessions.count = 0;
        }
        world.settle();
        world.now += TimeDelta::minutes(11);
        world.settle();
        assert_eq!(world.outcomes(), [(RotationOutcome::Completed, Why::Requested)]);
        assert_eq!(world.role("orders_a").0.can_login, let_go);
        let said = world.status().history[0].message.clone();
        let wanted = "you let it go: if user orders_a may still log in, end that with: ALTER ROLE orders_a NOLOGIN;";
        assert_eq!(said.as_deref(), let_go.then_some(wanted));
    }
}

#[test]
fn a_login_that_does_not_work_is_not_used() {
    let mut world = World::users_take_turns();
    world.until("Verifying");
    world.refused = Some("replica.db:5432 does not accept the login".to_owned());
    for _ in 0..4 {
        world.turn(None);
    }
    let open = world.status().rotation.unwrap();
    assert_eq!((open.step.as_str(), world.writes), ("Verifying", 0));
    assert_eq!(open.message.as_deref(), Some("replica.db:5432 does not accept the login"));
    world.refused = None;
    world.turn_users(&mut |_| None);
    assert_eq!(world.outcomes(), [(RotationOutcome::Completed, Why::Requested)]);
}

#[test]
fn a_user_that_a_person_has_altered_gets_its_password_again() {
    let mut world = World::users_take_turns();
    world.until("Verifying");
    world.role("orders_b").0.can_login = false;
    world.turn_users(&mut |_| None);
    assert_eq!(world.outcomes(), [(RotationOutcome::Completed, Why::Requested)]);
    assert_eq!(world.logins()[2], ("orders_b", true));
}

#[test]
fn a_deletion_anywhere_locks_nobody_out() {
    for step in ["Preparing", "Applying", "Verifying", "Publishing", "RollingOut", "Settling", "Retiring"] {
        let mut world = World::users_take_turns();
        world.until(step);
        world.delete();
        world.turn_users(&mut |_| None);
        assert!(world.at_rest(), "{step}: {:?}", world.status());
        assert!(world.logs_in(&world.pod) && world.logs_in(&world.secret), "{step}");
    }
}

/// It failed over to a replica that had not learned of the new password, or was restored from a backup.
#[test]
fn a_database_that_went_back_gets_the_password_again_before_the_old_user_ends() {
    let mut world = World::users_take_turns();
    world.until("Retiring");
    let (role, password) = world.role("orders_b");
    (role.fence, role.can_login, *password) = (None, false, String::new());
    world.log.clear();
    for _ in 0..4 {
        world.settle();
        world.now += TimeDelta::minutes(11);
    }
    assert_eq!(world.outcomes(), [(RotationOutcome::Completed, Why::Requested)]);
    let effects: Vec<&str> = world.log.iter().map(String::as_str).filter(|line| line.contains("orders_")).collect();
    let effects: Vec<&str> = effects.into_iter().filter(|line| line.starts_with("effect")).collect();
    let forgets = "effect    forgets the password of orders_a";
    assert_eq!(effects, ["effect    gives orders_b a new password", "effect    ends orders_a", forgets]);
    assert!(world.logs_in(&world.pod));
}

#[test]
fn sessions_that_outlive_a_lost_answer_are_ended_again() {
    let mut world = World::users_take_turns();
    world.until("Retiring");
    world.now += TimeDelta::minutes(11);
    world.until_seen("the old user has ended", |world| !world.known_roles()[1].can_login);
    world.role("orders_a").0.sessions.count = 1;
    world.log.clear();
    world.turn(None);
    assert_eq!(world.log, ["effect    ends orders_a"]);
    world.role("orders_a").0.sessions.count = 0;
    world.now += TimeDelta::minutes(11);
    world.settle();
    assert_eq!(world.outcomes(), [(RotationOutcome::Completed, Why::Requested)]);
}

/// Elsewhere the same names are other users.
#[test]
fn another_server_in_the_middle_is_left_alone() {
    for step in ["Applying", "Verifying", "Retiring"] {
        let mut world = World::users_take_turns();
        world.until(step);
        world.object.spec.rotator.postgres.as_mut().unwrap().host = "other".to_owned();
        world.object.metadata.generation = Some(2);
        let before = world.known_roles();
        world.turn(None);
        world.turn(None);
        assert_eq!(world.known_roles(), before, "{step}");
        if step == "Retiring" {
            world.settle();
            let ended = world.status().history[0].message.clone().unwrap();
            assert!(ended.starts_with("spec.rotator changed meanwhile"), "{ended}");
            assert!(world.role("orders_a").0.can_login);
        }
    }
}

#[test]
fn a_leak_does_not_wait_for_a_user_that_is_in_use() {
    let mut world = World::users_take_turns();
    world.leave("orders_b");
    world.role("orders_b").0.sessions.count = 2;
    world.settle();
    assert_eq!(world.rotated(), Some(Reason::Held));
    world.ask("it is out");
    let annotations = world.object.metadata.annotations.as_mut().unwrap();
    annotations.insert(names::ROTATE_REASON.to_owned(), names::ROTATE_REASON_LEAKED.to_owned());
    world.role("orders_a").0.sessions.count = 3;
    for _ in 0..3 {
        world.settle();
    }
    let expected = [(RotationOutcome::Completed, Why::Leaked), (RotationOutcome::Superseded, Why::Requested)];
    assert_eq!(world.outcomes(), expected);
    assert!(!world.role("orders_a").0.can_login, "whoever has a session");
}

proptest! {
    /// Killed before any action, or its answer lost, as often as it may be.
    #[test]
    fn nobody_is_locked_out_whatever_happens(faults in proptest::collection::vec((0usize..40, any::<bool>()), 0..6)) {
        let mut world = World::users_take_turns();
        let fault = |number: usize| {
            let (_, lost) = faults.iter().find(|(at, _)| *at == number)?;
            Some(if *lost { Fault::Lost } else { Fault::Before })
        };
        world.turn_users(&mut { fault });
        prop_assert_eq!(world.outcomes(), [(RotationOutcome::Completed, Why::Requested)]);
        prop_assert_eq!(world.logins(), [("orders", false), ("orders_a", false), ("orders_b", true)]);
        prop_assert_eq!((world.made, world.writes), (1, 1));
    }
}
