//! `orchestrator learn SERVICE`: runs a service with nothing denied to it, and prints what it has to be granted.

use std::collections::{BTreeMap, BTreeSet};
use std::io::stderr;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use orchestrator_core::ServiceName;
use orchestrator_core::learning::{Known, Learned, Record, Use, learn, watched};
use orchestrator_core::manifest::Service;
use orchestrator_core::permissions::Isolation;
use orchestrator_manager::{Recording, Runtime};
use orchestrator_views::learned;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::up::Launched;
use crate::Context;
use crate::exit_code::Code;
use crate::failure::{Failure, Outcome};
use crate::load::{Loaded, with_surroundings};
use crate::output::{note, print};
use crate::target::{load_manifest, service_of};
use crate::writer::Writer;

/// What no watching of system calls shows.
const UNSEEN: &str = "not seen: what did not happen in this run; variables of the environment; files that it only asked \
                      about; names that other programs look up for it; datagrams of connected sockets";

/// How many names are looked up again, to see where they lead.
const NAMES: usize = 64;

/// How long that may take.
const LOOKUP: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The service
    service: ServiceName,
    /// The manifest
    #[arg(short = 'f', value_name = "MANIFEST")]
    manifest: Option<PathBuf>,
    /// End it after this time; without it, when it ends by itself, or at Ctrl-C
    #[arg(long = "for", value_name = "DURATION", value_parser = super::duration)]
    time: Option<Duration>,
    /// Run it although it may do whatever you may
    #[arg(long)]
    allow_unconfined: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let file = args.manifest.as_deref().or(context.target.file.as_deref());
    let (loaded, plugins) = load_manifest(file, &context.embedded, context.terminal.colour)?;
    let service = service_of(&loaded.manifest, &args.service)?;
    refuse(service, args.allow_unconfined)?;
    let (runtime, catalog) = (Runtime::of(service, &plugins).files, plugins.catalog().clone());
    let recording = Recording::of(args.service.clone());
    let watching = Loaded { manifest: watched(loaded.manifest.clone(), &args.service), ..loaded.clone() };
    note(&format!("learning what {} uses: nothing is denied to it", args.service));
    let launched = Launched::new(watching, plugins, Some(recording.clone()), context).await?;
    // What it writes is not what was asked for.
    let writer = Writer::new(stderr(), stderr())?;
    let outcome = launched.ending_after(args.time).run(vec![args.service.clone()], context, writer).await?;
    let record = recording.record();
    let addresses = look_up(&record).await;
    let found: Learned = with_surroundings(&loaded, &catalog, |around| {
        let manifest = &loaded.manifest;
        learn(&record, &Known { service, manifest, around, runtime: &runtime, addresses: &addresses })
    });
    print(&learned(&args.service, &found, &loaded.folder));
    note(UNSEEN);
    Ok(outcome)
}

/// Only processes of this host can be watched, and only somebody who knows it runs code with nothing around it.
fn refuse(service: &Service, allowed: bool) -> Result<(), Failure> {
    let name = &service.name;
    if service.isolation == Isolation::Docker {
        let text = format!("{name} runs in a container, and only processes of this host can be watched");
        return Err(Failure::new(Code::Usage, text).hint("learn it with 'isolation: process'"));
    }
    if !allowed {
        let text =
            format!("to learn what {name} needs, it is run with nothing denied: it may do whatever you may");
        return Err(Failure::new(Code::Unenforceable, text).hint("if you trust it, say --allow-unconfined"));
    }
    Ok(())
}

/// Where the names lead that were looked up, as far as that can be found out now.
async fn look_up(record: &Record) -> BTreeMap<String, BTreeSet<IpAddr>> {
    let mut lookups = JoinSet::new();
    let names = record.uses.iter().filter_map(|used| match used {
        Use::Lookup(name) => Some(name.clone()),
        _ => None,
    });
    for name in names.take(NAMES) {
        lookups.spawn_blocking(move || {
            let found = (name.as_str(), 0).to_socket_addrs();
            let addresses = found.into_iter().flatten().map(|address| address.ip().to_canonical()).collect();
            (name, addresses)
        });
    }
    let mut addresses = BTreeMap::new();
    let all = async {
        while let Some(found) = lookups.join_next().await {
            addresses.extend(found.ok());
        }
    };
    // A name server that does not answer holds up nobody: the address is granted then.
    let _ = timeout(LOOKUP, all).await;
    addresses
}
