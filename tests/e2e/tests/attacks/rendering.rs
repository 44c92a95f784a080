//! One tenant renders as much as its policies permit, and more.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use rekey_e2e::{Scene, World, vigil::Vigil};
use serde_json::{Map, Value, json};

/// Policies of 256 templates with 8 slow calls each: far more than one policy may do.
const BOMBS: usize = 4;
/// Policies with more than half of the slow calls that one policy may do: each is published, and takes its time.
const SLOW: usize = 16;
/// How long an end on request may take, with all of them on their way.
const END: Duration = Duration::from_secs(5);

pub async fn slow_templates_stop_nobody_else(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "rendering").await?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "0"})).await?;
    let mut vigil = Vigil::start(&world, "rendering", &[&scene], &[]).await?;
    let policy = async |name: &str, templates: usize, calls: usize| {
        let more = json!({"target": {"template": {"data": templated(templates, calls)}}});
        scene.policy(name, "vault", &[("password", &key, "password")], more).await
    };
    let attack = async {
        for number in 0..BOMBS {
            policy(&format!("bomb-{number}"), 256, 8).await?;
        }
        for number in 0..SLOW {
            policy(&format!("slow-{number}"), 4, 3).await?;
        }
        for number in 0..BOMBS {
            stalled(&scene, &format!("bomb-{number}")).await?;
        }
        for number in 0..SLOW / 4 {
            scene.wait_policy(&format!("slow-{number}"), "Ready=True/Synced").await?;
        }
        Ok(())
    };
    vigil.during(attack).await?;
    for number in 0..SLOW {
        scene.ask_sync(&format!("slow-{number}")).await?;
    }
    let start = Instant::now();
    vigil.operator.stop()?;
    ensure!(start.elapsed() < END, "SIGTERM took {:?}", start.elapsed());
    Ok(())
}

/// Templates that hash `calls` times, each time something else.
fn templated(templates: usize, calls: usize) -> Value {
    let call = |number: usize| format!("{{{{ printf \"%s-{number}\" .password | bcrypt }}}}");
    let template = (0..calls).map(call).collect::<String>();
    let data: Map<String, Value> = (0..templates).map(|at| (format!("t{at:03}"), json!(template))).collect();
    Value::Object(data)
}

/// Waits until the policy is refused for its cost.
async fn stalled(scene: &Scene, name: &str) -> Result<()> {
    rekey_e2e::wait::until(&format!("{name} is refused"), || async {
        let conditions = scene.policy_conditions(name).await?;
        Ok(conditions.iter().any(|at| at.type_ == "Stalled" && at.status == "True").then_some(()))
    })
    .await
}
