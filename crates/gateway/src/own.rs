//! Who owns which object upstream: projects that share an account must not reach each other's files and responses.
//!
//! Promises: the owner of an object is known to this process before the client learns the object's id, and is on disk
//! within [`FLUSH_INTERVAL`]; an id that is not known to be the caller's is a 404 while projects share the account;
//! when owners cannot be written down, nothing new is made. A crash inside the flush interval forgets the owner, and
//! the object is then nobody's: the safe side.
//!
//! Left out, until objects in lists and bodies are told apart by owner: those are refused while projects share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use metering::amend::Edit;
use store::{ObjectOwner, Owners, Project, ProjectId};
use tokio::sync::mpsc;
use wire::endpoint::Endpoint;
use wire::refusal::{Reason, Refusal};
use wire::sse;

use crate::gate::Gate;
use crate::metrics::Metrics;
use crate::settle::{Undo, undo};

/// Batches waiting to be written; when they are used up, requests that make objects are refused.
const BATCHES_MAX: usize = 10_000;

/// Owners written in one transaction, at most.
const WRITE_MAX: usize = 1_000;

/// How long owners may wait for company on their way to the disk.
const FLUSH_INTERVAL: Duration = Duration::from_millis(25);

/// How long a stop waits for owners to be written down.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(5);

/// Wait before a failed write is tried again.
const RETRY_WAIT: Duration = Duration::from_millis(500);

/// Events of a stream in which ids of new objects are looked for: they come first.
const EVENTS_WATCHED_MAX: usize = 8;

/// Ids taken from one answer: a page of conversation items is at most 100.
const IDS_MAX: usize = 256;

type Batch = Vec<ObjectOwner>;

/// What the caller sent where the gate set something that answers echo.
type Sent = Option<Arc<str>>;

/// The book of owners.
pub(crate) struct OwnerBook {
    store: Arc<dyn Owners>,
    /// Owners that are not on disk yet, and what their callers sent.
    pending: Mutex<HashMap<String, (ProjectId, Sent)>>,
    sender: mpsc::Sender<Batch>,
}

/// A place in the queue of owners, taken before an object is made.
pub(crate) struct Place {
    book: Arc<OwnerBook>,
    permit: mpsc::OwnedPermit<Batch>,
    project: ProjectId,
    family: &'static str,
    sent: Sent,
}

impl OwnerBook {
    /// Opens the book and starts its writer in the current runtime.
    pub(crate) fn open(store: Arc<dyn Owners>, metrics: Arc<Metrics>) -> Arc<OwnerBook> {
        let (sender, receiver) = mpsc::channel(BATCHES_MAX);
        let book = Arc::new(OwnerBook { store, pending: Mutex::default(), sender });
        // The writer must not keep the book alive: it ends with the last sender.
        tokio::spawn(write(Arc::downgrade(&book), Arc::clone(&book.store), receiver, metrics));
        book
    }

    /// Takes a place, so that what the upstream is about to make can be written down.
    ///
    /// # Errors
    /// 503 when the writer is so far behind that the queue is full.
    pub(crate) fn place(self: &Arc<Self>, project: &ProjectId, family: &'static str) -> Result<Place, Refusal> {
        let permit = self.sender.clone().try_reserve_owned().map_err(|_| {
            let public = "The gate cannot write down who owns new objects right now, so none are made. Retry shortly.";
            Refusal::new(Reason::StoreUnavailable, public).retry_after_ms(1_000)
        })?;
        Ok(Place { book: Arc::clone(self), permit, project: project.clone(), family, sent: None })
    }

    /// Waits until all owners are on disk, at most [`SETTLE_TIME_MAX`]; whether they are.
    pub(crate) async fn settle(&self) -> bool {
        let is_settled = async {
            while !self.pending.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(SETTLE_TIME_MAX, is_settled).await.is_ok()
    }

    /// Refuses an id that is not known to be `project`'s.
    ///
    /// # Errors
    /// 404 for another project's or an unknown id, 503 when the store cannot say.
    async fn check(&self, object_id: &str, project: &ProjectId) -> Result<(), Refusal> {
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner).get(object_id).cloned();
        let owner = match pending {
            Some((owner, _)) => Some(owner),
            None => self.store.owner_of(object_id).await.map_err(|error| {
                let public = "The gate cannot look up who owns this object right now. Retry shortly.";
                Refusal::new(Reason::StoreUnavailable, public).cause(error).retry_after_ms(1_000)
            })?,
        };
        if owner.as_ref() == Some(project) { Ok(()) } else { Err(not_found(object_id)) }
    }
}

/// Refuses an id that is not known to be `project`'s. The look-up runs on the process's own runtime, where the
/// database lives.
///
/// # Errors
/// 404 for another project's or an unknown id, 503 when the store cannot say.
pub(crate) async fn check(gate: &Gate, object_id: &str, project: &Project) -> Result<(), Refusal> {
    let (book, id, project) = (Arc::clone(&gate.owners), object_id.to_owned(), project.id.clone());
    let checked = gate.runtime.spawn(async move { book.check(&id, &project).await }).await;
    checked.unwrap_or_else(|error| {
        Err(Refusal::new(Reason::Internal, "Looking up the object's owner failed inside the gate.").cause(error))
    })
}

/// The same words for what does not exist and for what is another project's.
pub(crate) fn not_found(object_id: &str) -> Refusal {
    let shown = crate::record::client_text(object_id.as_bytes());
    Refusal::new(
        Reason::ObjectNotFound,
        format!("No object with id '{shown}' was made by this project through this gate."),
    )
    .param("id")
}

/// What the caller of a response sent where the gate set something else; nothing for most.
///
/// # Errors
/// 503 when the store cannot say.
pub(crate) async fn echoes(gate: &Gate, object_id: &str) -> Result<Vec<Edit>, Refusal> {
    let (book, id) = (Arc::clone(&gate.owners), object_id.to_owned());
    let pending = book.pending.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
    let sent = match pending {
        Some((_, sent)) => sent.map(|sent| sent.as_ref().to_owned()),
        None => {
            let looked_up = gate.runtime.spawn(async move { book.store.sent(&id).await }).await;
            looked_up.map_err(|error| unreadable(&error))?.map_err(|error| unreadable(&error))?
        }
    };
    Ok(sent.map(|sent| undo::read(&sent)).unwrap_or_default())
}

fn unreadable(error: &dyn std::error::Error) -> Refusal {
    let public = "The gate cannot look this object up right now. Retry shortly.";
    Refusal::new(Reason::StoreUnavailable, public).cause(error).retry_after_ms(1_000)
}

impl Place {
    /// What the caller sent where the gate set something else that answers echo.
    pub(crate) fn sent(mut self, undo: Option<&Undo>) -> Place {
        self.sent = undo.and_then(Undo::written).map(Arc::from);
        self
    }

    /// Writes down the owner of these objects. Known from now on, on disk soon.
    fn record(self, ids: Vec<String>) {
        if ids.is_empty() {
            return;
        }
        let mut pending = self.book.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batch = Batch::with_capacity(ids.len());
        for object_id in ids {
            // Items and containers echo nothing.
            let sent = self.sent.clone().filter(|_| object_id.starts_with("resp_"));
            pending.entry(object_id.clone()).or_insert_with(|| (self.project.clone(), sent.clone()));
            let (project, family) = (self.project.clone(), self.family.to_owned());
            batch.push(ObjectOwner { object_id, project, family, sent: sent.map(|sent| sent.as_ref().to_owned()) });
        }
        drop(pending);
        self.permit.send(batch);
    }

    /// Takes the ids of new objects out of a whole JSON answer.
    pub(crate) fn record_answer(self, endpoint: &Endpoint, answer: &[u8]) {
        let ids = ids_in(answer, endpoint.makes);
        self.record(ids);
    }

    /// Watches a stream of events for them: its first events, and the last where the whole object comes once more.
    pub(crate) fn watch_events(self, endpoint: &'static Endpoint) -> EventIds {
        let book = Arc::clone(&self.book);
        let mut last = book.place(&self.project, self.family).ok();
        last.iter_mut().for_each(|last| last.sent.clone_from(&self.sent));
        EventIds { first: Some(self), last, endpoint, seen: 0 }
    }
}

/// Events that carry a finished response, with the items and containers that came to be on the way.
const LAST_EVENTS: [&str; 3] = ["response.completed", "response.incomplete", "response.failed"];

/// Watches a stream for ids of new objects.
pub(crate) struct EventIds {
    /// For the first ids, which the caller may use at once.
    first: Option<Place>,
    /// For those in the last event.
    last: Option<Place>,
    endpoint: &'static Endpoint,
    seen: usize,
}

impl EventIds {
    /// Looks through whole events; `true` when there is nothing more to watch for.
    pub(crate) fn watch(&mut self, events: &Bytes) -> bool {
        let has_last = || LAST_EVENTS.iter().any(|name| memchr::memmem::find(events, name.as_bytes()).is_some());
        if self.first.is_none() && !has_last() {
            return false;
        }
        for event in sse::events(events) {
            self.seen += 1;
            let is_last = LAST_EVENTS.contains(&event.name.as_str());
            if (if is_last { &self.last } else { &self.first }).is_some() {
                let ids = self.ids(&event.data);
                let place = if is_last { &mut self.last } else { &mut self.first };
                if let Some(place) = place.take_if(|_| !ids.is_empty()) {
                    place.record(ids);
                }
            }
            if self.seen >= EVENTS_WATCHED_MAX {
                self.first = None;
            }
        }
        // Only responses end with their whole object.
        self.first.is_none() && (self.last.is_none() || self.endpoint.family != "responses")
    }

    fn ids(&self, data: &[u8]) -> Vec<String> {
        let mut ids = ids_in(data, self.endpoint.makes);
        // Typed events carry the object inside: `{"type": "response.created", "response": {"id": …}}`.
        for holder in ["response", "session", "run"] {
            if let Some(inner) = member(data, holder) {
                ids.extend(ids_in(inner.get().as_bytes(), self.endpoint.makes));
            }
        }
        ids
    }
}

type Raw = Box<serde_json::value::RawValue>;

fn member(json: &[u8], name: &str) -> Option<Raw> {
    serde_json::from_slice::<HashMap<String, Raw>>(json).ok()?.remove(name)
}

/// The string values at places such as `id`, `file.id`, `data[].id`, `result_files[]`.
fn ids_in(json: &[u8], places: &[&str]) -> Vec<String> {
    let Ok(members) = serde_json::from_slice::<HashMap<String, Raw>>(json) else { return Vec::new() };
    let mut ids = Vec::new();
    for place in places {
        let (first, rest) = place.split_once('.').map_or((*place, None), |(first, rest)| (first, Some(rest)));
        let Some(raw) = members.get(first.trim_end_matches("[]")) else { continue };
        let values = if first.ends_with("[]") {
            serde_json::from_str::<Vec<Raw>>(raw.get()).unwrap_or_default()
        } else {
            vec![raw.clone()]
        };
        for value in values {
            match rest {
                Some(rest) => ids.extend(ids_in(value.get().as_bytes(), &[rest])),
                None => ids.extend(serde_json::from_str::<String>(value.get())),
            }
        }
    }
    ids.truncate(IDS_MAX);
    ids
}

/// The writer: one transaction for what came within the flush interval; a failed one is tried again until it works.
async fn write(
    book: std::sync::Weak<OwnerBook>,
    store: Arc<dyn Owners>,
    mut receiver: mpsc::Receiver<Batch>,
    metrics: Arc<Metrics>,
) {
    while let Some(mut batch) = receiver.recv().await {
        tokio::time::sleep(FLUSH_INTERVAL).await;
        while batch.len() < WRITE_MAX
            && let Ok(more) = receiver.try_recv()
        {
            batch.extend(more);
        }
        loop {
            match store.record(&batch).await {
                Ok(conflicts) => {
                    if conflicts > 0 {
                        metrics.owner_conflicts.inc_by(conflicts);
                        tracing::warn!(conflicts, "the upstream gave out object ids that another project owns");
                    }
                    break;
                }
                Err(error) => {
                    metrics.owner_write_failures.inc();
                    tracing::error!(%error, owners = batch.len(), "cannot write down object owners; trying again");
                    tokio::time::sleep(RETRY_WAIT).await;
                }
            }
        }
        let Some(book) = book.upgrade() else { continue };
        let mut pending = book.pending.lock().unwrap_or_else(PoisonError::into_inner);
        for owner in &batch {
            pending.remove(&owner.object_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store that remembers.
    #[derive(Default)]
    struct Memory(Mutex<HashMap<String, ProjectId>>);

    #[async_trait::async_trait]
    impl Owners for Memory {
        async fn record(&self, owners: &[ObjectOwner]) -> Result<u64, store::StoreError> {
            let mut known = self.0.lock().expect("not poisoned");
            known.extend(owners.iter().map(|owner| (owner.object_id.clone(), owner.project.clone())));
            Ok(0)
        }
        async fn owner_of(&self, object_id: &str) -> Result<Option<ProjectId>, store::StoreError> {
            Ok(self.0.lock().expect("not poisoned").get(object_id).cloned())
        }
        async fn sent(&self, _object_id: &str) -> Result<Option<String>, store::StoreError> {
            Ok(None)
        }
    }

    #[tokio::test]
    async fn a_stream_s_ids_are_known_before_its_events_pass_and_stay_known_on_disk() {
        let store = Arc::new(Memory::default());
        let book = OwnerBook::open(store.clone(), Arc::default());
        let (mine, other) = (ProjectId::new("proj_a"), ProjectId::new("proj_b"));
        let row = wire::endpoint::find("POST", "/v1/responses").expect("a row").endpoint;
        let mut ids = book.place(&mine, "responses").expect("room").watch_events(row);
        let created = b"event: response.created\ndata: {\"response\":{\"id\":\"resp_1\",\"output\":[]}}\n\n";
        assert!(!ids.watch(&Bytes::from_static(created)));
        book.check("resp_1", &mine).await.expect("known at once");
        assert_eq!(book.check("resp_1", &other).await.expect_err("another's").status(), 404);
        for _ in 0..20 {
            let delta = b"event: response.output_text.delta\ndata: {\"delta\":\"x\"}\n\n";
            assert!(!ids.watch(&Bytes::from_static(delta)));
        }
        let done =
            b"event: response.completed\ndata: {\"response\":{\"id\":\"resp_1\",\"output\":[{\"id\":\"msg_1\"}]}}\n\n";
        assert!(ids.watch(&Bytes::from_static(done)));
        book.check("msg_1", &mine).await.expect("known at once");
        drop(ids);
        while store.0.lock().expect("not poisoned").len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        book.check("msg_1", &mine).await.expect("known from the store");
    }

    #[test]
    fn ids_are_found_where_the_table_says() {
        let answer =
            br#"{"id":"a","file":{"id":"b"},"data":[{"id":"c"},{"no":1},{"id":"d"}],"files":["e",5],"x":{"id":"no"}}"#;
        assert_eq!(ids_in(answer, &["id", "file.id", "data[].id", "files[]", "absent"]), ["a", "b", "c", "d", "e"]);
        assert!(ids_in(b"not json", &["id"]).is_empty());
        assert!(ids_in(br#"{"id":null}"#, &["id"]).is_empty());
    }
}
