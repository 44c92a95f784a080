//! Shapes of fields that more than one kind uses: what a name, a key, an address may look like.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::bounds;

/// A name of an object: DNS-1123 subdomain.
pub(crate) const OBJECT_NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// A name of a namespace: DNS-1123 label.
pub(crate) const NAMESPACE_NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// A key of a Secret or `ConfigMap`.
pub(crate) const DATA_KEY: &str = r"^[-._a-zA-Z0-9]+$";
/// A value of a label.
pub(crate) const LABEL_VALUE: &str = "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$";
/// A name of a database, role or user.
const SQL_NAME: &str = r"^[a-z_][a-z0-9_]{0,62}$";
/// A DNS name or an IP address.
const HOST: &str = r"^([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*)$";
/// An http or https address without user information, query or fragment.
const URL: &str =
    r"^https?://([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[-A-Za-z0-9._~%/]*)?$";
/// A path inside Vault or a mount, without a leading slash.
const VAULT_PATH: &str = r"^[^/\s]([^\s]*[^/\s])?$";
/// Five fields, or a nickname.
const CRON: &str =
    r"^(@(hourly|daily|midnight|weekly|monthly|yearly|annually)|[-0-9A-Za-z*/,#?]+( +[-0-9A-Za-z*/,#?]+){4})$";
/// A name of the IANA time zone database.
const TIME_ZONE: &str = r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}$";

fn text(max: u32, pattern: &str) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": max, "pattern": pattern})
}

pub(crate) fn object_name(_: &mut SchemaGenerator) -> Schema {
    text(bounds::NAME, OBJECT_NAME)
}

pub(crate) fn data_key(_: &mut SchemaGenerator) -> Schema {
    text(bounds::NAME, DATA_KEY)
}

/// A key of a Secret, or the name of a label or annotation.
pub(crate) fn templated_name(_: &mut SchemaGenerator) -> Schema {
    text(317, r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[-._a-zA-Z0-9]+$")
}

pub(crate) fn sql_name(_: &mut SchemaGenerator) -> Schema {
    text(63, SQL_NAME)
}

/// `MySQL` allows 32 characters in a user name.
pub(crate) fn mysql_user(_: &mut SchemaGenerator) -> Schema {
    text(32, SQL_NAME)
}

pub(crate) fn host(_: &mut SchemaGenerator) -> Schema {
    text(bounds::NAME, HOST)
}

pub(crate) fn url(_: &mut SchemaGenerator) -> Schema {
    text(bounds::REMOTE_KEY, URL)
}

pub(crate) fn vault_path(_: &mut SchemaGenerator) -> Schema {
    text(1024, VAULT_PATH)
}

pub(crate) fn cron(_: &mut SchemaGenerator) -> Schema {
    text(128, CRON)
}

pub(crate) fn time_zone(_: &mut SchemaGenerator) -> Schema {
    text(64, TIME_ZONE)
}

/// A key, path or name in a store: anything but nothing.
pub(crate) fn remote_key(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": bounds::REMOTE_KEY})
}

/// A property of a stored value, or a name that a provider chooses.
pub(crate) fn property(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": 253})
}

/// A `JMESPath` or regular expression.
pub(crate) fn expression(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": 1024})
}

/// A certificate bundle, as base64 of PEM.
pub(crate) fn ca_bundle(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "byte", "minLength": 1, "maxLength": 131_072})
}

pub(crate) fn port(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int32", "minimum": 1, "maximum": 65535})
}

/// Text that people read in status.
pub(crate) fn message(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "maxLength": bounds::MESSAGE})
}

/// A short name in status: a token, a revision, a version, an id.
pub(crate) fn token(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "maxLength": bounds::TOKEN})
}

/// A count in status.
pub(crate) fn count(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int32", "minimum": 0, "maximum": i32::MAX})
}

/// The generation of a spec that status speaks of; -1 on an object that nobody has looked at.
pub(crate) fn generation(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int64", "minimum": -1})
}

/// A time that may lie in the future: a string, since kubectl prints future dates as `<invalid>`.
pub(crate) fn future_time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "maxLength": 40})
}

fn map(max: u32, value: &Value, rules: &Value) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": max,
        "additionalProperties": value,
        "x-kubernetes-validations": rules,
    })
}

/// Labels for a Secret; ours and those of the control plane are refused.
pub(crate) fn secret_labels(_: &mut SchemaGenerator) -> Schema {
    map(
        64,
        &json!({"type": "string", "maxLength": 1024}),
        &json!([
            {
                "rule": "self.all(key, !key.startsWith('rekey.dev/') && key != 'app.kubernetes.io/managed-by')",
                "message": "template.metadata.labels: remove the labels under rekey.dev/ and app.kubernetes.io/managed-by; the operator sets them",
            },
            {
                "rule": format!("self.all(key, self[key].contains('{{{{') || (self[key].size() <= 63 && self[key].matches('{LABEL_VALUE}')))"),
                "message": "template.metadata.labels: a value has at most 63 letters, digits, '-', '_' and '.', and neither begins nor ends with one of the last three",
            },
        ]),
    )
}

/// Annotations for a Secret; ours and those of the control plane are refused.
pub(crate) fn secret_annotations(_: &mut SchemaGenerator) -> Schema {
    map(
        64,
        &json!({"type": "string", "maxLength": 16384}),
        &json!([
            {
                "rule": "self.all(key, !key.startsWith('kubernetes.io/') && !key.contains('.kubernetes.io/'))",
                "message": "template.metadata.annotations: remove the annotations under kubernetes.io/; the control plane acts on them",
            },
            {
                "rule": "self.all(key, !key.startsWith('rekey.dev/'))",
                "message": "template.metadata.annotations: remove the annotations under rekey.dev/; the operator sets them, and consent is for whoever owns the Secret to give",
            },
        ]),
    )
}

/// Templates by key of the Secret.
pub(crate) fn template_data(_: &mut SchemaGenerator) -> Schema {
    map(
        256,
        &json!({"type": "string", "maxLength": 65536}),
        &json!([{
            "rule": format!("self.all(key, key.size() <= 253 && key.matches('{DATA_KEY}'))"),
            "message": "template.data: a key has at most 253 letters, digits, '-', '_' and '.'",
        }]),
    )
}

/// Tags of a store.
pub(crate) fn tags(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "minProperties": 1,
        "maxProperties": 50,
        "additionalProperties": {"type": "string", "maxLength": 256},
    })
}

/// Parameters of a request to a Vault engine.
pub(crate) fn parameters(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {"type": "string", "maxLength": 4096},
    })
}

/// A label selector in the standard form, bounded.
pub(crate) fn label_selector(_: &mut SchemaGenerator) -> Schema {
    let value = json!({"type": "string", "maxLength": 63});
    json_schema!({
        "type": "object",
        "properties": {
            "matchLabels": {
                "description": "Labels the namespace must carry, all of them.",
                "type": "object",
                "maxProperties": 16,
                "additionalProperties": value,
            },
            "matchExpressions": {
                "description": "Requirements on the namespace's labels, all of them.",
                "type": "array",
                "maxItems": 16,
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {"description": "The label's key.", "type": "string", "minLength": 1, "maxLength": 317},
                        "operator": {
                            "description": "In, NotIn, Exists or DoesNotExist.",
                            "type": "string",
                            "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                        },
                        "values": {
                            "description": "Values for In and NotIn.",
                            "type": "array",
                            "maxItems": 64,
                            "x-kubernetes-list-type": "atomic",
                            "items": value,
                        },
                    },
                },
            },
        },
        "x-kubernetes-map-type": "atomic",
    })
}

/// Conditions with the markers of the Go type: bounds, patterns, and `type` as the key of the list.
pub(crate) fn conditions(generator: &mut SchemaGenerator) -> Schema {
    let mut condition = generator.subschema_for::<Condition>().to_value();
    let markers = json!({
        "type": {
            "maxLength": 316,
            "pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
        },
        "status": {"enum": ["True", "False", "Unknown"]},
        "reason": {"minLength": 1, "maxLength": 1024, "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"},
        "message": {"maxLength": 32768},
        "observedGeneration": {"minimum": 0},
    });
    if let (Some(properties), Some(markers)) = (condition["properties"].as_object_mut(), markers.as_object()) {
        for (name, marker) in markers {
            if let (Some(property), Some(marker)) =
                (properties.get_mut(name).and_then(Value::as_object_mut), marker.as_object())
            {
                property.extend(marker.clone());
            }
        }
    }
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "items": condition,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    })
}
