//! [`Fabric`]: this project's part in a fabric: a session after the other, each as long as Redis answers. Between them, what runs
//! elsewhere is unavailable, and what runs here goes on.
//!
//! ```text
//!   Router <-- OutsideWire -- Session <-- packets, opened -- Redis
//!      '----- Outbox, one a member --> Outgoing -- packets, sealed --> Redis
//! ```
//!
//! `docs/fabric-protocol.md` says what is in the packets; who counts as a member is decided in
//! [`orchestrator_core::membership`].

mod connection;
mod outgoing;
mod session;
mod values;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orchestrator_core::manifest;
use orchestrator_core::membership::Session as SessionId;
use orchestrator_core::report::{FabricNews, FabricView};
use orchestrator_core::routing::{Code, Fault, Peer};
use orchestrator_port::packet::{Seal, new_session};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use self::session::{Ended, Session};
pub(crate) use self::values::ConfigLine;
use self::values::{ConfigAsk, QUEUE};
use crate::config_store::{ConfigStore, Deed};
use crate::router::Router;
use crate::service_container::chain;

/// How much that happened waits to be told. What is beyond is left out.
const NEWS: usize = 256;

/// The waits between two tries to connect: the first, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// How long saying goodbye may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// A project's part in a fabric.
#[derive(Debug)]
pub(crate) struct Fabric {
    news: mpsc::Receiver<FabricNews>,
    view: View,
    config: ConfigLine,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// What the fabric looks like now.
pub(crate) type View = Arc<Mutex<FabricView>>;

/// Why a project cannot be part of a fabric. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum FabricError {
    /// There is no key.
    #[error(
        "the fabric has no key: set ORCHESTRATOR_FABRIC_KEY to what its other members have, or make one with 'openssl rand -hex 32'"
    )]
    NoKey,
    /// The certificates of whoever vouches for the Redis cannot be read.
    #[error("cannot read {}, the 'ca' of the fabric", .file.display())]
    Root {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// All that a session is made of.
struct Settings {
    fabric: manifest::Fabric,
    /// The certificates that a Redis over TLS is known by, besides the usual ones.
    root: Option<Vec<u8>>,
    own: Peer,
    seal: Seal,
    router: Router,
    store: ConfigStore,
    view: View,
    news: mpsc::Sender<FabricNews>,
}

impl Fabric {
    /// Becomes part of a fabric, under this name: from now on, as long as it is there.
    ///
    /// # Errors
    /// Where something is not there that no waiting would bring.
    pub(crate) fn start(
        fabric: manifest::Fabric,
        name: String,
        router: Router,
        store: ConfigStore,
    ) -> Result<Self, FabricError> {
        let key = fabric.key.clone().ok_or(FabricError::NoKey)?;
        let root = fabric
            .ca
            .clone()
            .map(|file| std::fs::read(&file).map_err(|source| FabricError::Root { file, source }));
        let root = root.transpose()?;
        let own = Peer { name, host: hostname(), session: String::new() };
        router.join(own.clone());
        let (news, told) = mpsc::channel(NEWS);
        let (config, asked) = mpsc::channel(QUEUE);
        let view = View::new(Mutex::new(FabricView {
            redis: fabric.redis.to_string(),
            prefix: fabric.prefix.clone(),
            ..FabricView::default()
        }));
        let seal = Seal::new(key.reveal(), &fabric.prefix, fabric.redis.database());
        router.tell_denials(news.clone());
        let settings = Settings { fabric, root, own, seal, router, store, view: Arc::clone(&view), news };
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(settings.run(asked, stopped));
        Ok(Self { news: told, view, config: ConfigLine(config), stop: Some(stop), task })
    }

    /// What happens next.
    pub(crate) async fn next_news(&mut self) -> Option<FabricNews> {
        self.news.recv().await
    }

    /// What it looks like, at any time.
    pub(crate) fn view(&self) -> View {
        Arc::clone(&self.view)
    }

    /// Where its configuration is asked.
    pub(crate) fn config(&self) -> ConfigLine {
        self.config.clone()
    }

    /// Says goodbye.
    pub(crate) async fn end(mut self) {
        drop(self.stop.take());
        let _ = timeout(FAREWELL, &mut self.task).await;
        self.task.abort();
    }
}

impl Settings {
    async fn run(self, mut asked: mpsc::Receiver<ConfigAsk>, mut stopped: oneshot::Receiver<()>) {
        let (mut wait, mut before) = (BACKOFF.0, None);
        let mut told = BTreeSet::new();
        // Nothing is served from what was kept before Redis was asked for the first time.
        let mut why: Option<String> = None;
        loop {
            let began = self.begin(before, &mut told);
            let lost = match self.meanwhile(began, &mut asked, &mut stopped, why.as_deref()).await {
                None => return,
                Some(Err(why)) => why,
                Some(Ok(session)) => {
                    before = Some(session.id());
                    let began = Instant::now();
                    let ended = session.run(&mut asked, &mut stopped).await;
                    if began.elapsed() > self.fabric.timeout {
                        wait = BACKOFF.0;
                    }
                    match ended {
                        Ended::Asked => return,
                        Ended::Lost(why) => why,
                    }
                }
            };
            self.cut_off(&lost);
            let at = Instant::now() + jittered(wait);
            wait = (wait * 2).min(BACKOFF.1);
            if self.meanwhile(sleep_until(at), &mut asked, &mut stopped, Some(&lost)).await.is_none() {
                return;
            }
            why = Some(lost);
        }
    }

    /// Waits for something without a session, for this reason; none where the project ends meanwhile.
    async fn meanwhile<T>(
        &self,
        what: impl Future<Output = T>,
        asked: &mut mpsc::Receiver<ConfigAsk>,
        stopped: &mut oneshot::Receiver<()>,
        why: Option<&str>,
    ) -> Option<T> {
        let mut what = pin!(what);
        loop {
            tokio::select! {
                done = &mut what => return Some(done),
                _ = &mut *stopped => return None,
                Some(ask) = asked.recv(), if why.is_some() => {
                    self.serve_alone(ask, why.unwrap_or_default());
                }
            }
        }
    }

    async fn begin<'a>(
        &'a self,
        before: Option<SessionId>,
        told: &'a mut BTreeSet<orchestrator_core::membership::Refused>,
    ) -> Result<Session<'a>, String> {
        let id = new_session().map_err(|error| error.to_string())?;
        let id: SessionId = id.parse().map_err(|_| "there is no session".to_owned())?;
        Session::begin(self, id, before, told).await.map_err(|error| chain(&error))
    }

    /// Without Redis, a value is what it was when it was last seen here, and stays that.
    fn serve_alone(&self, ask: ConfigAsk, why: &str) {
        let ConfigAsk { service, name, deed, done } = ask;
        if let Deed::Get = deed {
            return self.store.get(service, name, done);
        }
        let why = format!("the configuration cannot be changed: cut off from {}: {why}", self.fabric.redis);
        done(Err(Fault::new(Code::Unavailable, why)));
    }

    fn cut_off(&self, why: &str) {
        let redis = self.fabric.redis.to_string();
        let before = {
            let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
            let before = (view.connected, view.why.take());
            view.connected = false;
            view.members.clear();
            view.why = Some(why.to_owned());
            before
        };
        // The same again is no news.
        if before != (false, Some(why.to_owned())) {
            self.tell(FabricNews::CutOff { redis, why: why.to_owned() });
        }
    }

    fn tell(&self, news: FabricNews) {
        let _ = self.news.try_send(news);
    }
}

/// Somewhere between half and all of a wait, so that not all members come back at once.
fn jittered(wait: Duration) -> Duration {
    let random = new_session().ok().and_then(|text| u32::from_str_radix(&text[..4], 16).ok()).unwrap_or(0);
    wait / 2 + wait / 2 * random / 0xffff
}

fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
