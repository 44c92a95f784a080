use super::*;

fn store(kind: StoreErrorKind) -> Error {
    Error::store("read", "RemoteStore/vault")(StoreError::new(kind, "text"))
}

fn api(code: u16) -> Error {
    let status = kube::core::Status { code, ..kube::core::Status::default() };
    Error::api(Operation::ApplySecret, "shop/db")(kube::Error::Api(Box::new(status)))
}

fn stalled() -> Error {
    SpecError::field("spec.x", "fix it").into()
}

#[test]
fn one_table_says_what_follows() {
    use Class::{Bug, Conflict, Data, Denied, Spec, Transient};
    let refused = || Error::Spec(SpecError::LockedAndChanged { text: String::new() });
    for (error, class, reason, first_delay) in [
        (stalled(), Spec, Reason::InvalidSpec, None),
        (refused(), Data, Reason::LockedAndChanged, Some(30_000)),
        (store(StoreErrorKind::NotFound), Transient, Reason::KeyNotFound, Some(1000)),
        (store(StoreErrorKind::Denied), Denied, Reason::AccessDenied, Some(30_000)),
        (store(StoreErrorKind::Throttled), Transient, Reason::Throttled, Some(1000)),
        (store(StoreErrorKind::Unavailable), Transient, Reason::Unavailable, Some(1000)),
        (store(StoreErrorKind::Conflict), Conflict, Reason::Unavailable, Some(200)),
        (api(409), Conflict, Reason::ApiError, Some(200)),
        (api(403), Denied, Reason::ApiError, Some(30_000)),
        (api(500), Transient, Reason::ApiError, Some(1000)),
        (Error::Deadline(Duration::from_secs(1)), Transient, Reason::ApiError, Some(1000)),
        (Error::NoRoom, Transient, Reason::OperatorBusy, Some(1000)),
        (Error::TooMuch { what: String::new(), most: 1 }, Data, Reason::SecretTooLarge, Some(30_000)),
        (Error::Panic, Bug, Reason::InternalError, Some(1000)),
    ] {
        let delay = error.delay(1).map(|delay| delay.as_millis());
        assert_eq!((error.class(), error.reason(), delay), (class, reason, first_delay), "{error}");
    }
}

#[test]
fn what_others_say_about_a_write_of_values_is_not_repeated() {
    let status = kube::core::Status {
        code: 422,
        reason: "Invalid".to_owned(),
        message: "webhook says: hunter2".to_owned(),
        ..kube::core::Status::default()
    };
    let refused = |operation| Error::api(operation, "shop/db")(kube::Error::Api(Box::new(status.clone()))).to_string();
    assert_eq!(refused(Operation::ApplySecret), "apply Secret shop/db: refused with Invalid (422)");
    assert!(!refused(Operation::CreateDigestKey).contains("hunter2"), "the key of all digests is a value");
    assert!(refused(Operation::ListPods).contains("webhook says"));
}

#[test]
fn what_was_published_is_served_on_while_a_store_is_away() {
    let away = store(StoreErrorKind::Unavailable);
    assert!(matches!(away.situation(true), Situation::LastKnown(Reason::Unavailable, _)));
    assert!(matches!(away.situation(false), Situation::NotReady(Reason::Unavailable, _)));
    assert!(matches!(stalled().situation(true), Situation::Stalled(Reason::InvalidSpec, _)));
}

#[test]
fn a_spelling_that_is_wrong_is_a_matter_of_the_spec() {
    let wrong = store(StoreErrorKind::InvalidKey);
    assert_eq!((wrong.reason(), wrong.class(), wrong.delay(1)), (Reason::InvalidSpec, Class::Spec, None));
    assert!(matches!(wrong.situation(true), Situation::Stalled(Reason::InvalidSpec, _)));
    let likely = StoreError::new(StoreErrorKind::InvalidKey, "write that").retry_after(Some(Duration::from_mins(5)));
    assert_eq!(Error::store("read", "s")(likely).delay(9), Some(Duration::from_mins(5)), "it may be right after all");
}

#[test]
fn an_empty_object_is_looked_at_again_and_what_is_published_stands() {
    let empty = Error::Spec(RenderError::EmptyAnswer { key: "k".to_owned() }.into());
    assert_eq!((empty.reason(), empty.class()), (Reason::EmptyAnswer, Class::Transient));
    assert!(matches!(empty.situation(true), Situation::LastKnown(Reason::EmptyAnswer, _)));
    assert!(matches!(empty.situation(false), Situation::NotReady(..)));
}

#[test]
fn waiting_grows_to_a_minute_and_a_store_may_ask_for_more() {
    let away = store(StoreErrorKind::Unavailable);
    let seconds: Vec<u64> = [1, 2, 3, 7, 100].map(|failures| away.delay(failures).unwrap_or_default().as_secs()).into();
    assert_eq!(seconds, [1, 2, 4, 32, 32]);
    let busy = Error::StoreBusy { store: "s".to_owned() };
    let seconds: Vec<u64> = [1, 2, 3, 7, 100].map(|failures| busy.delay(failures).unwrap_or_default().as_secs()).into();
    assert_eq!(seconds, [1, 2, 4, 4, 4], "in time for the turn that is kept for it");
    let asked = StoreError::new(StoreErrorKind::Throttled, "slow down").retry_after(Some(Duration::from_hours(1)));
    assert_eq!(Error::store("read", "s")(asked).delay(1), Some(Duration::from_mins(5)));
    let at_once = StoreError::new(StoreErrorKind::Throttled, "slow down").retry_after(Some(Duration::ZERO));
    assert_eq!(Error::store("read", "s")(at_once.clone()).delay(1), Some(Duration::from_secs(1)));
    assert_eq!(Error::store("read", "s")(at_once).delay(4), Some(Duration::from_secs(8)), "never less");
}

/// What can never work is not shown as if time helped; what others have to set up is.
#[test]
fn a_store_that_can_never_work_is_stalled() {
    use StoreErrorKind::{Denied, Invalid, Unavailable};
    let of = |kind, because: Option<Reason>| {
        let error = StoreError { because, ..StoreError::new(kind, "text") };
        Error::store("open", "RemoteStore/vault")(error).situation_of_store()
    };
    for (kind, because, stalled, reason) in [
        (Invalid, None, true, Reason::InvalidSpec),
        (Invalid, Some(Reason::AddressNotAllowed), true, Reason::AddressNotAllowed),
        (Unavailable, Some(Reason::AddressNotAllowed), true, Reason::AddressNotAllowed),
        (Denied, Some(Reason::NoConsent), true, Reason::NoConsent),
        (Invalid, Some(Reason::StoreNotReady), true, Reason::StoreNotReady),
        (Invalid, Some(Reason::CredentialsNotFound), false, Reason::CredentialsNotFound),
        (Invalid, Some(Reason::InvalidCredentials), false, Reason::InvalidCredentials),
        (Denied, None, false, Reason::AccessDenied),
        (Unavailable, None, false, Reason::Unavailable),
    ] {
        let situation = of(kind, because);
        let is_stalled = matches!(situation, Situation::Stalled(..));
        assert_eq!((is_stalled, situation.reason()), (stalled, reason), "{kind:?} {because:?}");
    }
    assert!(matches!(stalled().situation_of_store(), Situation::Stalled(Reason::InvalidSpec, _)));
}

#[test]
fn a_request_that_can_never_work_is_the_fault_of_who_asks() {
    let request = || store(StoreErrorKind::InvalidKey);
    assert_eq!((request().class(), request().reason()), (Class::Spec, Reason::InvalidSpec));
    assert!(matches!(request().situation(true), Situation::Stalled(Reason::InvalidSpec, _)));
    let of_store = store(StoreErrorKind::Invalid);
    assert!(
        matches!(of_store.situation(false), Situation::NotReady(Reason::StoreNotReady, _)),
        "not the policy's fault"
    );
}
