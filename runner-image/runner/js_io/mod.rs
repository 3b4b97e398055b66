//! `js-io`: does what a js service may have done outside of its engine: files (`files.rs`) and requests (`fetch.rs`).
//!
//! The process that runs the code can only compute (`js/`). What it wants besides it asks of this one, which is confined as
//! the service itself is, in a process of its own: the kernel holds both to the same grants, and the runner, which is more
//! than either, reads nothing that a service has written here. It is started by the first request (`launch.rs`), and ends
//! with its socket.
//!
//! ```text
//!   js process --requests--> hear --- files: at once ---\
//!                               \---- fetch: a task each -+--> queue --> answer --> js process
//! ```
//!
//! Requests are heard whatever becomes of the answers, so that neither end waits for the other: the queue has room for every
//! request that may be without an answer.

mod fetch;
mod files;
mod grants;
pub(crate) mod launch;
pub(crate) mod messages;
mod room;

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use orchestrator_sandbox::descriptors::inherited;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinError, JoinSet};

use self::fetch::{Asked, Client, Fetched};
use self::files::Files;
pub(crate) use self::grants::{DENIED, JsGrants, denied};
use self::messages::{DESCRIPTOR, Decoder, Done, Failure, IN_FLIGHT, Malformed, Message, Request, line};
use self::room::{Room, Share};

/// How many different denials are told. Each is an event that people read.
const TOLD: usize = 64;

/// The longest denial that is told, in bytes; what is longer is no path that anybody would grant.
pub(crate) const LONGEST_TOLD: usize = 1024;

/// The descriptor that its grants are read from.
const GRANTS: i32 = 3;

/// How much is read at once.
const CHUNK: usize = 64 << 10;

/// Why it ends before its socket does.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JsIoError {
    #[error("failed to read what is granted")]
    Grants(#[source] io::Error),
    #[error("failed to open what is granted")]
    Open(#[source] io::Error),
    #[error("failed to speak with the js process")]
    Socket(#[source] io::Error),
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// Does what it is asked until nobody asks any more.
pub(crate) fn run() -> Result<(), JsIoError> {
    let socket = inherited(DESCRIPTOR).map_err(JsIoError::Socket)?;
    let grants = read_grants().map_err(JsIoError::Grants)?;
    let files = Files::open(&grants).map_err(JsIoError::Open)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(JsIoError::Socket)?;
    runtime.block_on(async {
        let socket = UnixStream::from(socket);
        socket.set_nonblocking(true).map_err(JsIoError::Socket)?;
        let (reader, writer) =
            tokio::net::UnixStream::from_std(socket).map_err(JsIoError::Socket)?.into_split();
        let (queue, answers) = mpsc::channel(IN_FLIGHT);
        let open = Arc::new(AtomicUsize::new(0));
        let room = Room::new();
        let client = Client::new(&grants.service, grants.connect.as_deref(), room.clone());
        let (fetches, told) = (HashMap::new(), BTreeSet::new());
        let service = grants.service.clone();
        let worker = Worker { service, files, client, room, queue, open: Arc::clone(&open), fetches, told };
        tokio::select! {
            heard = worker.hear(reader) => heard,
            // The js process reads no more: it has ended.
            () = answer(writer, answers, open) => Ok(()),
        }
    })
}

fn read_grants() -> io::Result<JsGrants> {
    let mut text = Vec::new();
    File::from(inherited(GRANTS)?).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// An answer on its way, with the room that it takes.
#[derive(Debug)]
struct Answer {
    id: u64,
    done: Done,
    payload: Vec<u8>,
    _share: Share,
}

/// What a fetch has come to.
type Outcome = (u64, Result<Fetched, Failure>);

/// Does one request after the other, and fetches beside each other.
struct Worker {
    service: String,
    files: Files,
    client: Client,
    room: Room,
    /// Never full: no more answers wait than there are requests without one.
    queue: mpsc::Sender<Answer>,
    /// Requests whose answer does not leave yet.
    open: Arc<AtomicUsize>,
    /// How those that go on can be ended, by their numbers. One that is not in here any more is not answered again.
    fetches: HashMap<u64, AbortHandle>,
    /// The denials that the runner has been told.
    told: BTreeSet<String>,
}

impl Worker {
    async fn hear(mut self, mut reader: OwnedReadHalf) -> Result<(), JsIoError> {
        let (mut decoder, mut chunk) = (Decoder::<Request>::default(), vec![0; CHUNK]);
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                count = reader.read(&mut chunk) => {
                    let count = count.map_err(JsIoError::Socket)?;
                    if count == 0 {
                        return Ok(());
                    }
                    for message in decoder.take(&chunk[..count])? {
                        self.take(message, &mut tasks)?;
                    }
                }
                Some(fetched) = tasks.join_next() => self.finish(fetched),
            }
        }
    }

    fn take(&mut self, message: Message<Request>, tasks: &mut JoinSet<Outcome>) -> Result<(), Malformed> {
        let id = message.id;
        if let Request::Abort { fetch } = message.what {
            if let Some(task) = self.fetches.remove(&fetch) {
                task.abort();
                let aborted = Failure::new("aborted", "the request was aborted");
                self.answer(fetch, Done::Failed(aborted), Vec::new(), self.room.share());
            }
            return Ok(());
        }
        if self.open.fetch_add(1, Ordering::Relaxed) >= IN_FLIGHT {
            return Err(Malformed::InFlight);
        }
        let mut share = self.room.share();
        let body = message.payload;
        match (share.grow(body.len()), message.what) {
            (Err(failure), _) => self.answer(id, Done::Failed(failure), Vec::new(), share),
            (Ok(()), Request::Fetch { method, url, headers }) => {
                let client = self.client.clone();
                let fetch = async move {
                    let _share = share;
                    (id, client.fetch(Asked { method, url, headers, body }).await)
                };
                self.fetches.insert(id, tasks.spawn(fetch));
            }
            (Ok(()), request) => {
                let (done, payload) = self.work(request, &body).unwrap_or_else(failed);
                let mut share = self.room.share();
                match share.grow(payload.len()) {
                    Ok(()) => self.answer(id, done, payload, share),
                    Err(failure) => self.answer(id, Done::Failed(failure), Vec::new(), share),
                }
            }
        }
        Ok(())
    }

    fn work(&self, request: Request, body: &[u8]) -> Result<(Done, Vec<u8>), Failure> {
        let files = &self.files;
        let plain = |()| (Done::Plain, Vec::new());
        match request {
            Request::Read { path } => files.read(&path).map(|bytes| (Done::Plain, bytes)),
            Request::Write { path } => files.write(&path, body).map(plain),
            Request::List { path } => {
                let names = serde_json::to_vec(&files.list(&path)?).unwrap_or_default();
                Ok((Done::Plain, names))
            }
            Request::Remove { path } => files.remove(&path).map(plain),
            Request::Stat { path } => files.stat(&path).map(|stat| (stat, Vec::new())),
            Request::MakeFolder { path } => files.make_folder(&path).map(plain),
            // Taken before.
            Request::Fetch { .. } | Request::Abort { .. } => Ok(plain(())),
        }
    }

    fn finish(&mut self, fetched: Result<Outcome, JoinError>) {
        // One that was aborted has been answered.
        let Ok((id, fetched)) = fetched else { return };
        if self.fetches.remove(&id).is_some() {
            match fetched {
                Ok(Fetched { response, body, share }) => self.answer(id, response, body, share),
                Err(failure) => self.answer(id, Done::Failed(failure), Vec::new(), self.room.share()),
            }
        }
    }

    fn answer(&mut self, id: u64, done: Done, payload: Vec<u8>, share: Share) {
        if let Done::Failed(failure) = &done {
            self.tell(failure);
        }
        // Where the writer has gone, so has who would read it.
        let _ = self.queue.try_send(Answer { id, done, payload, _share: share });
    }
}

impl Worker {
    /// Tells the runner what was denied, a line each on standard output, so that who watches the service reads it even where
    /// the service catches it.
    fn tell(&mut self, failure: &Failure) {
        let what = failure.message.strip_prefix(&*self.service).unwrap_or_default().trim();
        let new = failure.code == DENIED && self.told.len() < TOLD && !self.told.contains(what);
        if new && what.len() < LONGEST_TOLD {
            self.told.insert(what.to_owned());
            // Where the runner has gone, this process is about to.
            let _ = writeln!(io::stdout(), "{}", what.replace('\n', "\u{fffd}"));
        }
    }
}

fn failed(failure: Failure) -> (Done, Vec<u8>) {
    (Done::Failed(failure), Vec::new())
}

/// Writes the answers, in their order, until the js process reads no more.
async fn answer(mut writer: OwnedWriteHalf, mut answers: mpsc::Receiver<Answer>, open: Arc<AtomicUsize>) {
    while let Some(answer) = answers.recv().await {
        // Before it is written: who has read it may ask again at once.
        open.fetch_sub(1, Ordering::Relaxed);
        let line = line(answer.id, &answer.done, answer.payload.len());
        if writer.write_all(&line).await.is_err() || writer.write_all(&answer.payload).await.is_err() {
            return;
        }
    }
}
