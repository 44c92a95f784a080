//! What a connection has written, and when it lasts.

use super::sql::{Effect, Sql};

/// How far a transaction is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    None,
    Open,
    /// The server takes back what it has done, whatever the client says.
    Failed,
}

#[derive(Debug, Default)]
pub(super) struct Transaction {
    phase: Phase,
    writes: Vec<String>,
}

impl Transaction {
    /// Follows the statements of a request; returns what they make last, if the server does them.
    pub(super) fn follow(&mut self, statements: &[Sql]) -> Option<String> {
        let mut lasting = Vec::new();
        for statement in statements {
            if statement.ends_sessions() {
                lasting.push(statement.shown());
            }
            match statement.effect() {
                Effect::Begin => self.phase = Phase::Open,
                Effect::Commit => lasting.extend(self.commit()),
                Effect::Rollback => *self = Self::default(),
                Effect::Write => self.writes.push(statement.shown()),
                Effect::Read => {}
            }
        }
        if self.phase == Phase::None {
            // Without a transaction of the client's, the request is one.
            lasting.append(&mut self.writes);
        }
        (!lasting.is_empty()).then(|| lasting.join(", "))
    }

    /// The status of a `ReadyForQuery`.
    pub(super) fn is_now(&mut self, status: u8) {
        match status {
            b'T' => self.phase = Phase::Open,
            b'E' => self.phase = Phase::Failed,
            _ => *self = Self::default(),
        }
    }

    fn commit(&mut self) -> Option<String> {
        let Self { phase, writes } = std::mem::take(self);
        (phase != Phase::Failed && !writes.is_empty()).then(|| format!("COMMIT {}", writes.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests with the status that the server answers them by, and what each makes last.
    #[test]
    fn what_was_written_lasts_from_its_commit_on() {
        let cases: [&[(&str, u8, Option<&str>)]; 9] = [
            &[
                ("BEGIN", b'T', None),
                ("INSERT", b'T', None),
                ("SELECT", b'T', None),
                ("COMMIT", b'I', Some("COMMIT INSERT")),
            ],
            &[("BEGIN", b'T', None), ("SELECT", b'T', None), ("COMMIT", b'I', None), ("COMMIT", b'I', None)],
            &[("BEGIN", b'T', None), ("INSERT", b'T', None), ("ROLLBACK", b'I', None), ("COMMIT", b'I', None)],
            &[("BEGIN", b'T', None), ("INSERT", b'E', None), ("COMMIT", b'I', None), ("COMMIT", b'I', None)],
            &[
                ("BEGIN; INSERT; SAVEPOINT a", b'T', None),
                ("DELETE", b'E', None),
                ("ROLLBACK TO a", b'T', None),
                ("COMMIT", b'I', Some("COMMIT INSERT, DELETE")),
            ],
            &[("INSERT; DELETE", b'I', Some("INSERT, DELETE")), ("COMMIT", b'I', None)],
            &[("BEGIN; INSERT; COMMIT; DELETE", b'I', Some("COMMIT INSERT, DELETE"))],
            &[("COMMIT AND CHAIN", b'T', None), ("INSERT", b'T', None), ("END", b'I', Some("COMMIT INSERT"))],
            &[
                ("BEGIN READ ONLY", b'T', None),
                ("SELECT pg_terminate_backend(1)", b'T', Some("SELECT pg_terminate_backend 1")),
                ("COMMIT", b'I', None),
            ],
        ];
        for requests in cases {
            let mut transaction = Transaction::default();
            for (text, status, lasting) in requests {
                assert_eq!(transaction.follow(&Sql::all(text)).as_deref(), *lasting, "{text} of {requests:?}");
                transaction.is_now(*status);
            }
        }
    }
}
