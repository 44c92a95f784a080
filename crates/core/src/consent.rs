//! Consent of a credential Secret: who may use it, and where it may be sent (`rekey.dev/usable-by`).
//!
//! An entry is `Kind/name@host:port`; `|` separates several addresses of one user, and a comma separates entries. A
//! user has consent when the addresses of its entries cover every address that the credential goes to; an entry without
//! addresses covers none, since whoever may edit the user could send the credential anywhere.

use rekey_api::{condition::Reason, names::USABLE_BY};

use crate::store::{StoreError, StoreErrorKind, place::Place};

/// Who uses a credential, and where it goes.
#[derive(Clone, Debug)]
pub struct User {
    /// Kind and name, for example `RemoteStore/vault`.
    pub label: String,
    /// Every address it goes to.
    pub places: Vec<Place>,
}

/// What a Secret says about its use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent<'a> {
    /// Nothing, and it needs nothing.
    Optional,
    /// Nothing, and the operator's settings require consent.
    Missing,
    /// A value that our own field manager has written, as a template of an earlier version could.
    Own,
    /// The value of the annotation.
    Given(&'a str),
}

/// The Secret that a credential is in.
#[derive(Clone, Copy, Debug)]
pub struct Credential<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
}

impl User {
    /// Checks that `credential` may be used by this user and sent to all of its addresses.
    ///
    /// # Errors
    /// `Denied`, with the annotation to set. It says nothing about other users.
    pub fn check(&self, credential: Credential<'_>, consent: Consent<'_>) -> Result<(), StoreError> {
        let text = match consent {
            Consent::Optional => return Ok(()),
            Consent::Missing => {
                format!(
                    "has no annotation {USABLE_BY}, which the operator requires (--require-consent); if the credential \
                     {}",
                    self.command(credential)
                )
            }
            Consent::Own => {
                format!(
                    "has its annotation {USABLE_BY} from a template of Rekey, which is no consent; if the credential {}",
                    self.command(credential)
                )
            }
            Consent::Given(text) => match self.gap(text) {
                Gap::None => return Ok(()),
                Gap::User => format!(
                    "may be used by others only; if {} may use it, too, add {:?} to its annotation {USABLE_BY}, after a comma",
                    self.label,
                    self.entry()
                ),
                Gap::Places { missing, others } => {
                    let fix = if others {
                        format!("may go there, write {:?} in place of the entry of {}", self.entry(), self.label)
                    } else {
                        self.command(credential)
                    };
                    format!(
                        "may not be sent to {missing} by {}, as its annotation {USABLE_BY} says; if the credential {fix}",
                        self.label
                    )
                }
            },
        };
        let Credential { namespace, name } = credential;
        let text = format!("Secret {name:?} in namespace {namespace:?} {text}");
        Err(StoreError::new(StoreErrorKind::Denied, text).because(Reason::NoConsent))
    }

    /// The entry that gives consent.
    #[must_use]
    pub fn entry(&self) -> String {
        format!("{}@{}", self.label, list(self.places.iter(), "|"))
    }

    fn command(&self, Credential { namespace, name }: Credential<'_>) -> String {
        format!(
            "may go there, run `kubectl annotate secret {name} -n {namespace} --overwrite {USABLE_BY}='{}'`",
            self.entry()
        )
    }

    /// What the annotation leaves open.
    fn gap(&self, text: &str) -> Gap {
        let entries: Vec<&str> = text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect();
        let ours: Vec<&str> = entries.iter().filter_map(|entry| self.places_in(entry)).collect();
        if ours.is_empty() {
            return Gap::User;
        }
        let allowed: Vec<Place> =
            ours.iter().flat_map(|places| places.split('|')).filter_map(|at| Place::parse(at.trim())).collect();
        let missing: Vec<&Place> = self.places.iter().filter(|place| !allowed.contains(place)).collect();
        // Every entry would cover a user without a place.
        if missing.is_empty() && !self.places.is_empty() {
            return Gap::None;
        }
        Gap::Places { missing: list(missing.into_iter(), " and "), others: entries.len() > ours.len() }
    }

    /// The places of an entry, if it is one of this user; an entry without any allows none.
    fn places_in<'e>(&self, entry: &'e str) -> Option<&'e str> {
        let (user, places) = entry.split_once('@').unwrap_or((entry, ""));
        (user.trim() == self.label).then_some(places)
    }
}

/// A reader of a Secret that sends it nowhere: a policy, for a template. Its entry has no address.
#[derive(Clone, Debug)]
pub struct Reader {
    /// Kind and name, for example `SecretPolicy/orders-db`.
    pub label: String,
}

impl Reader {
    /// Checks that the Secret may be used by this reader.
    ///
    /// # Errors
    /// `Denied`, with the annotation to set. It says nothing about other users.
    pub fn check(&self, credential: Credential<'_>, consent: Consent<'_>) -> Result<(), StoreError> {
        let (Credential { namespace, name }, label) = (credential, &self.label);
        let command = format!("run `kubectl annotate secret {name} -n {namespace} --overwrite {USABLE_BY}='{label}'`");
        let text = match consent {
            Consent::Optional => return Ok(()),
            Consent::Given(text) if text.split(',').any(|entry| entry.trim() == label) => return Ok(()),
            Consent::Missing => format!(
                "has no annotation {USABLE_BY}, which the operator requires (--require-consent); if {label} may use \
                 it, {command}"
            ),
            Consent::Own => format!(
                "has its annotation {USABLE_BY} from a template of Rekey, which is no consent; if {label} may use it, {command}"
            ),
            Consent::Given(_) => format!(
                "may be used by others only; if {label} may use it, too, add {label:?} to its annotation {USABLE_BY}, after a comma"
            ),
        };
        Err(StoreError::new(StoreErrorKind::Denied, format!("Secret {name:?} in namespace {namespace:?} {text}")))
    }
}

/// Why there is no consent.
enum Gap {
    None,
    /// The annotation does not name the user.
    User,
    /// It names the user, but not these places.
    Places {
        missing: String,
        /// Whether it names others.
        others: bool,
    },
}

fn list<'p>(places: impl Iterator<Item = &'p Place>, between: &str) -> String {
    places.map(Place::to_string).collect::<Vec<_>>().join(between)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIAL: Credential<'static> = Credential { namespace: "shop", name: "vault-token" };

    fn user(places: &[&str]) -> User {
        User {
            label: "RemoteStore/vault".to_owned(),
            places: places.iter().map(|at| Place::parse(at).unwrap()).collect(),
        }
    }

    #[test]
    fn a_credential_is_used_by_whom_it_names_and_goes_where_it_says() {
        let one: &[&str] = &["bao.infra:8200"];
        let two: &[&str] = &["secretsmanager.eu-west-1.amazonaws.com:443", "sts.eu-west-1.amazonaws.com:443"];
        for (places, text, expected) in [
            (one, "RemoteStore/vault@bao.infra:8200", true),
            (one, "RemoteStore/vault@BAO.infra:8200", true),
            (one, " RotationSchedule/db@db:5432 ,RemoteStore/vault@ bao.infra:8200 ", true),
            (one, "RemoteStore/vault@other:1|bao.infra:8200", true),
            (one, "RemoteStore/vault@other:1, RemoteStore/vault@bao.infra:8200", true),
            (one, "RemoteStore/vault", false),
            (one, "RemoteStore/vault@", false),
            (one, "RemoteStore/vault@bao.infra", false),
            (one, "RemoteStore/vault@bao.infra:443", false),
            (one, "RemoteStore/vault@bao.infra.:8200", false),
            (one, "RemoteStore/vault@evil:8200", false),
            (one, "RemoteStore/vault@*", false),
            (one, "ClusterRemoteStore/vault@bao.infra:8200", false),
            (one, "RemoteStore/vault2@bao.infra:8200", false),
            (one, "RemoteStore/other@bao.infra:8200", false),
            (one, "", false),
            (two, "RemoteStore/vault@secretsmanager.eu-west-1.amazonaws.com:443", false),
            (two, "RemoteStore/vault@secretsmanager.eu-west-1.amazonaws.com:443|sts.eu-west-1.amazonaws.com:443", true),
            (&[], "RemoteStore/vault@bao.infra:8200", false),
        ] {
            let found = user(places).check(CREDENTIAL, Consent::Given(text));
            assert_eq!(found.is_ok(), expected, "{places:?} {text:?}: {found:?}");
            assert!(found.err().is_none_or(|error| error.kind == StoreErrorKind::Denied));
        }
        assert_eq!(user(one).check(CREDENTIAL, Consent::Optional), Ok(()));
        assert!(user(one).check(CREDENTIAL, Consent::Own).is_err(), "what we wrote ourselves is no consent");
    }

    #[test]
    fn a_reader_is_named_without_an_address() {
        let reader = Reader { label: "SecretPolicy/db".to_owned() };
        for (text, expected) in [
            ("SecretPolicy/db", true),
            ("RemoteStore/vault@bao:8200, SecretPolicy/db", true),
            ("SecretPolicy/db2", false),
            ("SecretPolicy/db@bao:8200", false),
            ("RemoteStore/vault@bao:8200", false),
            ("", false),
        ] {
            let found = reader.check(CREDENTIAL, Consent::Given(text));
            assert_eq!(found.is_ok(), expected, "{text:?}: {found:?}");
        }
        assert_eq!(reader.check(CREDENTIAL, Consent::Optional), Ok(()));
        for consent in [Consent::Missing, Consent::Own] {
            let text = reader.check(CREDENTIAL, consent).unwrap_err().to_string();
            assert!(text.contains("--overwrite rekey.dev/usable-by='SecretPolicy/db'`"), "{text}");
        }
    }

    #[test]
    fn a_refusal_says_where_the_credential_would_go_and_what_allows_it() {
        let user = user(&["bao.infra:8200", "sts:443"]);
        let command = "`kubectl annotate secret vault-token -n shop --overwrite \
                       rekey.dev/usable-by='RemoteStore/vault@bao.infra:8200|sts:443'`";
        for (consent, wanted) in [
            (Consent::Missing, vec!["has no annotation rekey.dev/usable-by", "--require-consent", command]),
            (Consent::Own, vec!["from a template of Rekey", command]),
            (Consent::Given("RemoteStore/vault"), vec!["may not be sent to bao.infra:8200 and sts:443", command]),
            (Consent::Given("RemoteStore/vault@bao.infra:8200"), vec!["may not be sent to sts:443 by", command]),
            (
                Consent::Given("Secret/guest, RemoteStore/vault@old:1"),
                vec!["may not be sent to", r#"write "RemoteStore/vault@bao.infra:8200|sts:443" in place of"#],
            ),
            (
                Consent::Given("Secret/guest"),
                vec!["may be used by others only", r#"add "RemoteStore/vault@bao.infra:8200|"#],
            ),
        ] {
            let text = user.check(CREDENTIAL, consent).unwrap_err().text;
            assert!(wanted.iter().all(|part| text.contains(part)), "{text}");
            assert!(
                text.starts_with(r#"Secret "vault-token" in namespace "shop" "#) && !text.contains("guest"),
                "{text}"
            );
        }
    }
}
