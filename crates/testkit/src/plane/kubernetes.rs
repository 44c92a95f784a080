//! Which Kubernetes a plane and its node are.

use std::{ffi::OsString, fs};

use anyhow::{Context, Result, ensure};

use crate::{cache, checkout};

const VARIABLE: &str = "REKEY_KUBERNETES";
const PINNED: &str = "tests/e2e/controlplane";

/// A Kubernetes that the tests can run on. Its version is pinned in a file beside `build.sh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kubernetes {
    /// The newest that Rekey is tested with.
    Newest,
    /// The newest patch of the oldest minor that Rekey supports, two before the newest.
    Oldest,
}

impl Kubernetes {
    const ALL: [Self; 2] = [Self::Newest, Self::Oldest];

    /// The one that `$REKEY_KUBERNETES` names, `newest` or `oldest`; the newest when it is not set.
    ///
    /// # Errors
    /// When it names another one.
    pub fn asked() -> Result<Self> {
        Self::named(cache::variable(VARIABLE))
    }

    fn named(asked: Option<OsString>) -> Result<Self> {
        let Some(asked) = asked else {
            return Ok(Self::Newest);
        };
        let found = Self::ALL.into_iter().find(|kubernetes| asked == kubernetes.name());
        found.with_context(|| {
            let known = Self::ALL.map(Self::name).join(" or ");
            format!("{VARIABLE}={} is unknown: leave it out, or set it to {known}", asked.display())
        })
    }

    /// Its name for `$REKEY_KUBERNETES` and for `build.sh`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Oldest => "oldest",
        }
    }

    /// Its version, such as `v1.36.3`.
    ///
    /// # Errors
    /// When the file that pins it cannot be read or pins none.
    pub fn version(self) -> Result<String> {
        let file = match self {
            Self::Newest => "go.mod",
            Self::Oldest => "oldest.mod",
        };
        let path = checkout::repository().join(PINNED).join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let mut required = text.lines().filter_map(|line| line.trim().strip_prefix("k8s.io/kubernetes "));
        Ok(required.next().with_context(|| format!("{} pins no k8s.io/kubernetes", path.display()))?.to_owned())
    }

    /// Refuses a part of the cluster that runs in another version.
    pub(crate) fn check(self, part: &str, found: &str) -> Result<()> {
        let version = self.version()?;
        ensure!(found == version, "the {} Kubernetes is {version}, but this {part} is {found}", self.name());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_taken_unless_another_is_named() {
        assert_eq!(Kubernetes::named(None).unwrap(), Kubernetes::Newest);
        assert_eq!(Kubernetes::named(Some("newest".into())).unwrap(), Kubernetes::Newest);
        assert_eq!(Kubernetes::named(Some("oldest".into())).unwrap(), Kubernetes::Oldest);
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let refused = Kubernetes::named(Some("1.34".into())).unwrap_err().to_string();
        assert_eq!(refused, "REKEY_KUBERNETES=1.34 is unknown: leave it out, or set it to newest or oldest");
    }

    #[test]
    fn a_part_of_another_version_is_refused() {
        let (newest, oldest) = (Kubernetes::Newest.version().unwrap(), Kubernetes::Oldest.version().unwrap());
        Kubernetes::Oldest.check("kubelet", &oldest).unwrap();
        let refused = Kubernetes::Oldest.check("kubelet", &newest).unwrap_err().to_string();
        assert_eq!(refused, format!("the oldest Kubernetes is {oldest}, but this kubelet is {newest}"));
    }

    /// Kubernetes supports three minors.
    #[test]
    fn the_oldest_is_two_minors_before_the_newest_and_the_first_that_the_chart_takes() {
        let minor = |kubernetes: Kubernetes| -> u32 {
            let version = kubernetes.version().unwrap();
            version.split('.').nth(1).unwrap().parse().unwrap()
        };
        assert_eq!(minor(Kubernetes::Oldest) + 2, minor(Kubernetes::Newest));
        let chart = fs::read_to_string(checkout::repository().join("deploy/chart/rekey/Chart.yaml")).unwrap();
        let taken = format!("\nkubeVersion: \">=1.{}.0-0\"\n", minor(Kubernetes::Oldest));
        assert!(chart.contains(&taken), "no {taken:?} in:\n{chart}");
    }
}
