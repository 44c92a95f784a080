//! Templates that were made to overflow the stack, to fill the memory and to take the processor.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Result, ensure};
use rekey_e2e::{Scene, World, vigil::Vigil};
use serde_json::{Value, json};

/// A policy with these templates on one value.
async fn policy(scene: &Scene, name: &str, templates: &BTreeMap<String, String>) -> Result<()> {
    let key = scene.key("db");
    let more = json!({"target": {"template": {"data": templates}}});
    scene.policy(name, "vault", &[("password", &key, "password")], more).await
}

fn many(count: usize, template: &str) -> BTreeMap<String, String> {
    (0..count).map(|position| (format!("t{position:03}"), template.to_owned())).collect()
}

/// A namespace with a value, for an attack.
async fn scene(world: &Arc<World>, name: &str) -> Result<Scene> {
    let scene = Scene::new(world, name).await?;
    world.bao.put(&scene.key("db"), &json!({"password": "one"})).await?;
    Ok(scene)
}

/// A chain of links, each one level of a parser that calls itself: 15 KB that once ended the process at each start,
/// also where the operator has no rights. It is no nesting, and renders; nested blocks are refused.
pub async fn a_chain_of_else_if_is_refused_in_opened_and_closed_namespaces(world: Arc<World>) -> Result<()> {
    let closed = Scene::closed(&world, "chain-closed").await?;
    let opened = scene(&world, "chain-opened").await?;
    let chained = format!("{{{{if \"\"}}}}{}{{{{else}}}}end{{{{end}}}}", "{{else if not \"{{end\"}}".repeat(1_100));
    let nested = format!("{}{}", "{{if \"{{end\"}}".repeat(1_100), "{{end}}".repeat(1_100));
    let template = many(1, &nested);
    let mut vigil = Vigil::start(&world, "chain", &[&closed, &opened], &[]).await?;
    vigil
        .during(async {
            for scene in [&closed, &opened] {
                policy(scene, "chain", &template).await?;
            }
            // In a closed namespace nothing is parsed.
            closed.wait_policy("chain", "Stalled=True/NamespaceNotOpened").await?;
            policy(&opened, "links", &many(1, &chained)).await?;
            opened.wait_data("links", &[("t000", "end")]).await?;
            let text = opened.wait_policy("chain", "Stalled=True/TemplateError").await?;
            ensure!(text.contains("nested more than 100 levels deep"), "{text}");
            // After an edit the operator checks it again.
            let fixed: Value = json!({"spec": {"target": {"template": {"data": many(1, "{{ .password }}")}}}});
            rekey_e2e::kubectl::kubectl(
                &world,
                &["patch", "secretpolicy", "chain", "-n", &opened.namespace, "--type=merge", "-p", &fixed.to_string()],
            )
            .await?;
            opened.wait_data("chain", &[("t000", "one")]).await
        })
        .await
}

/// Each template is small; what they print in all was kept until the last of them was done.
pub async fn many_templates_do_not_fill_the_memory(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "memory").await?;
    let mut vigil = Vigil::start(&world, "memory", &[&scene], &[]).await?;
    let templates = many(256, "{{ repeat 1000000 \"a\" }}");
    let names: Vec<String> = (0..6).map(|number| format!("large-{number}")).collect();
    vigil
        .during(async {
            for name in &names {
                policy(&scene, name, &templates).await?;
            }
            for name in &names {
                let text = scene.wait_policy(name, "Ready=False/SecretTooLarge").await?;
                ensure!(text.contains("a Secret holds at most 1048576 (1 MiB)"), "{text}");
            }
            Ok(())
        })
        .await
}
