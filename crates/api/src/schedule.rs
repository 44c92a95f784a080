//! Points and spans of time that recur.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::duration::GoDuration;
use crate::field;

/// A span of time that recurs and in which changes are allowed to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// When the window opens: five cron fields (minute, hour, day of month, month, day of week), for example `0 2 * * *`.
    #[schemars(schema_with = "field::cron")]
    pub cron: String,
    /// How long it stays open, for example `2h`.
    #[x_kube(validation = Rule::new("duration(self) <= duration('168h')").message("window.duration: write at most 168h"))]
    pub duration: GoDuration,
    /// Time zone of `cron`, a name such as `Europe/Berlin`. Default `UTC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::time_zone")]
    pub time_zone: Option<String>,
}

/// The time zone when none is named.
#[must_use]
pub fn utc() -> String {
    "UTC".to_owned()
}
