//! [`RemoteService`]: the far end of one start, inside the environment. It receives the code, runs it, reports on it,
//! and ends with nothing left below it.
//!
//! ```text
//!   connect -> Ready -> Ship, Entry ... -> Run -> Running -> (service ends) -> rest killed -> Exited -> close
//!                 \___________ connection lost, or told to end: everything killed, the folder emptied ___________/
//! ```
//!
//! The main task hears the controller; it never waits for room to send while the service runs, so a controller that is
//! slow to read is still heard. Beside it run two tasks for the output (`output.rs`), one for what a js service asks for
//! (`js_io/launch.rs`), one for what it is asked over HTTP (`js_http/launch.rs`), one for what is recorded of it (`notes.rs`), one for the figures (`resources.rs`), one a probe, and the
//! reaper (`init.rs`).

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use orchestrator_port::bundle::{Receiving, ReceivingError};
use orchestrator_port::message::control::{FromRemote, Order, Stream, Thrown, ToRemote};
use orchestrator_port::{
    Frame, HandshakeError, NotAToken, PortClosed, PortReceiver, PortSender, Token, websocket,
};
use orchestrator_sandbox::tree::Ended;
use rustix::process::{Signal, kill_process_group};
use tokio::runtime;
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::beside::LostError;
use crate::chain;
use crate::confine::{ConfineError, confine};
use crate::init::Init;
use crate::notes::{self, Own};
use crate::output::{Rate, pump};
use crate::probes::Prober;
use crate::relay;
use crate::resources;
use crate::service_process::{
    Environs, Listening, ServiceProcess, Sockets, StartError, Surroundings, places,
};
use crate::source::Source;
use crate::ticket::{Given, Origin, TicketError};

/// How many probes are tried at once. A controller asks for one after the other.
const PROBES: usize = 8;

/// Runs one start, from its ticket to its end. The place for the service is made before there is a runtime, and so
/// while there is one thread.
pub(crate) fn run(origin: Origin) -> Result<(), RemoteError> {
    let ticket = origin.ticket()?;
    let _ = rustix::thread::set_name(c"runner");
    // From inside the sandbox there is no way to this socket.
    let controller = UnixStream::connect(&ticket.socket).map_err(RemoteError::Controller)?;
    controller.set_nonblocking(true).map_err(RemoteError::Controller)?;
    let Given { host, gateway, listeners } = origin.given(&ticket)?;
    let sockets =
        Sockets { host, listening: Listening { listen: ticket.listen.clone(), sockets: listeners } };
    let environs = confine(&ticket);
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(RemoteError::SetUp)?;
    runtime.block_on(async {
        let environs = environs.and_then(|environs| {
            if let (Some(line), Some(confinement)) = (gateway, &ticket.confinement) {
                relay::start(line, &confinement.relays).map_err(ConfineError::Relays)?;
            }
            Ok(environs)
        });
        serve(controller, &ticket.token()?, environs, sockets).await
    })
}

/// Why a start ended before its time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemoteError {
    #[error(transparent)]
    Ticket(#[from] TicketError),
    #[error("the ticket holds no token")]
    Token(#[from] NotAToken),
    #[error("failed to set up the runner")]
    SetUp(#[source] io::Error),
    #[error("failed to reach the controller")]
    Controller(#[source] io::Error),
    #[error("failed to connect to the controller")]
    Connect(#[from] HandshakeError),
    #[error(transparent)]
    Confine(#[from] ConfineError),
    #[error("failed to use the start's folder")]
    Root(#[source] io::Error),
    #[error("failed to receive the code")]
    Receive(#[from] ReceivingError),
    #[error("failed to start the service")]
    Start(#[from] StartError),
    #[error(transparent)]
    Beside(#[from] LostError),
    #[error("controller said something out of turn: {0}")]
    OutOfTurn(&'static str),
    #[error("told to end")]
    Terminated,
    #[error(transparent)]
    Port(#[from] PortClosed),
}

/// Whatever happens in between, nothing is left below this process or in its folder.
async fn serve(
    controller: UnixStream,
    token: &Token,
    environs: Result<Environs, ConfineError>,
    sockets: Sockets,
) -> Result<(), RemoteError> {
    let init = Init::start().map_err(RemoteError::SetUp)?;
    let mut terminate = unix::signal(SignalKind::terminate()).map_err(RemoteError::SetUp)?;
    let environs = environs.map(Arc::new);
    let served = tokio::select! {
        served = converse(controller, token, &environs, &init, sockets) => served,
        _ = terminate.recv() => Err(RemoteError::Terminated),
    };
    init.end_descendants().await;
    if let Ok(environs) = &environs {
        environs.root.empty();
    }
    served
}

async fn converse(
    controller: UnixStream,
    token: &Token,
    environs: &Result<Arc<Environs>, ConfineError>,
    init: &Init,
    sockets: Sockets,
) -> Result<(), RemoteError> {
    let controller = tokio::net::UnixStream::from_std(controller).map_err(RemoteError::Controller)?;
    let (port, mut incoming) = websocket::connect(controller, token).await?.split();
    let served = match environs {
        Ok(environs) => {
            RemoteService { port: &port, incoming: &mut incoming, environs, init }.serve(sockets).await
        }
        // No code is asked for where there is no place for it.
        Err(error) => {
            port.send(Frame::control(&FromRemote::Broken { error: chain(error) }, Bytes::new())).await?;
            port.close().await;
            return Ok(());
        }
    };
    match served {
        // Nobody is there to be told.
        Err(RemoteError::Port(PortClosed::ByPeer)) => Ok(()),
        Err(RemoteError::Port(how)) => Err(how.into()),
        Err(error) => {
            init.end_descendants().await;
            port.send(Frame::control(&FromRemote::Broken { error: chain(&error) }, Bytes::new())).await?;
            port.close().await;
            Err(error)
        }
        Ok(()) => Ok(()),
    }
}

struct RemoteService<'a> {
    port: &'a PortSender,
    incoming: &'a mut PortReceiver,
    environs: &'a Arc<Environs>,
    init: &'a Init,
}

impl RemoteService<'_> {
    /// The sockets are for the service's process, and not kept: their end is the process's end.
    async fn serve(&mut self, sockets: Sockets) -> Result<(), RemoteError> {
        self.say(&FromRemote::Ready { checks: self.environs.checks.clone() }).await?;
        let Some(order) = self.receive_code().await? else {
            self.port.close().await;
            return Ok(());
        };
        for (name, secret) in &order.secrets {
            self.environs.root.write_secret(name, &secret.0).map_err(RemoteError::Root)?;
        }
        let surroundings = Surroundings::new(&order, self.environs)?;
        let started = ServiceProcess::start(&order, &surroundings, self.environs.root.path(), sockets);
        let exited = match started {
            Ok(process) => self.run(&order, surroundings, process).await?,
            Err(StartError::Command(error)) => {
                let thrown =
                    Thrown { name: "SpawnError".into(), message: error.to_string(), stack: String::new() };
                self.say(&FromRemote::StartFailed(thrown)).await?;
                FromRemote::Exited { code: Some(error.exit_code()), signal: None }
            }
            Err(error) => return Err(error.into()),
        };
        self.say(&exited).await?;
        self.port.close().await;
        Ok(())
    }

    /// Writes what is shipped, until the order to run it comes; none where it is to be closed before that.
    async fn receive_code(&mut self) -> Result<Option<Order>, RemoteError> {
        let mut receiving = None;
        loop {
            let frame = self.incoming.receive().await?;
            match parse(&frame)? {
                ToRemote::Ship { entries, bytes, sha256 } if receiving.is_none() => {
                    receiving = Some(Receiving::new(entries, bytes, sha256)?);
                }
                ToRemote::Entry { path, executable, more } => {
                    let receiving = receiving.as_mut().ok_or(RemoteError::OutOfTurn("entry before ship"))?;
                    if let Some(entry) = receiving.piece(&path, executable, more, &frame.payload)? {
                        self.environs.root.write(&entry).map_err(RemoteError::Root)?;
                    }
                }
                ToRemote::Run(order) => match &receiving {
                    Some(receiving) if !receiving.is_complete() => {
                        return Err(RemoteError::OutOfTurn("run before the last entry"));
                    }
                    _ => return Ok(Some(order)),
                },
                ToRemote::Close => return Ok(None),
                ToRemote::Ship { .. } => return Err(RemoteError::OutOfTurn("second ship")),
                ToRemote::Probe { .. } => return Err(RemoteError::OutOfTurn("probe before run")),
            }
        }
    }

    /// Everything from the process's start to its end; answers with its last message.
    async fn run(
        &mut self,
        order: &Order,
        surroundings: Surroundings,
        process: ServiceProcess,
    ) -> Result<FromRemote, RemoteError> {
        let mut ended = self.init.watch(process.pid);
        let (finish, finished) = watch::channel(false);
        let source = |fd| Source::new(fd, finished.clone()).map_err(RemoteError::SetUp);
        let mut tasks = JoinSet::new();
        let rate = Rate::new(order.output_rate);
        for (fd, stream) in [(process.stdout, Stream::Stdout), (process.stderr, Stream::Stderr)] {
            let pump = pump(source(fd)?, stream, self.port.clone(), rate.clone(), finished.clone());
            tasks.spawn(async move {
                pump.await;
                Ok(())
            });
        }
        self.say(&FromRemote::Running { pid: process.pid.as_raw_nonzero().get().unsigned_abs() }).await?;
        if let Some(recorder) = surroundings.recorder.clone() {
            let (port, finished) = (self.port.clone(), finished.clone());
            let own = Own::of(&self.environs.root);
            tasks.spawn(async move { Ok(notes::send_all(recorder, own, port, finished).await?) });
        }
        let surroundings = Arc::new(surroundings);
        if let Some(js_io) = process.js_io {
            let (surroundings, init, port) = (surroundings.clone(), self.init.clone(), self.port.clone());
            let (service, finished) = (process.pid, finished.clone());
            tasks.spawn(async move { Ok(js_io.serve(surroundings, init, port, service, finished).await?) });
        }
        if let Some(js_http) = process.js_http {
            let (surroundings, init) = (surroundings.clone(), self.init.clone());
            let (service, finished) = (process.pid, finished.clone());
            tasks.spawn(async move { Ok(js_http.serve(surroundings, init, service, finished).await?) });
        }
        let figures = tokio::spawn(resources::report(self.port.clone()));
        let prober = Prober {
            init: self.init.clone(),
            surroundings,
            places: Arc::new(places(order, self.environs.root.path())?),
        };
        let mut service = Service { process: process.pid, prober, probes: JoinSet::new() };
        let ended = self.attend(&mut service, &mut tasks, &mut ended).await;
        figures.abort();
        let ended = ended?;
        service.probes.shutdown().await;
        self.finish(tasks, finish).await?;
        Ok(FromRemote::Exited { code: ended.code, signal: ended.signal })
    }

    /// Does what the controller asks for until the service's process has ended.
    async fn attend(
        &mut self,
        service: &mut Service,
        tasks: &mut JoinSet<Result<(), RemoteError>>,
        ended: &mut oneshot::Receiver<Ended>,
    ) -> Result<Ended, RemoteError> {
        loop {
            tokio::select! {
                // What the controller says comes last: it may say it all the time.
                biased;
                ended = &mut *ended => return ended.map_err(|_| RemoteError::SetUp(io::ErrorKind::Other.into())),
                Some(done) = tasks.join_next() => done.unwrap_or(Ok(()))?,
                Some(_) = service.probes.join_next() => {}
                frame = self.incoming.receive() => service.hear(&frame?, self.init, self.port)?,
            }
        }
    }

    /// After the service's process has ended: ends what it has left behind, and sends what all of them have written.
    async fn finish(
        &mut self,
        mut tasks: JoinSet<Result<(), RemoteError>>,
        finish: watch::Sender<bool>,
    ) -> Result<(), RemoteError> {
        let rest = async {
            self.init.end_descendants().await;
            finish.send_replace(true);
            while let Some(done) = tasks.join_next().await {
                done.unwrap_or(Ok(()))?;
            }
            Ok(())
        };
        tokio::pin!(rest);
        loop {
            tokio::select! {
                done = &mut rest => return done,
                // Probes and a close have come too late. But a lost connection is met here too.
                frame = self.incoming.receive() => drop(frame?),
            }
        }
    }

    async fn say(&self, message: &FromRemote) -> Result<(), PortClosed> {
        self.port.send(Frame::control(message, Bytes::new())).await
    }
}

/// A service that runs, as far as the controller has to do with it.
struct Service {
    process: orchestrator_sandbox::Pid,
    prober: Prober,
    probes: JoinSet<()>,
}

impl Service {
    fn hear(&mut self, frame: &Frame, init: &Init, port: &PortSender) -> Result<(), RemoteError> {
        match parse(frame)? {
            ToRemote::Close => self.close(init),
            ToRemote::Probe { .. } if self.probes.len() >= PROBES => {
                return Err(RemoteError::OutOfTurn("too many probes at once"));
            }
            ToRemote::Probe { id, probe, timeout } => {
                let (prober, port) = (self.prober.clone(), port.clone());
                self.probes.spawn(async move {
                    let failure = prober.probe(&probe, Duration::from_millis(timeout)).await;
                    // If the connection has ended, the main task knows.
                    let _ =
                        port.send(Frame::control(&FromRemote::Probed { id, failure }, Bytes::new())).await;
                });
            }
            ToRemote::Ship { .. } | ToRemote::Entry { .. } | ToRemote::Run(_) => {
                return Err(RemoteError::OutOfTurn("code while a service runs"));
            }
        }
        Ok(())
    }

    fn close(&self, init: &Init) {
        if init.has(self.process) {
            // It may have ended just now.
            let _ = kill_process_group(self.process, Signal::TERM);
        }
    }
}

fn parse(frame: &Frame) -> Result<ToRemote, PortClosed> {
    frame.parse().map_err(PortClosed::Malformed)
}
