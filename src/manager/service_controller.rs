//! [`ServiceController`]: the orchestrator's end of one start. It ships the code, hears what the RemoteService has
//! to say and what the service's own process says of itself, asks for probes, and ends with how the start ended.
//!
//! ```text
//!   Ready -> ship, Run -> Running -> started -> readiness -> (ready) -> liveness ... Exited
//! ```

use std::time::Duration;

use bytes::Bytes;
use orchestrator_core::manifest::{Probe, Protocol, Service};
use orchestrator_core::permissions::denial_in;
use orchestrator_core::probing::{Probing, Try, Verdict};
use orchestrator_core::report::{CrashReason, Exception, Phase, Resources, Spoken, Stream};
use orchestrator_port::bundle::{self, Entry};
use orchestrator_port::message::control::{self, FromRemote, Order, Thrown, ToRemote};
use orchestrator_port::{ConnectionPort, Frame, FromHost, PortReceiver, PortSender, ToHost};
use orchestrator_sandbox::cgroup;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::environment::Environment;
use crate::host_line::{HostLine, ListenError};
use crate::inbox::{Happening, Inbox};
use crate::log_store::LogStore;
use crate::output::Output;
use crate::secrets::Redactor;
use crate::service_container::chain;

/// How long a service that failed to start, or has ended, may take for its last words.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Why a service whose process has closed the descriptor is not well.
const MUTE: &str = "the host has closed its descriptor";

/// What the ServicesManager tells a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Cancel what has not begun, let the service close what has.
    Close,
    /// End now.
    Destroy,
}

/// How a start ended, for the Supervisor.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    /// It was told to end, and has.
    Closed,
    /// The code ended by itself, with exit code 0.
    Completed,
    /// It crashed.
    Crashed(CrashReason),
}

/// What is shipped and run.
#[derive(Debug)]
pub(crate) struct Shipment {
    /// The plugin's files and the code.
    pub(crate) entries: Vec<Entry>,
    /// How they are run.
    pub(crate) order: Order,
    /// How their process is spoken to.
    pub(crate) protocol: Protocol,
}

/// The orchestrator's end of one start.
pub(crate) struct ServiceController<'a> {
    sender: PortSender,
    receiver: PortReceiver,
    environment: &'a dyn Environment,
    service: &'a Service,
    inbox: &'a Inbox,
    output: Output<'a>,
    commands: &'a mut mpsc::Receiver<Command>,
    /// Between the service's own process and the orchestrator.
    host: HostLine,
    /// Whether the process has closed its end of that.
    is_mute: bool,
    /// How the process is spoken to.
    protocol: Protocol,
    /// Whether it has started. What says so again is ready.
    has_started: bool,
    /// What was asked of the service itself, and until when an answer is waited for.
    asked: Option<Asked>,
    /// Its methods, once it has started and until it can be called.
    methods: Vec<String>,
    /// Whether it can be called.
    is_open: bool,
    probing: Probing,
    /// When the start began: what the probes' times count from.
    began: Instant,
    end: End,
    /// The processor time of the last measurement, in microseconds, and when it came.
    measured: Option<(u64, Instant)>,
    /// Whether it was told that the service had as many processes as it may have.
    told_of_processes: bool,
}

/// What is known of how the start will end.
#[derive(Debug, Default)]
struct End {
    /// It was told to close.
    asked: bool,
    /// What was thrown last: why a process that then ends with another code than 0 did so.
    thrown: Option<CrashReason>,
    /// Until when last words are waited for.
    deadline: Option<Instant>,
}

/// A question of the service's own `health`.
#[derive(Clone, Copy, Debug)]
struct Asked {
    id: u64,
    limit: Duration,
    until: Instant,
}

/// Something to react to.
enum Turn {
    Command(Command),
    Frame(Frame),
    Host(Option<Result<FromHost, ListenError>>),
    Lost(String),
    ProbeDue,
    NoAnswer(Asked),
    OutOfTime,
}

impl<'a> ServiceController<'a> {
    /// A controller over a port whose other end, in this environment, has been authenticated.
    pub(crate) fn new(
        port: ConnectionPort,
        environment: &'a dyn Environment,
        service: &'a Service,
        inbox: &'a Inbox,
        logs: &'a LogStore,
        host: HostLine,
        commands: &'a mut mpsc::Receiver<Command>,
    ) -> Self {
        let (sender, receiver) = port.split();
        Self {
            sender,
            receiver,
            environment,
            service,
            inbox,
            output: Output::new(inbox, logs, service),
            commands,
            host,
            is_mute: false,
            protocol: Protocol::Host,
            has_started: false,
            asked: None,
            methods: Vec::new(),
            is_open: false,
            probing: Probing::new(service.kind, service.ready.clone(), service.alive.clone()),
            began: Instant::now(),
            end: End::default(),
            measured: None,
            told_of_processes: false,
        }
    }

    /// Runs the start to its end.
    pub(crate) async fn run(mut self, shipment: Shipment) -> Outcome {
        let outcome = match self.ship(shipment).await {
            Err(outcome) => outcome,
            Ok(()) => self.watch().await,
        };
        self.output.end().await;
        outcome
    }

    /// Waits for the remote to say that its environment is as it should be, then sends it everything. Nothing runs
    /// yet, so a command ends the start at once.
    async fn ship(&mut self, shipment: Shipment) -> Result<(), Outcome> {
        self.inbox.tell(Happening::Phase(Phase::Shipping)).await;
        let sender = self.sender.clone();
        let sha256 = bundle::digest(&shipment.entries);
        self.protocol = shipment.protocol;
        self.output.redactor = Redactor::new(&shipment.order.secrets);
        let (receiver, commands, inbox) = (&mut self.receiver, &mut *self.commands, self.inbox);
        let shipped = async move {
            let first = receiver.receive().await.map_err(|closed| lost(&closed))?;
            match first.parse::<FromRemote>() {
                Ok(FromRemote::Ready { checks }) => inbox.tell(Happening::Checked { checks }).await,
                Ok(FromRemote::Broken { error }) => {
                    return Err(Outcome::Crashed(CrashReason::Environment { error }));
                }
                other => return Err(lost(&format!("expected ready, got {other:?}"))),
            }
            bundle::send(&sender, &shipment.entries).await.map_err(|closed| lost(&closed))?;
            let run = Frame::control(&ToRemote::Run(shipment.order), Bytes::new());
            sender.send(run).await.map_err(|closed| lost(&closed))
        };
        tokio::select! {
            biased;
            _ = commands.recv() => return Err(Outcome::Closed),
            shipped = shipped => shipped?,
        }
        self.inbox.tell(Happening::Shipped { sha256 }).await;
        self.inbox.tell(Happening::Phase(Phase::Starting)).await;
        Ok(())
    }

    /// Hears what the remote says until the start has ended.
    async fn watch(&mut self) -> Outcome {
        loop {
            let turn = self.next_turn().await;
            let ended = match turn {
                Turn::Command(Command::Destroy) => Some(Outcome::Closed),
                Turn::Command(Command::Close) => self.close().await,
                Turn::Frame(frame) => self.hear(frame).await,
                Turn::Host(word) => self.hear_host(word).await,
                Turn::NoAnswer(asked) => self.miss_answer(asked).await,
                Turn::Lost(detail) => Some(self.lost(detail)),
                Turn::ProbeDue => self.probe().await,
                Turn::OutOfTime => Some(self.end.outcome(CrashReason::Exit { code: 1 })),
            };
            if let Some(outcome) = ended {
                return outcome;
            }
        }
    }

    /// Commands go first: a flood of output must not delay a close.
    async fn next_turn(&mut self) -> Turn {
        let probe = self.probing.deadline().map(|at| self.began + at);
        let (last_words, asked) = (self.end.deadline, self.asked);
        let at = |deadline: Option<Instant>| sleep_until(deadline.unwrap_or_else(Instant::now));
        tokio::select! {
            biased;
            command = self.commands.recv() => Turn::Command(command.unwrap_or(Command::Destroy)),
            () = at(last_words), if last_words.is_some() => Turn::OutOfTime,
            () = at(probe), if probe.is_some() => Turn::ProbeDue,
            () = at(asked.map(|asked| asked.until)), if asked.is_some() => match asked {
                Some(asked) => Turn::NoAnswer(asked),
                None => Turn::ProbeDue,
            },
            word = self.host.hear(), if !self.is_mute => Turn::Host(word),
            frame = self.receiver.receive() => match frame {
                Ok(frame) => Turn::Frame(frame),
                Err(closed) => Turn::Lost(closed.to_string()),
            },
        }
    }

    async fn close(&mut self) -> Option<Outcome> {
        self.end.asked = true;
        self.probing.stop();
        self.host.wire().shut();
        match self.protocol {
            // After the last call that it was given.
            Protocol::Host => {
                self.host.tell(ToHost::Close);
                None
            }
            Protocol::None => self.tell(&ToRemote::Close).await,
        }
    }

    async fn tell(&mut self, message: &ToRemote) -> Option<Outcome> {
        let sent = self.sender.send(Frame::control(message, Bytes::new())).await;
        sent.err().map(|closed| self.lost(closed.to_string()))
    }

    fn lost(&self, detail: String) -> Outcome {
        self.end.outcome(CrashReason::ConnectionLost { detail })
    }

    async fn hear(&mut self, frame: Frame) -> Option<Outcome> {
        let message = match frame.parse::<FromRemote>() {
            Ok(message) => message,
            Err(malformed) => return Some(self.lost(malformed.to_string())),
        };
        match message {
            FromRemote::Output { stream, lost } => {
                return self.hear_output(stream, &frame.payload, lost).await;
            }
            FromRemote::Usage(usage) => self.hear_usage(usage).await,
            FromRemote::Running { pid } => return self.hear_running(pid).await,
            FromRemote::Probed { id, failure } => return self.hear_answer(id, failure).await,
            FromRemote::StartFailed(thrown) => self.hear_failure(thrown).await,
            FromRemote::Exited { code, signal } => {
                // The last moment: the count goes with the environment.
                self.look_at_processes().await;
                let broken = self.hear_last_words().await;
                return Some(broken.unwrap_or_else(|| self.end.exited(code, signal)));
            }
            FromRemote::Refused { what } => {
                let what = self.output.redactor.clean(what);
                self.inbox.tell(Happening::Refused { what }).await;
            }
            FromRemote::Recorded { lost } => return self.hear_recorded(&frame.payload, lost),
            FromRemote::Broken { error } => {
                return Some(self.end.outcome(CrashReason::Environment { error }));
            }
            FromRemote::Ready { .. } => {}
        }
        None
    }

    fn hear_recorded(&self, uses: &[u8], lost: u64) -> Option<Outcome> {
        match (self.host.recording(), serde_json::from_slice(uses)) {
            (Some(recording), Ok(uses)) => recording.add(uses, lost),
            (Some(_), Err(malformed)) => return Some(self.lost(malformed.to_string())),
            // Nobody has asked for it.
            (None, _) => {}
        }
        None
    }

    async fn hear_output(&mut self, stream: control::Stream, bytes: &[u8], lost: u64) -> Option<Outcome> {
        let stream = match stream {
            control::Stream::Stdout => Stream::Stdout,
            control::Stream::Stderr => Stream::Stderr,
        };
        if self.output.take(stream, bytes, lost).await {
            let verdict = self.probing.line_matched(self.began.elapsed());
            return self.follow(verdict).await;
        }
        None
    }

    async fn hear_running(&mut self, pid: u32) -> Option<Outcome> {
        let pid = self.environment.pid_on_host(pid);
        self.inbox.tell(Happening::Running { pid }).await;
        let verdict = self.probing.process_runs();
        if let Some(outcome) = self.follow(verdict).await {
            return Some(outcome);
        }
        match self.protocol {
            Protocol::Host => None,
            // Such a process has started when it runs.
            Protocol::None => self.hear_started(Vec::new(), false).await,
        }
    }

    /// Takes in what the service's own process says; none: it will say nothing more.
    async fn hear_host(&mut self, word: Option<Result<FromHost, ListenError>>) -> Option<Outcome> {
        match word {
            None => {
                self.is_mute = true;
                let asked = self.asked.take()?;
                return self.hear_answer(asked.id, Some(MUTE.into())).await;
            }
            Some(Err(error)) => {
                return Some(self.end.outcome(CrashReason::Environment { error: chain(&error) }));
            }
            Some(Ok(FromHost::Started { methods, health })) => {
                return self.hear_started(methods, health).await;
            }
            Some(Ok(FromHost::Health { id, failure })) if self.asked.is_some_and(|asked| asked.id == id) => {
                self.asked = None;
                return self.hear_answer(id, failure).await;
            }
            Some(Ok(FromHost::Failed(thrown))) => self.hear_failure(thrown).await,
            Some(Ok(FromHost::Exception(thrown))) => {
                let exception = self.output.exception(thrown);
                self.teach(&exception).await;
                self.end.thrown = Some(CrashReason::Uncaught { exception: exception.clone() });
                self.inbox.tell(Happening::Exception(exception)).await;
            }
            Some(Ok(FromHost::Close)) => self.inbox.tell(Happening::CloseRequested).await,
            // An answer that comes too late. What is for other services has gone there.
            Some(Ok(FromHost::Health { .. } | FromHost::Service(..) | FromHost::TooLong(_))) => {}
        }
        None
    }

    async fn hear_started(&mut self, methods: Vec<String>, health: bool) -> Option<Outcome> {
        let now = self.began.elapsed();
        // A program says what can be called of it when it is ready to be, which may be after it counts as running.
        if self.is_open {
            self.host.wire().open(methods);
        } else {
            self.methods = methods;
        }
        let verdict = if std::mem::replace(&mut self.has_started, true) {
            self.probing.notified(now)
        } else {
            self.inbox.tell(Happening::Phase(Phase::Readying)).await;
            self.probing.started(now, health)
        };
        self.follow(verdict).await
    }

    async fn hear_answer(&mut self, id: u64, failure: Option<String>) -> Option<Outcome> {
        if let Some(detail) = failure.clone() {
            self.inbox.tell(Happening::NotReady { detail }).await;
        }
        let verdict = self.probing.answered(self.began.elapsed(), id, failure);
        self.follow(verdict).await
    }

    async fn miss_answer(&mut self, asked: Asked) -> Option<Outcome> {
        self.asked = None;
        self.hear_answer(asked.id, Some(format!("no answer within {}", Spoken(asked.limit)))).await
    }

    /// Its code, or the start of it, threw: it will end.
    async fn hear_failure(&mut self, thrown: Thrown) {
        self.look_at_processes().await;
        let exception = self.output.exception(thrown);
        self.teach(&exception).await;
        self.end.thrown = Some(CrashReason::Start { exception });
        self.end.deadline = Some(Instant::now() + LAST_WORDS);
    }

    /// Hears what the service's process has still said before its end.
    async fn hear_last_words(&mut self) -> Option<Outcome> {
        self.host.finish();
        self.probing.stop();
        while !self.is_mute {
            let word = self.host.hear().await;
            if let Some(outcome) = self.hear_host(word).await {
                return Some(outcome);
            }
        }
        None
    }

    /// Tells which line of the manifest would have allowed what an exception says was refused, where it says so.
    async fn teach(&self, exception: &Exception) {
        let service = self.service;
        let (name, permissions, sandbox) = (&service.name, &service.permissions, service.sandbox);
        let there = |path: &std::path::Path| path.symlink_metadata().is_ok();
        if let Some(denial) = denial_in(name, permissions, sandbox, &exception.message, &there) {
            let what = format!("may not {}; to allow it: {}", denial.tried, denial.grant);
            self.inbox.tell(Happening::Refused { what }).await;
        }
    }

    /// Tells, once, that the kernel has refused the service another process. What becomes of who is refused is its own
    /// affair, so this is no reason for its end, but what explains one.
    async fn look_at_processes(&mut self) {
        let Some(most) = self.service.permissions.limits.pids.filter(|_| !self.told_of_processes) else {
            return;
        };
        if self.environment.runner().and_then(cgroup::refused_processes).unwrap_or_default() > 0 {
            self.told_of_processes = true;
            let place = format!("services.{}.permissions.limits.pids", self.service.name);
            let what =
                format!("may not have more than {most} processes and threads; to allow it: {place}: MORE");
            self.inbox.tell(Happening::Refused { what }).await;
        }
    }

    async fn hear_usage(&mut self, usage: control::Usage) {
        self.look_at_processes().await;
        let now = Instant::now();
        let cpu = match self.measured {
            Some((before, then)) if now > then => {
                let used = usage.cpu_time.saturating_sub(before);
                Duration::from_micros(used).as_secs_f64() / (now - then).as_secs_f64()
            }
            _ => 0.0,
        };
        self.measured = Some((usage.cpu_time, now));
        let (cpu_time, memory, processes) = (usage.cpu_time / 1000, usage.memory, usage.processes);
        self.inbox.tell(Happening::Usage(Resources { cpu, cpu_time, memory, processes })).await;
    }

    async fn probe(&mut self) -> Option<Outcome> {
        let Try { id, probe, timeout } = self.probing.due(self.began.elapsed())?;
        let probe = match probe {
            None => return self.ask(id, timeout).await,
            Some(Probe::Tcp(port)) => control::Probe::Tcp(port),
            Some(Probe::Http { port, path }) => control::Probe::Http { port, path },
            Some(Probe::Exec(command)) => control::Probe::Exec(command),
        };
        let timeout = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        self.tell(&ToRemote::Probe { id, probe, timeout }).await
    }

    /// Asks the service's own `health`.
    async fn ask(&mut self, id: u64, limit: Duration) -> Option<Outcome> {
        if self.is_mute {
            return self.hear_answer(id, Some(MUTE.into())).await;
        }
        self.host.tell(ToHost::Health { id });
        self.asked = Some(Asked { id, limit, until: Instant::now() + limit });
        None
    }

    async fn follow(&mut self, verdict: Verdict) -> Option<Outcome> {
        match verdict {
            Verdict::Wait => None,
            Verdict::Ready => {
                self.inbox.tell(Happening::Ready).await;
                self.is_open = true;
                self.host.wire().open(std::mem::take(&mut self.methods));
                None
            }
            Verdict::Unhealthy { failures, detail } => {
                Some(Outcome::Crashed(CrashReason::Unhealthy { failures, detail }))
            }
        }
    }
}

impl End {
    /// How the start ended, where it ended by this, unless it was asked to or has said better why.
    fn outcome(&self, reason: CrashReason) -> Outcome {
        match (self.asked, &self.thrown) {
            (true, _) => Outcome::Closed,
            (false, Some(thrown)) => Outcome::Crashed(thrown.clone()),
            (false, None) => Outcome::Crashed(reason),
        }
    }

    fn exited(&self, code: Option<i32>, signal: Option<i32>) -> Outcome {
        match (code, signal) {
            (Some(0), _) if !self.asked => Outcome::Completed,
            (Some(code), _) => self.outcome(CrashReason::Exit { code }),
            // What killed the process says more than what it threw earlier.
            (None, Some(signal)) if !self.asked => Outcome::Crashed(CrashReason::Signal { signal }),
            (None, signal) => self.outcome(CrashReason::Signal { signal: signal.unwrap_or_default() }),
        }
    }
}

fn lost(how: &dyn std::fmt::Display) -> Outcome {
    Outcome::Crashed(CrashReason::ConnectionLost { detail: how.to_string() })
}
