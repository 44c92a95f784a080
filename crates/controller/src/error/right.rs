//! Rights of the operator, and what messages say where one is missing.

use std::fmt;

use rekey_api::names::ROLE_NAMESPACE;

/// What the operator needs to do with a kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    /// As the API server names it.
    pub verb: &'static str,
    /// The group of the kind; empty: that of Kubernetes' core.
    pub group: &'static str,
    /// The kind, as paths of the API name it.
    pub resource: &'static str,
}

impl Right {
    /// Where this one is missing, the namespace is not opened. Where it is there and another one is missing, another
    /// role than ours is bound.
    pub const FIRST: Self = Self { verb: "watch", group: "", resource: "secrets" };
}

/// As `kubectl` names kinds: `list deployments.apps`.
impl fmt::Display for Right {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.verb, self.resource)?;
        if self.group.is_empty() { Ok(()) } else { write!(formatter, ".{}", self.group) }
    }
}

/// What messages say of a namespace that is closed to the operator. Where the bound role lacks something, the command
/// gives the new binding another name than `rekey`, which is mostly taken there.
pub(super) fn not_opened(namespace: &str, account: &str, missing: Option<Right>) -> String {
    let (why, fix, name) = match missing.filter(|right| *right != Right::FIRST) {
        None => (String::new(), String::new(), "rekey"),
        Some(right) => (
            format!(": the right to {right} is missing"),
            format!("add it to the role that is bound, or bind {ROLE_NAMESPACE} as well: "),
            ROLE_NAMESPACE,
        ),
    };
    format!(
        "namespace {namespace:?} is not opened for Rekey{why}; {fix}run `kubectl create rolebinding {name} -n \
         {namespace} --clusterrole={ROLE_NAMESPACE} {account}`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_closed_namespace_names_the_right_and_the_command() {
        let said = |missing| not_opened("shop", "--serviceaccount=rekey-system:rekey", missing);
        let plain = "namespace \"shop\" is not opened for Rekey; run `kubectl create rolebinding rekey -n shop \
                     --clusterrole=rekey-namespace --serviceaccount=rekey-system:rekey`";
        assert_eq!((said(None).as_str(), said(Some(Right::FIRST)).as_str()), (plain, plain));
        let right = Right { verb: "list", group: "apps", resource: "deployments" };
        assert_eq!(
            said(Some(right)),
            "namespace \"shop\" is not opened for Rekey: the right to list deployments.apps is missing; add it to the \
             role that is bound, or bind rekey-namespace as well: run `kubectl create rolebinding rekey-namespace -n \
             shop --clusterrole=rekey-namespace --serviceaccount=rekey-system:rekey`"
        );
    }
}
