//! `kubernetes.io/dockercfg` and `kubernetes.io/dockerconfigjson`: credentials for registries.

use std::collections::BTreeMap;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use serde_json::{Map, Value};

use super::{Wrong, needed};
use crate::SecretBytes;

pub fn check(data: &BTreeMap<String, SecretBytes>, key: &'static str, has_auths: bool) -> Result<(), Wrong> {
    let shape = if has_auths { r#"{"auths": {"registry": {…}}}"# } else { r#"{"registry": {…}}"# };
    let shape = format!("it must be a JSON object of the form {shape}");
    let value = needed(data, key, &shape)?;
    let config: Map<String, Value> = serde_json::from_slice(value).map_err(|_| (key, shape.clone()))?;
    let registries = match config.get("auths") {
        _ if !has_auths => &config,
        Some(Value::Object(auths)) => auths,
        Some(_) | None => return Err((key, shape)),
    };
    for (registry, entry) in registries {
        let Value::Object(entry) = entry else {
            return Err((key, format!("the entry of {registry:?} must be a JSON object")));
        };
        self::entry(entry).map_err(|fix| (key, format!("the entry of {registry:?}: {fix}")))?;
    }
    Ok(())
}

/// Other members depend on the client; all clients read these.
fn entry(entry: &Map<String, Value>) -> Result<(), String> {
    for name in ["auth", "username", "password", "email", "identitytoken", "registrytoken"] {
        if entry.get(name).is_some_and(|member| !member.is_string()) {
            return Err(format!("{name:?} must be a string"));
        }
    }
    match entry.get("auth").and_then(Value::as_str) {
        None | Some("") => Ok(()),
        Some(text) => {
            let pair = STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).map(SecretBytes::new);
            match pair {
                Ok(pair) if pair.expose().contains(&b':') => Ok(()),
                Ok(_) | Err(_) => Err("\"auth\" must be base64 of `user:password`".to_owned()),
            }
        }
    }
}
