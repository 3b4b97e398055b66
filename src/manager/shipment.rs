//! [`Shipper`]: from a service of the manifest to what is sent to its runner: the plugin's files, the code, and the
//! order to run it.
//!
//! In the start's root folder the plugin's files stand at the top and the code in [`CODE`], so that a module which the
//! plugin brings is found from the code as any other one is.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use orchestrator_core::ServiceName;
use orchestrator_core::manifest::{Code, Kind, Protocol, RuntimeSpec, Service};
use orchestrator_core::permissions::{Isolation, Sandbox};
use orchestrator_port::bundle::{self, BundleError, Entry, EntryPath, PathError};
use orchestrator_port::launch::Confinement;
use orchestrator_port::message::control::Order;

use crate::Plugins;
use crate::confinement::{confinement, visible_path};
use crate::environment::ImageProgram;
use crate::secrets::{self, SecretError};
use crate::service_controller::Shipment;

/// Where the code is, in the start's root folder.
const CODE: &str = "code";

/// What a service finds programs by, where the orchestrator itself has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// What a folder of code may hold that is no part of it.
const LEFT_OUT: [&str; 1] = [".git"];

/// Gathers what is shipped.
#[derive(Debug)]
pub(crate) struct Shipper {
    plugins: Plugins,
    /// The variables that every service has: how programs, texts and times are found and shown on this host.
    env: BTreeMap<String, String>,
    /// The programs of the images that containers are made from, by the images' names.
    programs: BTreeMap<String, ImageProgram>,
}

/// Why a service cannot be run on this host.
#[derive(Debug, thiserror::Error)]
pub enum ShipperError {
    /// No plugin of that name is installed.
    #[error("service '{service}' wants the plugin '{runtime}', which is not installed")]
    Plugin {
        /// The service.
        service: ServiceName,
        /// The plugin.
        runtime: String,
    },
    /// Something that it is to be given is not there.
    #[error("service '{service}' cannot be given what it is granted")]
    Secret {
        /// The service.
        service: ServiceName,
        /// What.
        source: SecretError,
    },
    /// The plugin's program is not there.
    #[error("service '{service}' needs the program '{program}', which is not on PATH{}", fix(.needs.as_ref()))]
    Program {
        /// The service.
        service: ServiceName,
        /// The program.
        program: String,
        /// How it is had, in the plugin's words.
        needs: Option<String>,
    },
}

/// Why code cannot be shipped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GatherError {
    /// It cannot be read.
    #[error("cannot read {}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    /// A link leads out of the code's folder.
    #[error("{} leads out of its folder: a service's code is shipped without what is outside of it", .0.display())]
    Outside(PathBuf),
    /// It is neither a file nor a folder.
    #[error("{} is neither a file nor a folder", .0.display())]
    Special(PathBuf),
    /// A name that cannot be shipped.
    #[error("cannot ship {}", .path.display())]
    Name { path: PathBuf, source: PathError },
    /// A folder without anything to run.
    #[error("the folder {} has none of the files that are run of it: {tried}", .folder.display())]
    NoEntry { folder: PathBuf, tried: String },
    /// A program without the right to be run.
    #[error("{path} is not executable: run chmod +x {path}", path = .0.display())]
    NotExecutable(PathBuf),
    /// All of it together cannot be shipped.
    #[error("cannot ship the code")]
    Bundle(#[from] BundleError),
    /// Something that it is to be given is not there.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// An image without anything to run.
    #[error("the image '{0}' does not say what is run of it: say it with 'args'")]
    NoProgram(String),
    /// The service's plugin has gone.
    #[error("the plugin '{0}' is not installed")]
    Plugin(String),
}

fn fix(needs: Option<&String>) -> String {
    needs.map(|needs| format!(": {needs}")).unwrap_or_default()
}

impl Shipper {
    /// A shipper for these services.
    ///
    /// # Errors
    /// Where a service's plugin, or the program that it runs services with, is not there.
    pub(crate) fn new<'a>(
        plugins: Plugins,
        services: impl Iterator<Item = &'a Service>,
    ) -> Result<Self, ShipperError> {
        let passed =
            ["LANG", "TZ"].into_iter().filter_map(|name| Some((name.to_owned(), env::var(name).ok()?)));
        let mut env: BTreeMap<_, _> = passed.collect();
        env.insert("PATH".into(), env::var("PATH").unwrap_or_else(|_| DEFAULT_PATH.into()));
        let shipper = Self { plugins, env, programs: BTreeMap::new() };
        for service in services {
            shipper.check(service)?;
        }
        Ok(shipper)
    }

    /// The same, with what the images say of their programs.
    pub(crate) fn with_programs(self, programs: BTreeMap<String, ImageProgram>) -> Self {
        Self { programs, ..self }
    }

    /// The same, with what another one knows of images.
    pub(crate) fn with_programs_of(self, other: &Self) -> Self {
        self.with_programs(other.programs.clone())
    }

    pub(crate) fn knows_image(&self, image: &str) -> bool {
        self.programs.contains_key(image)
    }

    /// Whether a service can be run on this host.
    pub(crate) fn check(&self, service: &Service) -> Result<(), ShipperError> {
        if let Err(source) = secrets::read(service) {
            return Err(ShipperError::Secret { service: service.name.clone(), source });
        }
        if service.code == Code::Image {
            return Ok(());
        }
        let Some((runtime, _)) = self.plugins.runtime(&service.runtime) else {
            let (service, runtime) = (service.name.clone(), service.runtime.clone());
            return Err(ShipperError::Plugin { service, runtime });
        };
        // What is in an image is seen when it is used.
        let on_host = service.isolation == Isolation::Process;
        match runtime.command.first() {
            Some(program) if on_host && !program.contains(['/', '{']) && !self.is_on_path(program) => {
                let (service, program) = (service.name.clone(), program.clone());
                Err(ShipperError::Program { service, program, needs: runtime.needs.clone() })
            }
            _ => Ok(()),
        }
    }

    fn is_on_path(&self, program: &str) -> bool {
        env::split_paths(&self.env["PATH"]).any(|folder| is_executable(&folder.join(program)))
    }

    /// Reads the service's code as it is now and puts together what is sent.
    /// Of a service that is `watched`, what it uses is recorded, and it finds the programs that it would find where it is held.
    pub(crate) fn gather(
        &self,
        service: &Service,
        replica: u32,
        watched: bool,
    ) -> Result<Shipment, GatherError> {
        if service.code == Code::Image {
            return self.gather_program(service, replica);
        }
        let Some((runtime, files)) = self.plugins.runtime(&service.runtime) else {
            return Err(GatherError::Plugin(service.runtime.clone()));
        };
        let (entries, code) = gather_files(service, runtime, files)?;
        let order = Order {
            service: service.name.to_string(),
            replica,
            command: runtime.command.iter().chain(&service.args).cloned().collect(),
            code,
            folder: CODE.into(),
            // A folder whose name is no text is no base: paths from '/' on are found all the same.
            base: service.folder.to_str().unwrap_or_default().to_owned(),
            env: self.env_of(service, Some(runtime), watched),
            secrets: secrets::read(service)?,
            recorded: watched,
            output_rate: service.permissions.limits.logs,
            longest_message: service.permissions.limits.message,
        };
        Ok(Shipment { entries, order, protocol: runtime.protocol })
    }

    /// What the service's code is now, in hexadecimal.
    pub(crate) fn digest(&self, service: &Service) -> Result<String, GatherError> {
        let plugin = self.plugins.runtime(&service.runtime);
        let (runtime, files) = plugin.ok_or_else(|| GatherError::Plugin(service.runtime.clone()))?;
        Ok(bundle::digest(&gather_files(service, runtime, files)?.0))
    }

    /// Nothing is shipped: what the image has in it runs.
    fn gather_program(&self, service: &Service, replica: u32) -> Result<Shipment, GatherError> {
        let program = self.program(service).cloned().unwrap_or_default();
        let command = program.command(&service.args);
        if command.is_empty() {
            return Err(GatherError::NoProgram(service.image.clone().unwrap_or_default()));
        }
        let order = Order {
            service: service.name.to_string(),
            replica,
            command,
            code: String::new(),
            folder: program.folder,
            base: service.folder.to_str().unwrap_or_default().to_owned(),
            env: self.env_of(service, None, false),
            secrets: secrets::read(service)?,
            recorded: false,
            output_rate: service.permissions.limits.logs,
            longest_message: service.permissions.limits.message,
        };
        Ok(Shipment { entries: Vec::new(), order, protocol: Protocol::None })
    }

    /// The program of the service's image, where it has one.
    fn program(&self, service: &Service) -> Option<&ImageProgram> {
        self.programs.get(service.image.as_ref()?)
    }

    /// What the service is held to; none where it is not.
    pub(crate) fn confinement(&self, service: &Service) -> Option<Confinement> {
        confinement(service, self.plugins.runtime(&service.runtime).map(|(runtime, _)| runtime))
    }

    fn env_of(
        &self,
        service: &Service,
        runtime: Option<&RuntimeSpec>,
        watched: bool,
    ) -> BTreeMap<String, String> {
        let kind = match service.kind {
            Kind::Service => "service",
            Kind::Job => "job",
        };
        let mut env = self.env.clone();
        match (service.isolation, service.sandbox, runtime) {
            // Where programs are in an image is the image's to say.
            (Isolation::Docker, ..) => drop(env.remove("PATH")),
            (Isolation::Process, _, None) => {}
            (Isolation::Process, Sandbox::None, _) if !watched => {}
            (Isolation::Process, _, Some(runtime)) => drop(env.insert("PATH".into(), visible_path(runtime))),
        }
        env.extend(self.program(service).map(|program| program.env.clone()).unwrap_or_default());
        env.insert("ORCHESTRATOR_KIND".into(), kind.into());
        env.extend(runtime.map(|runtime| runtime.env.clone()).unwrap_or_default());
        env.extend(service.env.clone());
        env
    }
}

/// The files of the plugin and of the service's code, and which of them is run, relative to the root folder.
fn gather_files(
    service: &Service,
    runtime: &RuntimeSpec,
    plugin: &[Entry],
) -> Result<(Vec<Entry>, String), GatherError> {
    let mut gathered = Gathered::of(plugin);
    let code = gather_code(service, runtime, &mut gathered)?;
    bundle::check(&gathered.entries)?;
    Ok((gathered.entries, code))
}

/// Adds the code's files, and answers which of them is run, relative to the root folder.
fn gather_code(
    service: &Service,
    runtime: &RuntimeSpec,
    gathered: &mut Gathered,
) -> Result<String, GatherError> {
    let runs_itself = runtime.command.first().is_some_and(|program| program == "{code}");
    match &service.code {
        Code::Inline(text) => {
            let label = service.name.as_str().rsplit('/').next().unwrap_or_default();
            // As a folder's entry would end, so that the runtime takes it for what it is.
            let ending = runtime.entries.first().and_then(|entry| Some(entry.rsplit_once('.')?.1));
            let ending = ending.map(|ending| format!(".{ending}")).unwrap_or_default();
            let name = format!("{CODE}/{label}{ending}");
            gathered.add(entry(&name, Path::new(&name), runs_itself, text.clone().into())?)?;
            Ok(name)
        }
        Code::Path(path) if is_folder(path)? => {
            let root =
                path.canonicalize().map_err(|source| GatherError::Read { path: path.clone(), source })?;
            gathered.add_folder(&root, &root, CODE)?;
            let there = |name: &&String| path.join(name).is_file();
            let run = runtime.entries.iter().find(there).ok_or_else(|| GatherError::NoEntry {
                folder: path.clone(),
                tried: runtime.entries.join(", "),
            })?;
            Ok(format!("{CODE}/{run}"))
        }
        Code::Image => Ok(String::new()),
        Code::Path(path) => {
            if runs_itself && !is_executable(path) {
                return Err(GatherError::NotExecutable(path.clone()));
            }
            let name = path.file_name().unwrap_or(OsStr::new("main"));
            let name = format!("{CODE}/{}", name.to_string_lossy());
            gathered.add_file(path, &name)?;
            Ok(name)
        }
    }
}

fn is_folder(path: &Path) -> Result<bool, GatherError> {
    let found = fs::metadata(path).map_err(|source| GatherError::Read { path: path.to_owned(), source })?;
    Ok(found.is_dir())
}

pub(crate) fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// The files of a bundle so far: never more than one can have.
struct Gathered {
    entries: Vec<Entry>,
    /// How many bytes there may still be.
    room: u64,
}

impl Gathered {
    fn of(files: &[Entry]) -> Self {
        let bytes: u64 = files.iter().map(|entry| entry.bytes.len() as u64).sum();
        Self { entries: files.to_vec(), room: bundle::MOST_BYTES.saturating_sub(bytes) }
    }

    fn add(&mut self, entry: Entry) -> Result<(), BundleError> {
        let left = self.room.checked_sub(entry.bytes.len() as u64).ok_or(BundleError::Bytes)?;
        if self.entries.len() >= bundle::MOST_ENTRIES {
            return Err(BundleError::Entries);
        }
        self.room = left;
        self.entries.push(entry);
        Ok(())
    }

    /// Adds what is in a folder, in the order of its names. A link counts as what it leads to, which must be in `root`.
    /// A folder that leads to itself ends at the depth that a path in a bundle can have.
    fn add_folder(&mut self, root: &Path, folder: &Path, at: &str) -> Result<(), GatherError> {
        let failed = |source| GatherError::Read { path: folder.to_owned(), source };
        let mut names: Vec<_> = fs::read_dir(folder)
            .and_then(|read| read.map(|found| Ok(found?.file_name())).collect::<io::Result<_>>())
            .map_err(failed)?;
        names.sort_unstable();
        for name in names.iter().filter(|name| !LEFT_OUT.iter().any(|left_out| name == left_out)) {
            let path = folder.join(name);
            let real =
                path.canonicalize().map_err(|source| GatherError::Read { path: path.clone(), source })?;
            if !real.starts_with(root) {
                return Err(GatherError::Outside(path));
            }
            let inner = format!("{at}/{}", name.to_string_lossy());
            if real.is_dir() {
                EntryPath::parse(&inner)
                    .map_err(|source| GatherError::Name { path: path.clone(), source })?;
                self.add_folder(root, &path, &inner)?;
            } else {
                self.add_file(&path, &inner)?;
            }
        }
        Ok(())
    }

    fn add_file(&mut self, path: &Path, name: &str) -> Result<(), GatherError> {
        let failed = |source| GatherError::Read { path: path.to_owned(), source };
        let found = fs::metadata(path).map_err(failed)?;
        // Opening a pipe would wait for its other end.
        if !found.is_file() {
            return Err(GatherError::Special(path.to_owned()));
        }
        // Before anything of it is in memory.
        if found.len() > self.room {
            return Err(BundleError::Bytes.into());
        }
        let bytes = fs::read(path).map_err(failed)?;
        Ok(self.add(entry(name, path, found.permissions().mode() & 0o111 != 0, bytes.into())?)?)
    }
}

fn entry(name: &str, from: &Path, executable: bool, bytes: Bytes) -> Result<Entry, GatherError> {
    let path =
        EntryPath::parse(name).map_err(|source| GatherError::Name { path: from.to_owned(), source })?;
    Ok(Entry { path, executable, bytes })
}
