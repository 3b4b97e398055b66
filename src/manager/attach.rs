//! Programs that attach to the control socket: what they say comes over the connection, what they are told goes back over it.
//! With the connection, everything that came of them ends.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use orchestrator_core::ServiceName;
use orchestrator_core::routing::{Code, Fault, Party};
use orchestrator_port::message::link::{FromOutside, Offer, ToProgram};
use orchestrator_port::message::service::{self as wire, Payload};
use orchestrator_port::{LinkError, LinkMessages};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, split};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::config::{Config, plain};
use crate::router::{Outbox, OutsideWire, Router, carry};

/// How long a program may take to say what it is.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much is read at once, at least.
const CHUNK: usize = 8 * 1024;

/// What programs attach to. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Attachment {
    pub(crate) project: ServiceName,
    pub(crate) router: Router,
    pub(crate) config: Config,
    /// One for each program that could be there.
    pub(crate) places: Arc<Semaphore>,
}

/// How many programs are attached at a time.
pub(crate) const PROGRAMS: usize = 256;

/// Why a program is not heard any more.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// There are too many.
    #[error("{PROGRAMS} programs are attached, which is the most")]
    TooMany,
    /// It said nothing, or something else, before it had said what it is.
    #[error("the program has not said what it is: 'offer' comes first")]
    NoOffer,
    /// It cannot be what it says.
    #[error("the program cannot attach: {0}")]
    Refused(String),
    /// It does not keep to the protocol.
    #[error("the program does not keep to the protocol")]
    Link(#[from] LinkError),
    /// The connection is broken.
    #[error("the connection with the program is broken")]
    Io(#[from] io::Error),
}

impl Attachment {
    /// Serves a program until its connection ends.
    ///
    /// # Errors
    /// With what was wrong with it.
    pub(crate) async fn serve(
        &self,
        connection: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<(), AttachError> {
        let _place = self.places.try_acquire().map_err(|_| AttachError::TooMany)?;
        let (mut reader, writer) = split(connection);
        let mut messages = LinkMessages::default();
        let outbox = Arc::new(Outbox::default());
        let writing = tokio::spawn(carry(Arc::clone(&outbox), writer));
        let served = self.hear(&mut reader, &mut messages, &outbox).await;
        if served.is_err() {
            // Why it is not heard any more may be on its way.
            outbox.drained().await;
        }
        writing.abort();
        served
    }

    async fn hear(
        &self,
        reader: &mut (impl AsyncRead + Unpin),
        messages: &mut LinkMessages,
        outbox: &Arc<Outbox>,
    ) -> Result<(), AttachError> {
        let first = timeout(PATIENCE, next(reader, messages)).await.map_err(|_| AttachError::NoOffer)??;
        let offer = match first {
            None => return Ok(()),
            Some((FromOutside::Offer(offer), _)) => offer,
            Some(_) => return Err(AttachError::NoOffer),
        };
        let name = offer.name.clone();
        if ServiceName::parse(&name).is_err() {
            let why =
                format!("'{name}' is no name of a program: write lower-case letters, digits and hyphens");
            self.refuse(outbox, offer.rev, &why);
            return Err(AttachError::Refused(why));
        }
        let wire = self.router.attach(Party::Program(name), Arc::clone(outbox));
        self.offer(&wire, outbox, offer);
        while let Some((said, payload)) = next(reader, messages).await? {
            self.take(&wire, outbox, said, payload);
        }
        Ok(())
    }

    fn take(&self, wire: &OutsideWire, outbox: &Outbox, said: FromOutside, payload: Payload) {
        match said {
            FromOutside::Service(message) => wire.hear(message, payload),
            FromOutside::NotRun { id, error } => wire.hear_not_run(id, error),
            FromOutside::Offer(offer) => self.offer(wire, outbox, offer),
            FromOutside::GetConfig { id, service, name } => {
                let responder = wire.responder(id);
                match ServiceName::parse(&service) {
                    Ok(service) => {
                        let done = move |value: Result<_, Fault>| responder.answer(value.map(plain));
                        self.config.get(service, name, Box::new(done));
                    }
                    Err(_) => responder.answer(Err(no_service(&service))),
                }
            }
            FromOutside::SetConfig { id, service, name } => {
                let responder = wire.responder(id);
                match ServiceName::parse(&service) {
                    Ok(service) => {
                        let value = (!payload.bytes.is_empty()).then_some(payload);
                        let done = move |done: Result<(), Fault>| {
                            responder.answer(done.map(|()| Payload::default()));
                        };
                        self.config.set(service, name, value, Box::new(done));
                    }
                    Err(_) => responder.answer(Err(no_service(&service))),
                }
            }
            FromOutside::WatchConfig { id, service } => {
                let watched = ServiceName::parse(&service).map_err(|_| no_service(&service));
                let watched = watched.map(|service| wire.watch_config(service));
                wire.responder(id).answer(watched.map(|()| Payload::default()));
            }
            // What only members of a fabric say.
            _ => {}
        }
    }

    /// What a program has from now on, if it may.
    fn offer(&self, wire: &OutsideWire, outbox: &Outbox, offer: Offer) {
        let unlisted = offer
            .services
            .iter()
            .find(|service| !ServiceName::parse(&service.name).is_ok_and(|name| self.router.expects(&name)));
        if let Some(service) = unlisted {
            let name = &service.name;
            let why = format!(
                "{} does not expect a service '{name}' of a program; to allow it: elsewhere: [{name}]",
                self.project
            );
            return self.refuse(outbox, offer.rev, &why);
        }
        wire.offer(offer.services, Vec::new());
        let accepted = ToProgram::Accepted { rev: offer.rev, name: self.project.to_string() };
        let _ = outbox.queue_line(accepted.line(), Payload::default(), None);
    }

    fn refuse(&self, outbox: &Outbox, rev: u64, why: &str) {
        let error = wire::Fault {
            code: Some(Code::Denied.to_string()),
            message: why.to_owned(),
            ..wire::Fault::default()
        };
        let refused = ToProgram::Refused { rev, error };
        let _ = outbox.queue_line(refused.line(), Payload::default(), None);
    }
}

/// The next message; none at the end.
async fn next(
    reader: &mut (impl AsyncRead + Unpin),
    messages: &mut LinkMessages,
) -> Result<Option<(FromOutside, Payload)>, AttachError> {
    loop {
        if let Some(message) = messages.next_message()? {
            return Ok(Some(message));
        }
        if reader.read_buf(messages.buffer(CHUNK)).await? == 0 {
            return Ok(None);
        }
    }
}

fn no_service(name: &str) -> Fault {
    Fault::new(Code::NotFound, format!("'{name}' cannot be a service"))
}
