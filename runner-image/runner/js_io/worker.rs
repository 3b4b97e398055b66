//! [`Worker`]: hears what a js process asks for, does it, and hands the answers over to be written.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinError, JoinSet};

use super::fetch::{Asked, Client, Fetched};
use super::files::Files;
use super::grants::{DENIED, JsGrants};
use super::messages::{Decoder, Done, Failure, IN_FLIGHT, Malformed, Message, Request, line};
use super::room::{Room, Share};
use super::{JsIoError, LONGEST_TOLD, ROOM, TOLD};

/// How much is read at once.
const CHUNK: usize = 64 << 10;

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
pub(super) struct Worker {
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
    /// Does what comes over this socket, until its other end is closed.
    ///
    /// # Errors
    /// Where what comes is no conversation.
    pub(super) async fn serve(socket: UnixStream, grants: &JsGrants) -> Result<(), JsIoError> {
        let (reader, writer) = socket.into_split();
        let (queue, answers) = mpsc::channel(IN_FLIGHT);
        let (open, room) = (Arc::new(AtomicUsize::new(0)), Room::new(ROOM));
        let worker = Self {
            service: grants.service.clone(),
            files: Files::open(grants),
            client: Client::new(&grants.service, grants.network.clone(), room.clone()),
            room,
            queue,
            open: Arc::clone(&open),
            fetches: HashMap::new(),
            told: BTreeSet::new(),
        };
        tokio::select! {
            heard = worker.hear(reader) => heard,
            // The js process reads no more: it has ended.
            () = answer(writer, answers, open) => Ok(()),
        }
    }

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
