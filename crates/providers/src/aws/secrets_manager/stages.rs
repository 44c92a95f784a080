//! Which step makes a new value current, decided from the stages a secret's versions are in.

use rekey_core::store::{StoreError, StoreErrorKind, Write};

/// The stage of the value in force.
pub(super) const CURRENT: &str = "AWSCURRENT";
/// The stage of a value on its way to be current.
pub(super) const PENDING: &str = "AWSPENDING";

/// Which versions of a secret are in the stages that matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stages {
    /// The version in force; none in a secret that never had a value.
    pub current: Option<String>,
    /// The version on its way.
    pub pending: Option<String>,
}

/// What is left to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing; the version may still be marked as pending.
    Done {
        /// Whether it is.
        marked: bool,
    },
    /// Create the secret.
    Create,
    /// Put the value as pending, then make it current instead of `from`.
    Promote {
        /// The version in force now.
        from: Option<String>,
    },
}

/// The next step of a write, when a secret is as `seen`; `None`: it does not exist.
///
/// # Errors
/// `Conflict` when the write comes too late, or another one is in progress.
pub(super) fn decide(seen: Option<&Stages>, write: &Write) -> Result<Step, StoreError> {
    let token = write.token.to_string();
    let conflict = |why: &str| StoreError::new(StoreErrorKind::Conflict, format!("writing {:?}: {why}", write.key));
    let Some(seen) = seen else {
        return match &write.base {
            None => Ok(Step::Create),
            Some(base) => Err(conflict(&format!("version {base} should be current, but the secret is gone"))),
        };
    };
    if seen.current.as_ref() == Some(&token) {
        return Ok(Step::Done { marked: seen.pending.as_ref() == Some(&token) });
    }
    if seen.current != write.base {
        return Err(conflict(&match (&write.base, &seen.current) {
            (None, _) => "the secret exists already".to_owned(),
            (Some(base), Some(current)) => format!("version {base} should be current, but {current} is"),
            (Some(base), None) => format!("version {base} should be current, but none is"),
        }));
    }
    match &seen.pending {
        Some(pending) if *pending != token && seen.pending != seen.current => Err(conflict(&format!(
            "version {pending} is {PENDING}: another tool's rotation is in progress; let it finish, or remove that \
             stage"
        ))),
        _ => Ok(Step::Promote { from: seen.current.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use rekey_core::SecretBytes;
    use uuid::Uuid;

    use super::*;

    const TOKEN: &str = "0193c2a0-0000-7000-8000-000000000001";

    fn stages(current: &str, pending: &str) -> Stages {
        let named = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Stages { current: named(current), pending: named(pending) }
    }

    #[test]
    fn steps() {
        let promote = |from: &str| Some(Step::Promote { from: (!from.is_empty()).then(|| from.to_owned()) });
        let done = |marked| Some(Step::Done { marked });
        let table = [
            // seen, base, the step or a conflict
            (None, None, Some(Step::Create)),
            (None, Some("a"), None),
            (Some(stages("a", "")), None, None),
            (Some(stages("", "")), None, promote("")),
            (Some(stages("", TOKEN)), None, promote("")),
            (Some(stages("", "x")), None, None),
            (Some(stages("a", "")), Some("a"), promote("a")),
            (Some(stages("a", "a")), Some("a"), promote("a")),
            (Some(stages("a", TOKEN)), Some("a"), promote("a")),
            (Some(stages("a", "x")), Some("a"), None),
            (Some(stages("b", "")), Some("a"), None),
            (Some(stages("", "")), Some("a"), None),
            (Some(stages(TOKEN, "")), Some("a"), done(false)),
            (Some(stages(TOKEN, TOKEN)), Some("a"), done(true)),
            (Some(stages(TOKEN, "x")), Some("a"), done(false)),
            (Some(stages(TOKEN, "")), None, done(false)),
        ];
        for (seen, base, expected) in table {
            let write = Write {
                key: "shop/db".into(),
                base: base.map(str::to_owned),
                token: Uuid::parse_str(TOKEN).unwrap(),
                bytes: SecretBytes::from("value"),
            };
            match (decide(seen.as_ref(), &write), expected) {
                (Ok(step), Some(expected)) => assert_eq!(step, expected, "{seen:?} {base:?}"),
                (Err(error), None) => assert_eq!(error.kind, StoreErrorKind::Conflict, "{seen:?} {base:?}"),
                (result, _) => panic!("{seen:?} {base:?}: {result:?}"),
            }
        }
    }
}
