use std::{collections::BTreeMap, sync::OnceLock};

use proptest::prelude::*;
use ssh_key::{PrivateKey, PublicKey, authorized_keys::AuthorizedKeys as Parser};

use super::{
    authorized_keys::{NEW, OLD},
    *,
};
use crate::{chance::tests::Sequence, rotator::Rotator};

const PRIVATE: &str = "ssh-privatekey";
const PUBLIC: &str = "ssh-publickey";
const AUTHORIZED: &str = "authorized_keys";

type Values = BTreeMap<String, SecretBytes>;

fn rotator(comment: Option<&str>) -> SshKeyPair {
    let rotator = SshKeyPairRotator { comment: comment.map(str::to_owned), ..SshKeyPairRotator::default() };
    SshKeyPair::parse(&rotator).unwrap()
}

fn values(pairs: &[(&str, &str)]) -> Values {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), SecretBytes::from(*value))).collect()
}

fn shown<'a>(values: &'a Values, name: &str) -> &'a str {
    values[name].expose_text().unwrap()
}

/// A public key, different for each seed. They are made once: that is slow without optimisation.
fn public(seed: u64) -> String {
    static MADE: [OnceLock<String>; 6] = [const { OnceLock::new() }; 6];
    MADE[usize::try_from(seed).unwrap()].get_or_init(|| made_public(seed)).clone()
}

fn made_public(seed: u64) -> String {
    let made = rotator(Some(&format!("n{seed}"))).make(&Values::new(), &Sequence::from(seed)).unwrap();
    shown(&made, PUBLIC).to_owned()
}

/// What sshd would find in the file.
fn keys(file: &str) -> Vec<PublicKey> {
    Parser::new(file).map(|entry| entry.unwrap().public_key().clone()).collect()
}

/// What the store holds once the new key is valid beside the old one.
fn taught(pair: &SshKeyPair, current: &Values, made: &Values) -> Values {
    let mut values = current.clone();
    values.extend(Rotator::SshKeyPair(pair.clone()).apply(made));
    values
}

fn check_pair(made: &Values, comment: &str) -> PrivateKey {
    let text = shown(made, PRIVATE);
    assert!(
        text.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n")
            && text.ends_with("-----END OPENSSH PRIVATE KEY-----\n")
    );
    let private = PrivateKey::from_openssh(text).unwrap();
    let public = PublicKey::from_openssh(shown(made, PUBLIC)).unwrap();
    assert_eq!((private.public_key(), private.comment(), public.comment()), (&public, comment, comment));
    assert!(!shown(made, PUBLIC).contains('\n'));
    private
}

#[test]
fn a_key_reads_back_and_follows_from_chance() {
    for comment in [None, Some("deploy"), Some("a-b_c.d@e+f")] {
        let rotator = rotator(comment);
        let made = rotator.make(&Values::new(), &Sequence::from(1)).unwrap();
        let private = check_pair(&made, comment.unwrap_or_default());
        assert_eq!(private.algorithm(), ssh_key::Algorithm::Ed25519);
        assert_eq!(shown(&made, AUTHORIZED), format!("{NEW}\n{}\n", shown(&made, PUBLIC)));
        assert_eq!(rotator.make(&Values::new(), &Sequence::from(1)).unwrap(), made);
        assert_ne!(rotator.make(&Values::new(), &Sequence::from(2)).unwrap()[PRIVATE], made[PRIVATE]);
    }
}

#[test]
fn an_rsa_key_has_4096_bits_and_signs() {
    let rotator = SshKeyPair { algorithm: SshAlgorithm::Rsa4096, ..rotator(Some("deploy")) };
    let made = rotator.make(&values(&[(PUBLIC, &public(1)), (AUTHORIZED, &public(1))]), &Sequence::from(1)).unwrap();
    let private = check_pair(&made, "deploy");
    let pair = private.key_data().rsa().unwrap();
    let bits = |number: &Mpint| {
        let bytes = number.as_positive_bytes().unwrap();
        bytes.len() * 8 - usize::try_from(bytes[0].leading_zeros()).unwrap()
    };
    assert_eq!((bits(&pair.public.n), bits(&pair.private.p), bits(&pair.private.q)), (4096, 2048, 2048));
    let number = |number: &Mpint| num_bigint::BigUint::from_bytes_be(number.as_positive_bytes().unwrap());
    let (p, q) = (number(&pair.private.p), number(&pair.private.q));
    assert_eq!(&p * &q, number(&pair.public.n));
    assert_eq!(number(&pair.private.iqmp) * &q % &p, 1_u8.into());
    let message = num_bigint::BigUint::from(42_u8);
    let n = number(&pair.public.n);
    assert_eq!(message.modpow(&number(&pair.private.d), &n).modpow(&number(&pair.public.e), &n), message);
    assert_eq!(keys(shown(&made, AUTHORIZED)).len(), 2);
}

/// What is stored, and what it becomes.
struct Case {
    name: &'static str,
    file: String,
    public: String,
    /// What others have in the file, which stays.
    others: String,
    /// Lines of ours that an earlier rotation left; they go with the old key.
    left: Vec<String>,
    /// The line with the old key.
    old: Option<String>,
    /// The options before the new key.
    options: &'static str,
}

fn case(name: &'static str, stored: (String, &str), others: &str, old: Option<&str>) -> Case {
    let (file, public) = stored;
    let (public, others, old) = (public.to_owned(), others.to_owned(), old.map(str::to_owned));
    Case { name, file, public, others, left: Vec::new(), old, options: "" }
}

fn cases() -> Vec<Case> {
    let (old, other, third, left) = (&*public(1), &*public(2), &*public(3), &*public(4));
    let others = &*format!("{other}\n");
    let commented = format!("{other}\n# of a person\n{old}\n\n{third}");
    let unseen = format!("{other}\n{OLD}\n{old}\n{NEW}\n{left}\n");
    let current = format!("{OLD}\n{left}\n{NEW}\n{old}\n{other}\n");
    let strays = format!("{OLD}\n# of a person\n{other}\n{NEW}\n");
    let options = "from=\"10.0.0.0/8\",command=\"a b\" ";
    let restricted = format!("{options}{old}");
    vec![
        case("nothing is there", (String::new(), ""), "", None),
        case("the old key alone", (format!("{old}\n"), old), "", Some(old)),
        case("the old key is in no file yet", (String::new(), &format!("{old}\n")), "", Some(old)),
        case("keys of others", (commented, old), &format!("{other}\n# of a person\n\n{third}\n"), Some(old)),
        case("others without an old key", (others.to_owned(), ""), others, None),
        Case {
            left: vec![left.to_owned()],
            ..case("an unfinished rotation, not yet seen by clients", (unseen, old), others, Some(old))
        },
        Case {
            left: vec![left.to_owned()],
            ..case("an unfinished rotation, whose key is the current one", (current, old), others, Some(old))
        },
        case("markers above a comment and at the end", (strays, ""), &format!("# of a person\n{other}\n"), None),
        case("another comment behind the old key", (format!("{old}x\n"), old), "", Some(&format!("{old}x"))),
        case("lines of another system", (format!("{other}\r\n{old}\r\n"), old), &format!("{other}\r\n"), Some(old)),
        Case { options, ..case("restrictions", (format!("{restricted}\n"), old), "", Some(&restricted)) },
        case("the stored public key is none", (others.to_owned(), &format!("none\n{third}")), others, None),
        case("of several public keys the first counts", (String::new(), &format!("{old}\n{third}\n")), "", Some(old)),
    ]
}

#[test]
fn authorized_keys_hold_what_they_should() {
    let rotator = rotator(None);
    for Case { name, file, public, others, left, old, options } in cases() {
        let current = values(&[(PRIVATE, "key"), (PUBLIC, &public), (AUTHORIZED, &file)]);
        let made = rotator.make(&current, &Sequence::from(9)).unwrap();
        let new = shown(&made, PUBLIC);
        let lines: Vec<String> = left.into_iter().chain(old).map(|old| format!("{OLD}\n{old}\n")).collect();
        let old = lines.concat();
        assert_eq!(shown(&made, AUTHORIZED), format!("{others}{old}{NEW}\n{options}{new}\n"), "{name}");
        let retired = rotator.retired(&made);
        assert_eq!(shown(&retired, AUTHORIZED), format!("{others}{options}{new}\n"), "{name}");
        assert_eq!((&retired[PRIVATE], &retired[PUBLIC]), (&made[PRIVATE], &made[PUBLIC]), "{name}");
        // That parser does not support quotes; the test of the login asks sshd's own.
        if options.is_empty() {
            let last = keys(shown(&made, AUTHORIZED)).pop().unwrap();
            assert_eq!(last.key_data(), PublicKey::from_openssh(new).unwrap().key_data(), "{name}");
        }
    }
}

#[test]
fn an_old_key_without_its_public_half_is_known_by_the_private_one() {
    let rotator = rotator(Some("deploy"));
    let mut current = rotator.retired(&rotator.make(&Values::new(), &Sequence::from(1)).unwrap());
    let old = shown(&current, PUBLIC).to_owned();
    current.remove(PUBLIC);
    let made = rotator.make(&current, &Sequence::from(2)).unwrap();
    assert_eq!(shown(&made, AUTHORIZED), format!("{OLD}\n{old}\n{NEW}\n{}\n", shown(&made, PUBLIC)));
}

#[test]
fn clients_keep_their_key_while_servers_learn_the_new_one() {
    let rotator = rotator(None);
    let current = values(&[(PRIVATE, "the old key"), (PUBLIC, &public(1)), (AUTHORIZED, "")]);
    let made = rotator.make(&current, &Sequence::from(2)).unwrap();
    let mut expected = current.clone();
    expected.insert(AUTHORIZED.to_owned(), made[AUTHORIZED].clone());
    assert_eq!(taught(&rotator, &current, &made), expected);
}

#[test]
fn what_cannot_work_is_refused_and_quotes_no_value() {
    for (at, name) in [("privateKey", PUBLIC), ("publicKey", AUTHORIZED), ("authorizedKeys", PRIVATE)] {
        let mut written = serde_json::to_value(SshKeyPairRotator::default()).unwrap();
        written["properties"][at] = name.into();
        let error = SshKeyPair::parse(&serde_json::from_value(written).unwrap()).unwrap_err().to_string();
        assert!(error.starts_with("spec.rotator.sshKeyPair.properties: ") && error.contains(name), "{error}");
    }
    let current = Values::from([(AUTHORIZED.to_owned(), SecretBytes::new(b"hunter2\xff".to_vec()))]);
    let error = rotator(None).make(&current, &Sequence::from(1)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "spec.rotator.sshKeyPair.properties.authorizedKeys: the stored property \"authorized_keys\" is no text; correct or remove it"
    );
}

#[test]
fn debug_shows_no_key() {
    let rotator = rotator(Some("deploy"));
    let made = rotator.make(&Values::new(), &Sequence::from(1)).unwrap();
    let text = format!("{rotator:?} {made:?}");
    let body = shown(&made, PRIVATE).lines().nth(1).unwrap();
    assert!(!text.contains(&body[..20]) && text.contains("[hidden]"), "{text}");
}

/// What a stored file may be: lines of others, markers, and keys of ours that are left.
fn file() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        (2_u64..6).prop_map(public),
        Just(public(1)),
        Just(OLD.to_owned()),
        Just(NEW.to_owned()),
        "# [a-z ]{0,10}",
        "[a-z =\",]{0,20}",
        (2_u64..6).prop_map(|seed| format!("restrict {}", public(seed))),
    ];
    (proptest::collection::vec(line, 0..12), any::<bool>())
        .prop_map(|(lines, newline)| lines.join("\n") + if newline { "\n" } else { "" })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_old_key_works_until_it_is_retired_and_no_longer(file in file(), seed in 100_u64..1000) {
        let rotator = rotator(None);
        let old = public(1);
        let current = values(&[(PRIVATE, "key"), (PUBLIC, &old), (AUTHORIZED, &file)]);
        let made = rotator.make(&current, &Sequence::from(seed)).unwrap();
        let applied = taught(&rotator, &current, &made);
        let retired = rotator.retired(&made);
        let lines = |values: &Values, key: &str| shown(values, AUTHORIZED).lines().filter(|line| line.contains(key)).count();
        let new = shown(&made, PUBLIC);
        for (values, has_old) in [(&applied, 1), (&made, 1), (&retired, 0)] {
            prop_assert_eq!((lines(values, &old), lines(values, new)), (has_old, 1));
            prop_assert!(shown(values, AUTHORIZED).lines().last().unwrap().ends_with(new));
        }
        prop_assert!(!shown(&retired, AUTHORIZED).contains(OLD) && !shown(&retired, AUTHORIZED).contains(NEW));

        // A repeated call gives the same result, whatever is stored by then.
        prop_assert_eq!(&taught(&rotator, &applied, &made), &applied);
        prop_assert_eq!(&rotator.retired(&retired), &retired);
        prop_assert_eq!(&rotator.make(&applied, &Sequence::from(seed)).unwrap(), &made);

        // A rotation from there on keeps the same keys of others.
        let next = rotator.retired(&rotator.make(&retired, &Sequence::from(seed + 1000)).unwrap());
        let others = |values: &Values| -> Vec<String> {
            let own = shown(values, PUBLIC);
            shown(values, AUTHORIZED).lines().filter(|line| !line.contains(own)).map(str::to_owned).collect()
        };
        prop_assert_eq!(others(&next), others(&retired));
    }
}
