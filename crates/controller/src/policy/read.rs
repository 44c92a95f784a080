//! Reads what a policy wants, with as few calls as the stores allow.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use rekey_api::reference::{ConfigMapKeyRef, StoreRef};
use rekey_core::{
    policy::{EngineCall, Fetched, Policy, Request, Wanted},
    render::RenderError,
    store::{Answer, Locator, StoreErrorKind},
};

use crate::{
    connections::{self, Connection},
    context::Context,
    error::{Error, status},
    memory::Issued,
    table::ObjectName,
};

/// Reads each distinct key once.
pub async fn read(ctx: &Context, policy: &Policy, wanted: &Wanted) -> Result<Fetched, Error> {
    let mut stores = Stores { ctx, policy, anew: wanted.anew, open: BTreeMap::new() };
    let mut fetched = Fetched::default();
    for (name, reference) in &wanted.templates {
        fetched.templates.insert(name.clone(), template(ctx, policy, reference).await?);
    }
    let mut reads: BTreeMap<StoreRef, Vec<Locator>> = BTreeMap::new();
    for request in &wanted.reads {
        reads.entry(request.store.clone()).or_default().push(request.locator.clone());
    }
    for (store, locators) in reads {
        stores.values(&store, locators, wanted.may_be_missing, &mut fetched).await?;
    }
    for lookup in &wanted.searches {
        let search = lookup.search.clone(); // what is compiled for it goes with it, before the next one
        let keys = stores.open(&lookup.store).await?.search(ctx, &search).await?;
        let locator = |key: &String| Locator { key: key.clone(), ..Locator::default() };
        let unread = |locator: &Locator| {
            let request = Request { store: lookup.store.clone(), locator: locator.clone() };
            !fetched.values.contains_key(&request)
        };
        let locators = keys.iter().map(locator).filter(unread).collect();
        let mut found = Fetched::default();
        stores.values(&lookup.store, locators, true, &mut found).await?;
        fetched.values.append(&mut found.values);
        // What has gone between the search and the read was not found.
        let gone = |key: &String| found.missing.iter().any(|request| request.locator.key == *key);
        fetched.found.insert(lookup.clone(), keys.iter().filter(|key| !gone(key)).cloned().collect());
    }
    if let Some(call) = &wanted.call {
        fetched.answer = Some(stores.answer(call).await?);
    }
    Ok(fetched)
}

/// Connections that are opened at most once in a round.
struct Stores<'a> {
    ctx: &'a Context,
    policy: &'a Policy,
    anew: bool,
    open: BTreeMap<StoreRef, Connection>,
}

impl Stores<'_> {
    async fn open(&mut self, store: &StoreRef) -> Result<Connection, Error> {
        if let Some(open) = self.open.get(store) {
            return Ok(open.clone());
        }
        let connection = connections::open(self.ctx, &self.policy.namespace, store).await?;
        let connection = if self.anew { connection.afresh() } else { connection };
        self.open.insert(store.clone(), connection.clone());
        Ok(connection)
    }

    /// What could not be published the last time is still good: each request may make something new.
    async fn answer(&mut self, call: &EngineCall) -> Result<Answer, Error> {
        let (ctx, uid) = (self.ctx, self.policy.uid.as_str());
        if let Some(answer) = ctx.memory.issued(uid, call, ctx.now()) {
            return Ok(answer);
        }
        let answer = self.open(&call.store).await?.call(ctx, &call.call).await?;
        ctx.memory.set_issued(uid, Issued { call: call.clone(), at: ctx.now(), answer: answer.clone() });
        Ok(answer)
    }

    async fn values(
        &mut self,
        store: &StoreRef,
        locators: Vec<Locator>,
        may_be_missing: bool,
        fetched: &mut Fetched,
    ) -> Result<(), Error> {
        let answers = self.open(store).await?.read_all(self.ctx, &locators).await;
        for (locator, answer) in locators.into_iter().zip(answers) {
            let request = Request { store: store.clone(), locator };
            match answer {
                Ok(value) => {
                    fetched.values.insert(request, value);
                }
                Err(Error::Store { source, .. }) if may_be_missing && source.kind == StoreErrorKind::NotFound => {
                    fetched.missing.insert(request);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A template that stands in a `ConfigMap`.
async fn template(ctx: &Context, policy: &Policy, reference: &ConfigMapKeyRef) -> Result<String, Error> {
    let ConfigMapKeyRef { name, key } = reference;
    let api: Api<ConfigMap> = Api::namespaced(ctx.client.clone(), &policy.namespace);
    let missing = |text: String| Error::Spec(RenderError::TemplateMissing { text }.into());
    let config = match api.get(name).await {
        Ok(config) => config,
        Err(error) if status(&error) == Some(404) => {
            return Err(missing(format!("ConfigMap {name:?} does not exist; create it, or mend configMapRef.name")));
        }
        Err(error) => {
            return Err(Error::api("read ConfigMap", ObjectName::new(policy.namespace.as_str(), name.as_str()))(error));
        }
    };
    let text = config.data.and_then(|mut data| data.remove(key));
    text.ok_or_else(|| missing(format!("ConfigMap {name:?} has no key {key:?}; add it, or mend configMapRef.key")))
}
