//! Members of an object and items of a list, without keeping the others: a value may have hundreds of thousands of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{
    Deserializer as _,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Deserializer, value::RawValue};

/// The members of an object with one of these names, of equal ones the last. `None` when it is no object.
pub fn named<'v, 'n>(json: &'v str, names: &BTreeSet<&'n str>) -> Option<BTreeMap<&'n str, &'v RawValue>> {
    let mut deserializer = Deserializer::from_str(json);
    let members = deserializer.deserialize_map(Named(names)).ok()?;
    deserializer.end().ok()?;
    Some(members)
}

/// Members of an object.
pub struct Members<'v> {
    /// As many as asked for; of equal names the last.
    pub first: BTreeMap<String, &'v RawValue>,
    /// How many there are beside these.
    pub more: usize,
}

/// The members of an object, `most` of them at most. `None` when it is no object.
pub fn all(json: &str, most: usize) -> Option<Members<'_>> {
    let mut deserializer = Deserializer::from_str(json);
    let members = deserializer.deserialize_map(All(most)).ok()?;
    deserializer.end().ok()?;
    Some(members)
}

/// An item of a list. `None` when it is no list, or has no such item.
pub fn item(json: &str, index: usize) -> Option<&RawValue> {
    let mut deserializer = Deserializer::from_str(json);
    let item = deserializer.deserialize_seq(Item(index)).ok()?;
    deserializer.end().ok()?;
    item
}

struct Named<'a, 'n>(&'a BTreeSet<&'n str>);

impl<'v, 'n> Visitor<'v> for Named<'_, 'n> {
    type Value = BTreeMap<&'n str, &'v RawValue>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'v>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if let Some(name) = self.0.get(name.as_str()) {
                members.insert(*name, map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(members)
    }
}

struct All(usize);

impl<'v> Visitor<'v> for All {
    type Value = Members<'v>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'v>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Members { first: BTreeMap::new(), more: 0 };
        while let Some(name) = map.next_key::<String>()? {
            if members.first.len() < self.0 || members.first.contains_key(&name) {
                members.first.insert(name, map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
                members.more += 1;
            }
        }
        Ok(members)
    }
}

struct Item(usize);

impl<'v> Visitor<'v> for Item {
    type Value = Option<&'v RawValue>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'v>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        for _ in 0..self.0 {
            if list.next_element::<IgnoredAny>()?.is_none() {
                return Ok(None);
            }
        }
        let item = list.next_element()?;
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(item)
    }
}
