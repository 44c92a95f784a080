//! Templates in `ConfigMap`s, where they are fixed without a change of the policy.

use super::*;
use crate::{render::RenderError, summary::Situation};

fn templated(source: &Value) -> World {
    let from = json!([{"configMapRef": {"name": "app", "key": "url"}, "as": "url"}]);
    let mut object = serde_json::to_value(World::with(&json!({"source": source})).object).unwrap();
    object["spec"]["target"] = json!({"template": {"include": "Merge", "from": from}});
    World { object: serde_json::from_value(object).unwrap(), ..World::new() }
}

fn remote(refresh: &str) -> Value {
    let data = json!([{"secretKey": "password", "remoteRef": {"key": "shop/db", "property": "password"}}]);
    json!({"remote": {"storeRef": {"name": "vault"}, "refreshPolicy": refresh, "data": data}})
}

fn read(world: &World, template: &str) -> Fetched {
    let app = TemplateRef { kind: TemplateKind::ConfigMap, name: "app".to_owned(), key: "url".to_owned() };
    Fetched { templates: [(app, SecretBytes::from(template))].into(), ..world.fetched() }
}

/// As the controller does with what cannot be made.
fn fail(world: &mut World, error: &SpecError) {
    let situation = Situation::Stalled(error.reason(), error.to_string());
    let policy = world.policy();
    let mut status = failed(
        &policy,
        &world.status(),
        Known { published: Some(world.published()), consumers: &Consumers::default(), history: &History::default() },
        &situation,
        world.now,
    );
    status.observed_generation = Some(policy.generation);
    world.object.status = Some(status);
}

#[test]
fn a_template_that_is_broken_there_waits_for_no_change_of_the_policy() {
    let world = templated(&remote("Periodic"));
    for template in ["{{ .password", "{{ nothing .password }}", "{{ .missing }}"] {
        let error = world.plan_with(Some(&read(&world, template))).map(|_| ()).unwrap_err();
        assert_eq!((error.reason(), error.class()), (Reason::TemplateError, Class::Data), "{template}: {error}");
        assert!(error.to_string().starts_with("spec.target.template.from[0]: "), "{error}");
    }
}

#[test]
fn a_template_that_was_broken_there_is_read_again_also_where_no_round_comes() {
    let missing = SpecError::from(RenderError::TemplateMissing { text: "no such ConfigMap".to_owned() });
    for source in
        [json!({"generated": {"fields": [{"key": "token", "password": {}}]}}), remote("OnChange"), remote("Periodic")]
    {
        for is_missing in [false, true] {
            let mut world = templated(&source);
            let working = read(&world, "postgres://db");
            world.sync_with(Some(&working)).unwrap();
            let later = |world: &World| {
                let seen = Seen { last_read: None, ..world.seen() };
                matches!(fetch(&world.policy(), &seen, world.now + TimeDelta::hours(2)), Fetch::Due(_))
            };
            let has_rounds = source["remote"]["refreshPolicy"] == "Periodic";
            assert_eq!(later(&world), has_rounds, "{source}: nothing is read that nobody needs");
            world.look(|_| {});
            let broken = read(&world, "{{ .password");
            let error =
                if is_missing { missing.clone() } else { world.plan_with(Some(&broken)).map(|_| ()).unwrap_err() };
            fail(&mut world, &error);
            if let SeenSecret::Ours { content, .. } = &mut world.secret {
                *content = None;
            }
            assert!(later(&world), "{source}");
            world.look(|_| {});
            world.sync_with(Some(&working)).unwrap();
            assert_eq!((world.shown(), later(&world)), (vec!["Ready=True/Synced".to_owned()], has_rounds), "{source}");
        }
    }
}
