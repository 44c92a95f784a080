//! Bounds of the schema that writers of status and readers of spec share: a longer list or text is refused by the API server.

/// Longest object name, secret key, DNS name.
pub const NAME: u32 = 253;
/// Longest remote key, path or address.
pub const REMOTE_KEY: u32 = 2048;
/// Longest free text in status.
pub const MESSAGE: u32 = 1024;
/// Longest token, revision, version or id in status.
pub const TOKEN: u32 = 256;
/// Entries of `spec.source.remote.data`, and of the versions in status.
pub const FIELDS: u32 = 256;
/// Workloads named in `spec.rollout.consumers`.
pub const NAMED_CONSUMERS: u32 = 20;
/// Consumers listed in status; the counts cover all of them.
pub const STATUS_CONSUMERS: u32 = 100;
/// Entries of a history in status.
pub const STATUS_HISTORY: u32 = 20;
/// Retired revisions remembered in status.
pub const DEAD_REVISIONS: u32 = 20;
/// Steps recorded per rotation in status.
pub const ROTATION_STEPS: u32 = 20;
/// Properties that a rotation makes values for.
pub const PROPERTIES: u32 = 64;
/// Endpoints of a rotator.
pub const ENDPOINTS: u32 = 16;
/// Windows of a rollout or schedule.
pub const WINDOWS: u32 = 16;
