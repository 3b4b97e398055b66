//! `orchestrator explain SERVICE`: what a service finds and may do, before it runs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use orchestrator_core::ServiceName;
use orchestrator_core::manifest::Service;
use orchestrator_core::permissions::{Host, Isolation, Sandbox};
use orchestrator_manager::Runtime;
use orchestrator_views::spoken_bytes;

use crate::Context;
use crate::exit_code::Code;
use crate::failure::Outcome;
use crate::output::print_line;
use crate::target::{load_manifest, service_of};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The service
    service: ServiceName,
    /// The manifest
    manifest: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let file = args.manifest.as_deref().or(context.target.file.as_deref());
    let (loaded, plugins) = load_manifest(file, &context.embedded, context.terminal.colour)?;
    let service = service_of(&loaded.manifest, &args.service)?;
    let runtime = Runtime::of(service, &plugins);
    if args.json {
        let explained = serde_json::json!({
            "service": service.name,
            "isolation": service.isolation,
            "image": service.image,
            "sandbox": service.sandbox,
            "runtime": { "name": service.runtime, "files": runtime.files, "path": runtime.path },
            "env": service.env.keys().collect::<Vec<_>>(),
            "permissions": service.permissions,
        });
        print_line(&explained.to_string());
    } else {
        lines(service, &runtime).iter().for_each(|line| print_line(line));
    }
    Ok(Code::Ok)
}

/// What it is, then a line for each thing that it finds, then what it may do.
fn lines(service: &Service, runtime: &Runtime) -> Vec<String> {
    let what = match (service.isolation, service.sandbox) {
        (Isolation::Docker, _) => "in a container",
        (Isolation::Process, Sandbox::None) => "no sandbox: it may do whatever you may",
        (Isolation::Process, Sandbox::Landlock) => "sandbox: landlock",
        (Isolation::Process, Sandbox::Strict) => "sandbox: strict",
    };
    let mut lines = vec![format!("{} ({}), {what}", service.name, service.runtime)];
    if service.sandbox == Sandbox::None {
        return lines;
    }
    lines.extend(
        files(service, runtime).into_iter().map(|(path, what)| format!("  {:<28} {what}", path.display())),
    );
    let may = [
        ("connects to", connects(service)),
        (
            "listens on",
            list(service.permissions.net.listen.iter().map(|port| format!("its own port {port}"))),
        ),
        ("calls", calls(service)),
        ("opens", children(service)),
        ("starts", if service.permissions.subprocess { "processes" } else { "no process" }.into()),
        ("limits", limits(service)),
        ("environment", environment(service, runtime)),
    ];
    lines.extend(may.into_iter().map(|(what, said)| format!("  {what:<28} {said}")));
    lines
}

fn files(service: &Service, runtime: &Runtime) -> Vec<(PathBuf, String)> {
    let fs = &service.permissions.fs;
    let strict = service.sandbox == Sandbox::Strict;
    let mut files: Vec<(PathBuf, String)> = Vec::new();
    if strict {
        let scratch = format!(
            "read, write; in memory, {} in {} files",
            spoken_bytes(fs.scratch.size),
            fs.scratch.inodes
        );
        files.push(("/service".into(), "its code: read, execute".into()));
        files.push(("/tmp".into(), scratch));
    }
    if let Some(image) = &service.image {
        files.push(("/".into(), format!("the files of {image}: read, execute")));
    }
    let because = format!("read, execute; {} needs it", service.runtime);
    files.extend(
        runtime.files.iter().filter(|file| file.exists()).map(|file| (file.clone(), because.clone())),
    );
    let granted = |paths: &std::collections::BTreeSet<PathBuf>, what: &str| {
        paths.iter().map(|path| (path.clone(), what.to_owned())).collect::<Vec<_>>()
    };
    files.extend(granted(&fs.read, "read"));
    files.extend(granted(&fs.write, "read, write"));
    files.extend(granted(&service.permissions.devices, "device"));
    if strict {
        files.push((Path::new("/etc, /proc, /dev").into(), "its own: made for it".into()));
    }
    files
}

fn connects(service: &Service) -> String {
    list(service.permissions.net.connect.iter().map(|endpoint| match &endpoint.host {
        Host::Name(_) => endpoint.to_string(),
        Host::Address(_) => format!("{endpoint} (as an address)"),
    }))
}

/// `db.get db.user.*`, for each service that it may call something of.
fn calls(service: &Service) -> String {
    let granted = service.permissions.services.iter();
    list(
        granted.flat_map(|(name, grants)| grants.call.iter().map(move |pattern| format!("{name}.{pattern}"))),
    )
}

fn children(service: &Service) -> String {
    match &service.permissions.children {
        None => "no children".into(),
        Some(below) if below.depth == 1 => format!("up to {} children", below.max),
        Some(below) => format!("up to {} children, {} levels deep", below.max, below.depth),
    }
}

fn limits(service: &Service) -> String {
    let limits = &service.permissions.limits;
    let mut said = String::new();
    let mut add = |what: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = write!(said, "{}{what} {value}", if said.is_empty() { "" } else { ", " });
        }
    };
    add("memory", limits.memory.map(spoken_bytes));
    add("cpu", limits.cpu.map(|cpu| format!("{}", f64::from(cpu) / 1000.0)));
    add("pids", limits.pids.map(|pids| pids.to_string()));
    add("fds", limits.fds.map(|fds| fds.to_string()));
    add("cpu_time", limits.cpu_time.map(|time| format!("{}s", time.as_secs())));
    add("logs", limits.logs.map(|rate| format!("{}/s", spoken_bytes(rate))));
    add("message", limits.message.map(spoken_bytes));
    if said.is_empty() { "none".into() } else { said }
}

fn environment(service: &Service, runtime: &Runtime) -> String {
    let mut names =
        vec![format!("PATH={}", runtime.path), "HOME".into(), "TMPDIR".into(), "LANG".into(), "TZ".into()];
    names.extend(service.env.keys().cloned());
    names.join(" ")
}

/// Things with commas between them, or `nothing`.
fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<_> = items.collect();
    if items.is_empty() { "nothing".into() } else { items.join(", ") }
}
