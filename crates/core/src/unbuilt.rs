//! Parts of the API that this version does not support. Rekey refuses them by name and never ignores them. Their
//! descriptions in the CRDs say so: a test compares the two.

use crate::SpecError;

/// One such part of the spec `T`.
pub struct Unbuilt<T> {
    /// The field, with its path as `kubectl explain` takes it: `spec.rollout.onFailure`.
    pub field: &'static str,
    /// The part of it.
    pub part: Part,
    /// What to write instead.
    pub instead: &'static str,
    /// Whether a spec asks for it.
    pub asks: fn(&T) -> bool,
}

/// The unsupported part of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// One way to use it.
    Use(&'static str),
}

impl<T> Unbuilt<T> {
    /// The field as a whole.
    pub const fn field(field: &'static str, instead: &'static str, asks: fn(&T) -> bool) -> Self {
        Self { field, part: Part::Whole, instead, asks }
    }

    /// One way to use a field.
    pub const fn using(
        (field, way): (&'static str, &'static str),
        instead: &'static str,
        asks: fn(&T) -> bool,
    ) -> Self {
        Self { field, part: Part::Use(way), instead, asks }
    }

    /// The field and the part of it, as a refusal names them.
    pub fn name(&self) -> String {
        match self.part {
            Part::Whole => self.field.to_owned(),
            Part::Use(part) => format!("{}: {part}", self.field),
        }
    }
}

/// Refuses the first of `all` that the spec asks for.
pub fn refuse<T>(all: &[Unbuilt<T>], spec: &T) -> Result<(), SpecError> {
    match all.iter().find(|unbuilt| (unbuilt.asks)(spec)) {
        Some(unbuilt) => Err(SpecError::not_yet(&unbuilt.name(), unbuilt.instead)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rekey_api::{RotationSchedule, SecretPolicy, crds};
    use serde_json::{Value, json};

    use super::*;
    use crate::{policy::PolicySpec, rotation::ScheduleSpec};

    /// Fields that are refused, or one use of them.
    type Refused = BTreeSet<String>;

    fn refused<T>(all: &[Unbuilt<T>]) -> Refused {
        all.iter().map(|at| at.field.to_owned()).collect()
    }

    /// The unsupported parts that the descriptions of this kind name.
    fn described(kind: &str) -> Refused {
        fn walk(path: &str, schema: &Value, found: &mut Refused) {
            let text = schema["description"].as_str().unwrap_or_default();
            if text.contains("Not supported yet") {
                found.insert(path.to_owned());
            }
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                walk(&format!("{path}.{name}"), property, found);
            }
            for below in
                ["items", "additionalProperties"].map(|below| &schema[below]).into_iter().filter(|at| at.is_object())
            {
                walk(path, below, found);
            }
        }
        let crd = crds::all().into_iter().find(|crd| crd.spec.names.kind == kind).unwrap();
        let schema = crd.spec.versions[0].schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
        let schema = serde_json::to_value(schema).unwrap();
        let mut found = Refused::new();
        walk("spec", &schema["properties"]["spec"], &mut found);
        found
    }

    #[test]
    fn what_is_refused_says_so_in_its_description_and_nothing_else_does() {
        let mut policies = refused(&crate::policy::UNBUILT);
        // An engine's answer shows whether it has a lease.
        policies.insert("spec.source.vaultEngine.path".to_owned());
        assert_eq!(described("SecretPolicy"), policies);
        let mut schedules = refused(&crate::rotation::UNBUILT);
        schedules.extend(refused(&crate::rotation::ALPHA));
        assert_eq!(described("RotationSchedule"), schedules);
        for kind in ["RemoteStore", "ClusterRemoteStore"] {
            assert_eq!(described(kind), Refused::new(), "{kind}");
        }
    }

    fn names<T>(all: &[Unbuilt<T>]) -> BTreeSet<String> {
        all.iter().map(Unbuilt::name).collect()
    }

    fn said(error: &SpecError) -> String {
        let SpecError::NotSupportedYet { field, .. } = error else { panic!("{error}") };
        field.clone()
    }

    #[test]
    fn every_refusal_of_a_policy_is_made() {
        let asking =
            [json!({"immutability": "Versioned", "versions": {"references": "Publish"}, "source": {"remote": {
                "storeRef": {"name": "s"}, "onMissing": "Delete"}}})];
        let refusal = |more: &Value| {
            let mut spec = json!({"source": {"existing": {}}});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let object =
                json!({"apiVersion": "rekey.dev/v1alpha1", "kind": "SecretPolicy", "metadata": {}, "spec": spec});
            said(&PolicySpec::try_from(&serde_json::from_value::<SecretPolicy>(object).unwrap()).unwrap_err())
        };
        assert_eq!(asking.iter().map(refusal).collect::<BTreeSet<_>>(), names(&crate::policy::UNBUILT));
    }

    #[test]
    fn every_refusal_of_a_schedule_is_made() {
        let fields = json!({"fields": [{"property": "p", "password": {}}]});
        let rotator = |name: &str, value: Value| json!({"rotator": {name: value}});
        let (secret, keys) = (json!({"name": "s"}), json!({"accessKeyId": "i", "secretAccessKey": "s"}));
        let users = json!({"alternating": {"first": "a", "second": "b", "owner": "o"}});
        let sql = json!({"host": "h", "database": "d", "adminSecretRef": secret, "users": users});
        let mut single = sql.clone();
        single["users"] = json!({"single": {"name": "u"}});
        let asking = [
            rotator("generate", json!({})),
            rotator("postgres", single),
            rotator("mysql", sql),
            rotator("redis", json!({"host": "h", "adminSecretRef": secret, "user": "u"})),
            rotator("certificate", json!({"issuer": {"ca": {"secretRef": secret}}, "duration": "24h"})),
            rotator("awsAccessKey", json!({"storeRef": secret, "userName": "u", "properties": keys})),
            rotator("awsRotation", json!({"mode": "Request"})),
            rotator("vaultStaticRole", json!({"role": "r", "mode": "Request"})),
            rotator("job", json!({"cronJobRef": secret})),
            rotator("webhook", json!({"url": "https://w", "hmac": {"secretRef": {"name": "s", "key": "k"}}})),
            json!({"schedule": {"renewBefore": "24h"}}),
        ];
        let refusal = |more: &Value| {
            let mut spec = json!({"policyRef": {"name": "db"}, "rotator": {"generate": fields}});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let object =
                json!({"apiVersion": "rekey.dev/v1alpha1", "kind": "RotationSchedule", "metadata": {}, "spec": spec});
            said(&ScheduleSpec::try_from(&serde_json::from_value::<RotationSchedule>(object).unwrap()).unwrap_err())
        };
        assert_eq!(asking.iter().map(refusal).collect::<BTreeSet<_>>(), names(&crate::rotation::UNBUILT));
    }
}
