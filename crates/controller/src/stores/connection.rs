//! What may be asked of an open store. Each use asks the grants again.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use rekey_api::{
    ClusterRemoteStore, RemoteStore,
    reference::StoreKind,
    store::{Access, GrantOperation},
};
use rekey_core::{
    grant::Wish,
    store::{Answer, Call, Locator, Probe, RemoteValue, Respelling, Search, StoreError, StoreErrorKind, Write},
};

use super::{
    Parts, StoreObject, Stores,
    budget::Room,
    client::Client,
    grants::{Granted, without_place},
    may,
    reads::{self, Sharing},
    slots::{Slot, StoreSlots},
};
use crate::{cluster::ObjectName, error::Error, queue::Lane};

/// A key that is taken for a wrong spelling is looked at again after this time: it may be there by then, and a right
/// may have been given.
const RESPELT: Duration = Duration::from_mins(5);

/// How much is known of the keys of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// A user has written them, perhaps wrongly.
    Named,
    /// So they were, and the store has had them.
    Known,
    /// The store has listed them.
    Listed,
    /// They are about to be written.
    Written,
}

/// A read of several values.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// How much is known of their keys.
    pub keys: Keys,
    /// Which values.
    pub locators: &'a [Locator],
}

/// A read that has failed, before other spellings are tried.
struct Others<'a> {
    error: StoreError,
    keys: Keys,
    sharing: Sharing,
    room: &'a Room,
}

/// An open store, for one namespace that uses it.
#[derive(Clone)]
pub struct Connection {
    /// Kind and name, for messages.
    pub label: String,
    /// Whether it may be written.
    pub access: Access,
    pub(super) kind: StoreKind,
    pub(super) name: ObjectName,
    /// The namespace that uses it.
    pub(super) namespace: String,
    /// Whether the client is this namespace's alone.
    pub(super) is_own: bool,
    pub(super) afresh: bool,
    pub(super) client: Arc<Client>,
    pub(super) slots: StoreSlots,
    pub(super) stores: Arc<Stores>,
}

impl Connection {
    /// The same, whose reads see what the store holds from now on: no answer that was asked for earlier serves them.
    #[must_use]
    pub fn afresh(mut self) -> Self {
        self.afresh = true;
        self
    }

    /// Whether each namespace that uses the store logs in by itself, so that no login counts for all.
    #[must_use]
    pub fn logs_in_by_consumer(&self) -> bool {
        self.is_own
    }

    /// Who we are to the store and what may be done.
    ///
    /// # Errors
    /// As [`rekey_core::store::Store::probe`].
    pub async fn probe(&self) -> Result<Probe, Error> {
        self.client.probe().await.map_err(Error::store("log in to", &self.label))
    }

    /// Reads a value that is about to be written under this key, beside the budget: one at a time for each worker.
    ///
    /// # Errors
    /// As [`rekey_core::store::Store::read`]; `StoreNotAllowed` for a key that is not granted.
    pub async fn read(&self, locator: &Locator) -> Result<RemoteValue, Error> {
        let room = Room::single(&self.namespace);
        let answers =
            self.read_all(Asked { keys: Keys::Written, locators: std::slice::from_ref(locator) }, &room).await;
        answers.into_iter().next().unwrap_or_else(|| Err(self.busy()))
    }

    /// Reads several values into a room, with as few requests as the store allows. Answers are in the order of
    /// `locators`.
    ///
    /// # Errors
    /// As [`Connection::read`], for each.
    pub async fn read_all(&self, asked: Asked<'_>, room: &Room) -> Vec<Result<RemoteValue, Error>> {
        let Asked { keys, locators } = asked;
        let allow = |key: &str| self.allow(Wish::key(key, GrantOperation::Read));
        let Ok(granted) = self.granted() else {
            // Each gets the reason for itself.
            return locators.iter().map(|at| Err(allow(&at.key).err().unwrap_or_else(|| self.busy()))).collect();
        };
        let refused = |locator: &Locator| granted.as_ref()?.check(Wish::key(&locator.key, GrantOperation::Read)).err();
        let mut answers: Vec<Option<Result<RemoteValue, Error>>> =
            locators.iter().map(|locator| refused(locator).map(Err)).collect();
        let wanted: Vec<Locator> = locators
            .iter()
            .zip(&answers)
            .filter(|(_, answer)| answer.is_none())
            .map(|(locator, _)| locator.clone())
            .collect();
        let mut found = self.fetch(Asked { keys, locators: &wanted }, room).await.into_iter();
        for answer in &mut answers {
            if answer.is_none() {
                *answer = found.next();
            }
        }
        answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(self.busy()))).collect()
    }

    async fn fetch(&self, asked: Asked<'_>, room: &Room) -> Vec<Result<RemoteValue, Error>> {
        let Asked { keys, locators: wanted } = asked;
        if wanted.is_empty() {
            return Vec::new();
        }
        let failed = |locator: &Locator| Error::store("read", format!("key {:?} of {}", locator.key, self.label));
        if let Some(error) = self.client.gate.closed() {
            self.compare(Some(error.kind));
            return wanted.iter().map(|locator| Err(failed(locator)(error.clone()))).collect();
        }
        let Some(_slot) = self.slots.take().await else {
            return wanted.iter().map(|_| Err(self.busy())).collect();
        };
        let sharing = if self.afresh { Sharing::Afresh } else { Sharing::All };
        let mut answers = reads::read_all(&self.client, wanted, sharing, room).await;
        for answer in &answers {
            self.compare(answer.as_ref().err().map(|error| error.kind));
        }
        for (locator, answer) in wanted.iter().zip(&mut answers) {
            if let Err(error) = answer {
                let others = Others { error: error.clone(), keys, sharing, room };
                *answer = self.respelt(locator, others).await;
            }
        }
        wanted.iter().zip(answers).map(|(locator, answer)| answer.map_err(|error| failed(locator)(error))).collect()
    }

    /// What is there instead under another spelling of a key that failed, as far as that is granted too.
    async fn respelt(
        &self,
        Locator { key, pin }: &Locator,
        Others { error, keys, sharing, room }: Others<'_>,
    ) -> Result<RemoteValue, StoreError> {
        if keys == Keys::Listed || !matches!(error.kind, StoreErrorKind::NotFound | StoreErrorKind::Denied) {
            return Err(error);
        }
        for other in self.client.respellings(key) {
            // A key that is known is not spelt wrongly, and one that is written may be new.
            if keys != Keys::Named && matches!(other, Respelling::Meant(_)) {
                continue;
            }
            if self.allow(Wish::key(other.key(), GrantOperation::Read)).is_err() {
                continue;
            }
            let locator = Locator { key: other.key().to_owned(), pin: pin.clone() };
            let found = reads::read_all(&self.client, &[locator], sharing, room).await;
            let Some(Ok(value)) = found.into_iter().next() else { continue };
            return match (other, keys) {
                (Respelling::Same(_), Keys::Named | Keys::Known | Keys::Listed) => Ok(value),
                (Respelling::Same(key) | Respelling::Meant(key), _) => {
                    let text = format!("{}; {key:?} is there: write that", error.text);
                    Err(StoreError::new(StoreErrorKind::InvalidKey, text).retry_after(Some(RESPELT)))
                }
            };
        }
        Err(error)
    }

    /// As [`Connection::read`], with `None` for a key that does not exist.
    ///
    /// # Errors
    /// As [`Connection::read`].
    pub async fn find(&self, locator: &Locator) -> Result<Option<RemoteValue>, Error> {
        match self.read(locator).await {
            Ok(value) => Ok(Some(value)),
            Err(Error::Store { source, .. }) if source.kind == StoreErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The keys that fit a search and may be read, sorted. Through grants, only what they cover is searched, and a
    /// failure names no place in the store but the path that was asked for.
    ///
    /// # Errors
    /// As [`rekey_core::store::Store::find`]; `StoreNotAllowed` for a namespace that may read nothing there.
    pub async fn search(&self, search: &Search, room: &Room) -> Result<Vec<String>, Error> {
        let parts = self.granted()?.map(|granted| granted.parts(search)).transpose()?;
        let _slot = self.slot("search").await?;
        let Some(parts) = parts else {
            return self.search_part(search, room).await.map_err(Error::store("search", &self.label));
        };
        let mut found = BTreeSet::new();
        for part in &parts {
            let answer = self.search_part(part, room).await;
            let blurred = |error| Error::store("search", &self.label)(without_place(&error, search));
            found.extend(answer.map_err(blurred)?);
        }
        let found: Vec<String> = found.into_iter().collect();
        match self.granted()? {
            None => Ok(found),
            Some(granted) => granted.readable(found),
        }
    }

    async fn search_part(&self, part: &Search, room: &Room) -> Result<Vec<String>, StoreError> {
        let answer = self.client.find(part, room).await;
        self.compare(answer.as_ref().err().map(|error| error.kind));
        answer
    }

    /// Asks an engine. Its path has grants of its own; a `POST` takes `Write`, and a store that is `ReadWrite`.
    ///
    /// # Errors
    /// As [`rekey_core::store::Store::call`]; `StoreNotAllowed` for a path that is not granted, and for a `POST` to a
    /// store that is `ReadOnly`.
    pub async fn call(&self, call: &Call) -> Result<Answer, Error> {
        self.allow(Wish::call(&call.path, call.method))?;
        let _slot = self.slot("ask").await?;
        let answer = self.client.call("call", &self.namespace, |store| store.call(call)).await;
        self.compare(answer.as_ref().err().map(|error| error.kind));
        answer.map_err(Error::store("ask", format_args!("engine path {:?} of {}", call.path, self.label)))
    }

    /// Clears away what a write that was cut short may have left.
    ///
    /// # Errors
    /// As [`rekey_core::store::Store::finish`].
    pub async fn finish(&self, key: &str, version: &str) -> Result<(), Error> {
        // Whatever the access is by now: a write that was allowed is brought to its end.
        self.granted()?.map_or(Ok(()), |granted| granted.check(Wish::key(key, GrantOperation::Write)))?;
        let _slot = self.slot("tidy up").await?;
        let answer = self.client.call("finish", &self.namespace, |store| store.finish(key, version)).await;
        answer.map_err(Error::store("tidy up", format!("key {key:?} of {}", self.label)))
    }

    /// Writes a value.
    ///
    /// # Errors
    /// `StoreNotAllowed` unless the store is `ReadWrite` and the key granted; else as
    /// [`rekey_core::store::Store::write`].
    pub async fn write(&self, write: &Write) -> Result<String, Error> {
        self.allow(Wish::key(&write.key, GrantOperation::Write))?;
        let _slot = self.slot("write").await?;
        // What was read before says nothing about what is there from now on, and afterwards even less.
        self.client.reads.forget(&write.key);
        let answer = self.client.call("write", &self.namespace, |store| store.write(write)).await;
        self.client.reads.forget(&write.key);
        answer.map_err(Error::store("write", format!("key {:?} of {}", write.key, self.label)))
    }

    fn allow(&self, wish: Wish<'_>) -> Result<(), Error> {
        may(&self.label, self.access, wish)?;
        self.granted()?.map_or(Ok(()), |granted| granted.check(wish))
    }

    /// What the grants say now; `None`: there are none to ask.
    fn granted(&self) -> Result<Option<Granted<'_>>, Error> {
        match self.kind {
            StoreKind::RemoteStore => Ok(None),
            StoreKind::ClusterRemoteStore => {
                Granted::look(&self.stores.parts.cluster, &self.name, &self.label, &self.namespace).map(Some)
            }
        }
    }

    async fn slot(&self, operation: &'static str) -> Result<Slot, Error> {
        if let Some(error) = self.client.gate.closed() {
            self.compare(Some(error.kind));
            return Err(Error::store(operation, &self.label)(error));
        }
        self.slots.take().await.ok_or_else(|| self.busy())
    }

    fn busy(&self) -> Error {
        Error::StoreBusy { store: self.label.clone() }
    }

    /// Has the store probed at once when a read does not fit what its status says: it went away, or came back.
    fn compare(&self, failure: Option<StoreErrorKind>) {
        let came_back = self.client.came_back.swap(false, Ordering::Relaxed);
        if self.is_own {
            // The status says nothing about this client: what waits for it is called when it finds the store back.
            if came_back {
                let users = self.stores.parts.cluster.users(self.kind, Some(&self.name.name), Some(&self.namespace));
                self.stores.parts.queues.add_users(users);
            }
            return;
        }
        let answers = match failure {
            None | Some(StoreErrorKind::NotFound) => true,
            Some(StoreErrorKind::Unavailable | StoreErrorKind::Denied) => false,
            Some(
                StoreErrorKind::Throttled
                | StoreErrorKind::Conflict
                | StoreErrorKind::Invalid
                | StoreErrorKind::InvalidKey
                | StoreErrorKind::NotSupported { .. }
                | StoreErrorKind::Malformed
                | StoreErrorKind::TooMuch,
            ) => return,
        };
        match self.kind {
            StoreKind::RemoteStore => self.try_unless::<RemoteStore>(answers),
            StoreKind::ClusterRemoteStore => self.try_unless::<ClusterRemoteStore>(answers),
        }
    }

    /// Has the store probed unless its status says what was seen.
    fn try_unless<K: StoreObject>(&self, answers: bool) {
        let Parts { cluster, queues, .. } = &self.stores.parts;
        if K::table(cluster).get(&self.name).is_some_and(|row| row.is_ready().unwrap_or(false) != answers) {
            K::queue(queues).add(self.name.clone(), Lane::Routine);
        }
    }
}
