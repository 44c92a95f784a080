//! Cuts a status to the bounds of its schema: for one text that is too long, the API server refuses the whole status,
//! and with it the step of a rotation. One place does this for all texts, so that none is forgotten.

use std::collections::BTreeSet;

use kube::{Resource, core::object::HasStatus};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Number, Value};

use super::{Identity, Node, Span, schemas};
use crate::summary::clip;

/// The status within its bounds; `None` if it is within them already.
#[must_use]
pub fn fit<K>(status: &K::Status) -> Option<K::Status>
where
    K: Resource<DynamicType = ()> + HasStatus,
    K::Status: Serialize + DeserializeOwned,
{
    let schema = &schemas(K::kind(&()).as_ref())?.status;
    let mut value = serde_json::to_value(status).ok()?;
    if !schema.fit(&mut value) {
        return None;
    }
    serde_json::from_value(value).ok()
}

impl Node {
    /// Cuts what is out of bounds; returns whether anything was.
    fn fit(&self, value: &mut Value) -> bool {
        match value {
            Value::String(text) => self.fit_text(text),
            Value::Number(number) => self.number.fit(number),
            Value::Array(items) => self.fit_list(items),
            Value::Object(members) => {
                let schema = |name: &str| self.members.get(name).or(self.each.as_deref());
                members
                    .iter_mut()
                    .fold(false, |cut, (name, member)| schema(name).is_some_and(|at| at.fit(member)) | cut)
            }
            Value::Null | Value::Bool(_) => false,
        }
    }

    fn fit_text(&self, text: &mut String) -> bool {
        let Some(most) = self.length.most.and_then(|most| u32::try_from(most).ok()) else { return false };
        let cut = match &self.pattern {
            None => clip(text, most),
            // A mark would not fit the pattern.
            Some(_) => text.chars().take(usize::try_from(most).unwrap_or(usize::MAX)).collect(),
        };
        let is_cut = cut != *text;
        *text = cut;
        is_cut
    }

    /// The most important entries come first.
    fn fit_list(&self, items: &mut Vec<Value>) -> bool {
        let before = items.len();
        let mut cut = self.each.as_ref().is_some_and(|each| items.iter_mut().fold(false, |cut, at| each.fit(at) | cut));
        if !matches!(self.identity, Identity::None) {
            let mut known = BTreeSet::new();
            items.retain(|item| self.identity.of(item).is_none_or(|identity| known.insert(identity)));
        }
        items.truncate(self.entries.most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX));
        cut |= items.len() != before;
        cut
    }
}

impl Span {
    fn fit(self, number: &mut Number) -> bool {
        let Some(is) = number.as_i64().or_else(|| number.as_u64().map(|_| i64::MAX)) else { return false };
        let fitting = is.max(self.least.unwrap_or(i64::MIN)).min(self.most.unwrap_or(i64::MAX));
        let is_cut = number.as_i64() != Some(fitting);
        *number = fitting.into();
        is_cut
    }
}

#[cfg(test)]
mod tests {
    use std::{fmt::Debug, sync::LazyLock};

    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
    use proptest::prelude::*;
    use rekey_api::{ClusterRemoteStore, RemoteStore, RotationSchedule, SecretPolicy, crds};
    use serde_json::{Map, json};

    use super::*;
    use crate::bounds::Patterns;

    /// Made once: it takes longer than all else.
    static CRDS: LazyLock<Vec<CustomResourceDefinition>> = LazyLock::new(crds::all);

    /// Numbers from a seed.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, most: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(self.0 >> 33).unwrap() % most
        }
    }

    /// A value of the schema's types that keeps to none of its bounds.
    fn boundless(schema: &Value, dice: &mut Dice) -> Value {
        value(schema, dice, true)
    }

    /// `long`: texts may be too long. Not in each of hundreds of entries.
    fn value(schema: &Value, dice: &mut Dice, long: bool) -> Value {
        let most = |name: &str| schema[name].as_u64().unwrap_or(4);
        match schema["type"].as_str().unwrap_or_default() {
            "string" if schema["format"] == "date-time" => json!("2026-11-21T02:00:00Z"),
            "string" => match schema["enum"].as_array() {
                Some(choices) => choices[dice.below(choices.len())].clone(),
                None if !long => json!(format!("a{}", dice.below(100_000))),
                None => {
                    let letters: &[&str] =
                        if schema["pattern"].is_string() { &["a"] } else { &["a", "ä", "\u{1f512}"] };
                    let length = [1, 1, 1, 1, 1, 1, most("maxLength"), most("maxLength") + 1][dice.below(8)];
                    json!(letters[dice.below(letters.len())].repeat(usize::try_from(length).unwrap()))
                }
            },
            "integer" if schema["format"] == "int64" => json!([-4, -1, 0, 1, i64::MAX][dice.below(5)]),
            "integer" => json!([0, 1, u32::MAX / 2, u32::MAX][dice.below(4)]),
            "boolean" => json!(dice.below(2) == 0),
            "array" => {
                let length = [0, 1, 2, most("maxItems"), most("maxItems") + 1][dice.below(5)];
                (0..length).map(|index| value(&schema["items"], dice, long && index < 2)).collect()
            }
            "object" => {
                let members = schema["properties"].as_object().into_iter().flatten();
                Value::Object(members.map(|(name, at)| (name.clone(), value(at, dice, long))).collect::<Map<_, _>>())
            }
            other => panic!("a status with a {other}: {schema}"),
        }
    }

    fn fits<K>(seed: u64) -> Result<(), TestCaseError>
    where
        K: Resource<DynamicType = ()> + HasStatus,
        K::Status: Serialize + DeserializeOwned + PartialEq + Debug,
    {
        let kind = K::kind(&());
        let crd = CRDS.iter().find(|crd| crd.spec.names.kind == kind).unwrap();
        let whole = crd.spec.versions[0].schema.clone().unwrap().open_api_v3_schema.unwrap();
        let schema = serde_json::to_value(&whole.properties.unwrap()["status"]).unwrap();
        let status: K::Status = serde_json::from_value(boundless(&schema, &mut Dice(seed))).unwrap();
        let checked = Node::read(&schema, &mut Patterns::default());
        let check = |status: &K::Status| checked.check("status", &serde_json::to_value(status).unwrap());
        let fitting = fit::<K>(&status);
        prop_assert_eq!(fitting.is_none(), check(&status).is_ok(), "what fits stays as it is");
        let written = fitting.unwrap_or(status);
        prop_assert_eq!(check(&written), Ok(()));
        prop_assert_eq!(fit::<K>(&written), None, "cut once, it stays");
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn every_status_fits_its_schema(seed: u64) {
            fits::<SecretPolicy>(seed)?;
            fits::<RotationSchedule>(seed)?;
            fits::<RemoteStore>(seed)?;
            fits::<ClusterRemoteStore>(seed)?;
        }
    }
}
