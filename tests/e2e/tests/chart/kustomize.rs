//! The kustomize bases, built by kubectl in the way of their users.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use rekey_e2e::shipped;
use rekey_testkit::{checkout::repository, python};
use serde_json::Value;

/// What an overlay makes: a kustomization in a directory outside of this one.
fn built(kustomization: &str) -> Result<Vec<Value>> {
    let place = tempfile::tempdir()?;
    // From the directory of the overlay up to the root, and down into this one: kustomize takes no absolute paths.
    let up = "../".repeat(place.path().components().count() - 1);
    let deploy = repository().canonicalize()?.join("deploy/kustomize");
    let here = format!("{up}{}", deploy.strip_prefix("/")?.display());
    fs::write(place.path().join("kustomization.yaml"), kustomization.replace("HERE", &here))?;
    build(place.path())
}

fn build(place: &Path) -> Result<Vec<Value>> {
    let output = Command::new(python::tools()?.kubectl).arg("kustomize").arg(place).output().context("run kubectl")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    shipped::every_document(&String::from_utf8(output.stdout)?)
}

/// Objects in an order that does not depend on their source.
fn sorted(mut objects: Vec<Value>) -> Vec<Value> {
    objects.sort_by_key(|object| {
        format!("{} {} {}", object["kind"], object["metadata"]["namespace"], object["metadata"]["name"])
    });
    objects
}

/// The base with an image is the install file with that image.
pub fn kustomize_makes_what_the_install_file_holds() -> Result<()> {
    let overlay = "resources: [HERE/base]\nimages:\n- name: registry.example.com/rekey\n  newName: ghcr.io/you/rekey\n  newTag: 1.2.3\n";
    let expected =
        shipped::file("install.yaml")?.replace("registry.example.com/rekey:0.1.0", "ghcr.io/you/rekey:1.2.3");
    let (found, expected) = (sorted(built(overlay)?), sorted(shipped::every_document(&expected)?));
    ensure!(found.len() == expected.len(), "{} objects, the install file has {}", found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        ensure!(found == expected, "kustomize: {found}\nthe install file: {expected}");
    }
    Ok(())
}

/// Each component opens the namespace of the kustomization that names it, and no other one.
pub fn a_component_opens_the_namespace_that_names_it() -> Result<()> {
    for (component, (name, role)) in
        ["namespace", "namespace-rollouts", "namespace-gateways"].into_iter().zip(shipped::NAMESPACE_ROLES)
    {
        let made = built(&format!("namespace: orders\ncomponents: [HERE/{component}]\n"))?;
        let [binding] = made.as_slice() else { anyhow::bail!("{component} makes {} objects", made.len()) };
        let expected = shipped::binding("orders", (name, role));
        for part in ["/kind", "/roleRef", "/subjects", "/metadata/name", "/metadata/namespace"] {
            ensure!(binding.pointer(part) == expected.pointer(part), "{component}: {part} of {binding}");
        }
    }
    Ok(())
}
