//! How long a last known value may be served.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::duration::GoDuration;

/// The word for no limit.
const UNLIMITED: &str = "Unlimited";

/// A length of time, or the word `Unlimited`. Default 24h.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MaxStaleness {
    /// At most this long.
    For(GoDuration),
    /// Without end.
    Unlimited,
}

impl Default for MaxStaleness {
    fn default() -> Self {
        Self::For(GoDuration::hours(24))
    }
}

impl Serialize for MaxStaleness {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::For(duration) => duration.serialize(serializer),
            Self::Unlimited => serializer.serialize_str(UNLIMITED),
        }
    }
}

impl<'de> Deserialize<'de> for MaxStaleness {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        if text == UNLIMITED {
            return Ok(Self::Unlimited);
        }
        text.parse().map(Self::For).map_err(de::Error::custom)
    }
}

impl JsonSchema for MaxStaleness {
    fn schema_name() -> Cow<'static, str> {
        "MaxStaleness".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 32,
            "pattern": r"^(Unlimited|([0-9]{1,9}(\.[0-9]{1,9})?(h|m|s|ms))+)$",
            "x-kubernetes-validations": [{
                "rule": "self == 'Unlimited' || duration(self) >= duration('1s')",
                "message": "write Unlimited, or a duration of at least 1s, for example 30m or 24h",
            }],
        })
    }
}
