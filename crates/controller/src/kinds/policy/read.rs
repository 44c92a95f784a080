//! Reads what a policy asks for, with as few calls as the stores allow.

use std::collections::BTreeMap;

use rekey_api::reference::StoreRef;
use rekey_core::{
    policy::{EngineCall, Fetched, Lookup, PolicySpec, Request, Wanted},
    store::{Answer, Locator, StoreErrorKind},
};

use super::{Policies, observe, template};
use crate::{
    error::Error,
    memory::Issued,
    stores::{self, Asked, Connection, Keys, ROUND, Room},
};

/// Reads each distinct key once, into a room that the caller holds until what was read is not needed any more. A round
/// that needs more room than it has reads once more, with all that a round can have.
pub async fn read(ctx: &Policies, policy: &PolicySpec, wanted: &Wanted) -> Result<(Fetched, Room), Error> {
    let (budget, workers) = (&ctx.stores.budget, ctx.settings.concurrency);
    let mut need = ctx.memory.need(&policy.uid);
    loop {
        let room = budget.room(&policy.namespace, need, workers).await.ok_or(Error::NoRoom)?;
        let mut what = String::new();
        match attempt(ctx, policy, wanted, &room, &mut what).await {
            Ok(fetched) => {
                ctx.memory.set_need(&policy.uid, room.allowance().most());
                return Ok((fetched, room));
            }
            Err(_) if room.allowance().is_over() && need < ROUND => need = ROUND,
            Err(_) if room.allowance().is_over() => {
                ctx.memory.set_need(&policy.uid, ROUND);
                return Err(Error::TooMuch { what, most: ROUND });
            }
            Err(error) => return Err(error),
        }
    }
}

/// Reads it all into this room. `what` says at any time what is being read.
async fn attempt(
    ctx: &Policies,
    policy: &PolicySpec,
    wanted: &Wanted,
    room: &Room,
    what: &mut String,
) -> Result<Fetched, Error> {
    let mut stores = Stores { ctx, policy, room, anew: wanted.anew, open: BTreeMap::new() };
    let mut fetched = Fetched::default();
    "the templates in ConfigMaps and Secrets".clone_into(what);
    for reference in &wanted.templates {
        let template = template::read(ctx, policy, reference).await?;
        room.allowance().keep(template.len()).map_err(Error::store("read", what.as_str()))?;
        fetched.templates.insert(reference.clone(), template);
    }
    let mut reads: BTreeMap<StoreRef, Vec<Locator>> = BTreeMap::new();
    for request in &wanted.reads {
        reads.entry(request.store.clone()).or_default().push(request.locator.clone());
    }
    let missing = if wanted.may_be_missing { Missing::Noted } else { Missing::Fails };
    for (store, locators) in reads {
        *what = format!("the keys that are read from {}", stores::label(store.kind, &store.name));
        // A published value that may go has been there under this key.
        let is_known = wanted.may_be_missing && observe::published(&ctx.cluster, policy).is_some();
        let keys = if is_known { Keys::Known } else { Keys::Named };
        stores.values(&store, Asked { keys, locators: &locators }, missing, &mut fetched).await?;
    }
    for lookup in &wanted.searches {
        *what = found(lookup);
        let search = lookup.search.clone(); // what is compiled for it goes with it, before the next one
        let keys = stores.open(&lookup.store).await?.search(&search, room).await?;
        let locator = |key: &String| Locator { key: key.clone(), ..Locator::default() };
        let unread = |locator: &Locator| {
            let request = Request { store: lookup.store.clone(), locator: locator.clone() };
            !fetched.values.contains_key(&request)
        };
        let locators: Vec<Locator> = keys.iter().map(locator).filter(unread).collect();
        let mut found = Fetched::default();
        let asked = Asked { keys: Keys::Listed, locators: &locators };
        stores.values(&lookup.store, asked, Missing::Noted, &mut found).await?;
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

/// What becomes of a read of a key that is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// It is noted, and the others are read.
    Noted,
    /// The whole read fails.
    Fails,
}

/// What a search finds, in words.
fn found(lookup: &Lookup) -> String {
    let store = stores::label(lookup.store.kind, &lookup.store.name);
    match &lookup.search.path {
        Some(path) => format!("what find.path {path:?} finds in {store}"),
        None => format!("what the search finds in all of {store}"),
    }
}

/// Connections that are opened at most once in a round.
struct Stores<'a> {
    ctx: &'a Policies,
    policy: &'a PolicySpec,
    room: &'a Room,
    anew: bool,
    open: BTreeMap<StoreRef, Connection>,
}

impl Stores<'_> {
    async fn open(&mut self, store: &StoreRef) -> Result<Connection, Error> {
        if let Some(open) = self.open.get(store) {
            return Ok(open.clone());
        }
        let connection = self.ctx.stores.open(&self.policy.namespace, store).await?;
        let connection = if self.anew { connection.afresh() } else { connection };
        self.open.insert(store.clone(), connection.clone());
        Ok(connection)
    }

    /// What could not be published the last time is still good: each request may make something new.
    async fn answer(&mut self, call: &EngineCall) -> Result<Answer, Error> {
        let (ctx, uid) = (self.ctx, self.policy.uid.as_str());
        if let Some(answer) = ctx.memory.issued(uid, call, ctx.clock.now()) {
            return Ok(answer);
        }
        let answer = self.open(&call.store).await?.call(&call.call).await?;
        if ctx.is_known(self.policy)
            && let Some(share) = ctx.stores.budget.keep_issued(&self.policy.namespace, answer.value.bytes.len())
        {
            let issued = Issued { call: call.clone(), at: ctx.clock.now(), answer: answer.clone(), _share: share };
            ctx.memory.set_issued(uid, issued);
        }
        Ok(answer)
    }

    async fn values(
        &mut self,
        store: &StoreRef,
        asked: Asked<'_>,
        missing: Missing,
        fetched: &mut Fetched,
    ) -> Result<(), Error> {
        let answers = self.open(store).await?.read_all(asked, self.room).await;
        for (locator, answer) in asked.locators.iter().cloned().zip(answers) {
            let request = Request { store: store.clone(), locator };
            match answer {
                Ok(value) => {
                    fetched.values.insert(request, value);
                }
                Err(Error::Store { source, .. })
                    if missing == Missing::Noted && source.kind == StoreErrorKind::NotFound =>
                {
                    fetched.missing.insert(request);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
