//! How the old users of a database end, and what keeps them from it.

use rekey_api::rotation::RotationReason as Why;

use super::*;
use crate::rotator::database::Sessions;

impl World {
    fn let_go(&mut self) {
        let id = self.status().rotation.unwrap().id;
        let annotations = self.object.metadata.annotations.get_or_insert_default();
        annotations.insert(names::LET_GO.to_owned(), id);
    }

    fn leak(&mut self) {
        self.ask("it is out");
        let annotations = self.object.metadata.annotations.as_mut().unwrap();
        annotations.insert(names::ROTATE_REASON.to_owned(), names::ROTATE_REASON_LEAKED.to_owned());
    }

    fn message(&self) -> String {
        self.status().rotation.and_then(|open| open.message).unwrap_or_default()
    }
}

#[test]
fn the_password_of_a_user_that_has_ended_is_forgotten_one_grace_later() {
    let mut world = World::users_take_turns();
    world.until("Retiring");
    world.now += TimeDelta::minutes(11);
    world.settle();
    assert_eq!((world.role("orders_a").0.can_login, world.role("orders_a").1.as_str()), (false, "old"));
    assert!(
        world.message().starts_with("user orders_a may not log in any more; the server keeps"),
        "{}",
        world.message()
    );
    world.now += TimeDelta::minutes(11);
    world.settle();
    assert_eq!(world.role("orders_a").1, "");
    assert_eq!(world.outcomes(), [(RotationOutcome::Completed, Why::Requested)]);
    world.ask("again");
    world.until("Verifying");
    assert!(world.role("orders_a").0.can_login, "its next turn");
}

#[test]
fn what_the_old_user_still_owns_is_handed_over_before_the_end() {
    let mut world = World::users_take_turns();
    world.until("Retiring");
    world.now += TimeDelta::minutes(22);
    world.until_seen("the old user has ended", |world| !world.known_roles()[1].can_login);
    world.role("orders_a").0.owns = true;
    world.log.clear();
    world.turn(None);
    assert_eq!(world.log, ["effect    ends orders_a"]);
    world.settle();
    assert_eq!(world.outcomes(), [(RotationOutcome::Completed, Why::Requested)]);
}

/// A rotation that was superseded by a leak has not ended the user that it came from.
#[test]
fn a_user_that_an_earlier_rotation_has_left_ends_with_the_next_one() {
    let mut world = World::users_take_turns();
    let users = world.object.spec.rotator.postgres.as_mut().unwrap().users.alternating.as_mut().unwrap();
    users.from = Some("app".to_owned());
    let (app, password) = (world.role("orders_a").0.clone(), world.role("orders_a").1.clone());
    world.roles.push((Role { name: "app".to_owned(), ..app }, password));
    (world.role("orders_a").0.can_login, world.role("orders_a").1) = (false, String::new());
    world.store = Some((1, json!({"username": "app", "password": "old", "host": "db"})));
    world.until("RollingOut");
    world.leak();
    for _ in 0..3 {
        world.settle();
        world.now += TimeDelta::minutes(11);
    }
    let superseded = (RotationOutcome::Superseded, Why::Requested);
    assert_eq!(world.outcomes(), [(RotationOutcome::Completed, Why::Leaked), superseded]);
    let can_login: Vec<(String, bool)> = world.known_roles().into_iter().map(|at| (at.name, at.can_login)).collect();
    let only = |name: &str| (name.to_owned(), name == "orders_b");
    assert_eq!(can_login, ["orders", "orders_a", "orders_b", "app"].map(only));
}

#[test]
fn a_wait_without_end_is_reported_with_a_way_out_and_policies_elsewhere_do_not_hold_it_for_ever() {
    let mut world = World::users_take_turns();
    world.elsewhere = 2;
    world.until("Retiring");
    world.settle();
    assert!(
        world.message().ends_with("not yet on the new value: 2 policies of other namespaces"),
        "{}",
        world.message()
    );
    world.role("orders_a").0.sessions = Sessions { count: 1, newest: None };
    world.now += TimeDelta::minutes(81);
    world.settle();
    assert_eq!(world.rotated(), Some(Reason::RetirementBlocked));
    assert!(world.message().contains("has 1 session that no known consumer explains"), "{}", world.message());
    assert!(world.message().contains(names::LET_GO) && world.role("orders_a").0.can_login);
    assert!(world.shown().contains(&"Ready=False/RetirementBlocked".to_owned()), "{:?}", world.shown());
    world.let_go();
    world.settle();
    assert_eq!(world.outcomes(), [(RotationOutcome::Completed, Why::Requested)]);
}

#[test]
fn a_rotation_is_let_go_in_each_step_after_its_value_is_live_and_only_by_its_id() {
    for step in ["RollingOut", "Settling", "Retiring"] {
        let mut world = World::users_take_turns();
        world.until(step);
        world.let_go();
        let annotations = world.object.metadata.annotations.as_mut().unwrap();
        let id = annotations.insert(names::LET_GO.to_owned(), "another".to_owned()).unwrap();
        world.turn(None);
        assert!(world.outcomes().is_empty(), "{step}");
        world.object.metadata.annotations.as_mut().unwrap().insert(names::LET_GO.to_owned(), id);
        world.settle();
        assert_eq!(world.outcomes(), [(RotationOutcome::Completed, Why::Requested)], "{step}");
        assert!(world.role("orders_a").0.can_login && world.at_rest(), "{step}");
    }
}

#[test]
fn a_user_whose_password_a_person_has_altered_gets_it_again() {
    let mut world = World::users_take_turns();
    world.until("Verifying");
    world.role("orders_b").1 = "theirs".to_owned();
    world.until("Publishing");
    assert_eq!(world.log.iter().filter(|line| line.ends_with("gives orders_b a new password")).count(), 2);
}

/// Only pods that may hold another login can be using the free user.
#[test]
fn pods_that_do_not_run_steadily_keep_no_user_from_its_turn() {
    let mut world = World::users_take_turns();
    world.leave("orders_b");
    world.until("Applying");
    world.unsteady = vec!["web (CrashLoopBackOff)".to_owned()];
    world.until("Verifying");
}

#[test]
fn a_user_that_consumers_of_other_policies_may_use_is_not_taken() {
    let mut world = World::users_take_turns();
    world.leave("orders_b");
    (world.others, world.elsewhere) = (vec!["SecretPolicy web".to_owned()], 1);
    world.settle();
    assert_eq!(world.rotated(), Some(Reason::Held));
    assert!(
        world.message().contains(": SecretPolicy web, a policy of another namespace; if nobody"),
        "{}",
        world.message()
    );
    (world.others, world.elsewhere) = (Vec::new(), 0);
    world.until("Verifying");
}

/// A schedule whose users were changed while a rotation was open, or a person who has given one a login meanwhile.
#[test]
fn a_user_that_no_rotation_of_the_schedule_has_let_log_in_is_not_taken_even_for_a_leak() {
    for leaks in [false, true] {
        let mut world = World::users_take_turns();
        if leaks {
            world.leak();
        }
        world.until("Applying");
        world.role("orders_b").0.can_login = true;
        world.role("orders_b").1 = "theirs".to_owned();
        world.settle();
        assert_eq!((world.rotated(), world.role("orders_b").1.as_str()), (Some(Reason::Held), "theirs"));
        assert!(world.message().contains("ALTER ROLE orders_b NOLOGIN;"), "{}", world.message());
        world.role("orders_b").0.can_login = false;
        world.until("Verifying");
    }
}

#[test]
fn a_leak_says_what_it_breaks() {
    let mut world = World::users_take_turns();
    world.leave("orders_b");
    world.role("orders_b").0.sessions.count = 2;
    world.role("orders_a").0.sessions.count = 1;
    world.leak();
    for _ in 0..3 {
        world.settle();
    }
    let broke: Vec<&String> = world.log.iter().filter(|line| line.starts_with("broke")).collect();
    assert_eq!(
        broke,
        [
            "broke     gave user orders_b another password though it may be in use: it has 2 sessions",
            "broke     ended 1 session of user orders_a"
        ]
    );
}
