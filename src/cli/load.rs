//! Loads a manifest: finds its file, reads it and the `.env` beside it, and hands them to the core with everything
//! that the core may not look up itself.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::io::{self, Read};
use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;

use orchestrator_core::ServiceName;
use orchestrator_core::manifest::{
    self, Accounts, Fabric, FabricKey, LARGEST_FILE, Manifest, OnDisk, PluginSpec, Problems, RedisUrl,
    Surroundings, decode, env_file, sanitised_name,
};
use orchestrator_manager::{ChildReader, Embedded, Fresh, ManifestReader, Project};

use crate::diagnostic;
use crate::exit_code::Code;
use crate::failure::{Failure, chain};
use crate::target::load_plugins;

/// What a manifest's file is called where none is named, the first that is there.
const FILE_NAMES: [&str; 3] = ["orchestrator.yaml", "orchestrator.yml", "manifest.yaml"];

/// The name of a project whose folder's name gives none, such as `/`.
const NAMELESS: &str = "project";

/// A manifest that has been read, and where from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Loaded {
    /// What it means.
    pub(crate) manifest: Manifest,
    /// Its file, as an absolute path.
    pub(crate) file: PathBuf,
    /// Its folder, absolute and without links: what its paths are relative to.
    pub(crate) folder: PathBuf,
    /// What `${VAR}` stands for in it.
    pub(crate) variables: BTreeMap<String, String>,
    /// The fabric's Redis as the command line says it.
    pub(crate) redis: Option<RedisUrl>,
}

/// The variable that has the fabric's key, where the manifest does not.
const FABRIC_KEY: &str = "ORCHESTRATOR_FABRIC_KEY";

/// Why a manifest could not be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// No file was named, and none is there.
    #[error("no manifest in {}: expected orchestrator.yaml, orchestrator.yml or manifest.yaml, or name the file", .folder.display())]
    NotFound {
        /// Where one was looked for.
        folder: PathBuf,
    },
    /// A file could not be read.
    #[error("cannot read {}", .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The manifest is wrong, or the `.env` beside it: see [`LoadError::diagnostics`].
    #[error("{}", summary(.0))]
    Wrong(Vec<WrongFile>),
}

/// A file that is wrong.
#[derive(Debug)]
pub(crate) struct WrongFile {
    /// Its name, as the person would write it.
    file: String,
    text: String,
    problems: Problems,
}

/// Loads the manifest of the given file, or the one in the given folder, or the one in the current folder.
///
/// # Errors
/// Where there is none, where it cannot be read, and where anything in it is wrong.
pub(crate) fn load(path: Option<&Path>, plugins: &BTreeMap<String, PluginSpec>) -> Result<Loaded, LoadError> {
    load_where(path, plugins, own_variables())
}

/// The same, where these variables are set.
fn load_where(
    path: Option<&Path>,
    plugins: &BTreeMap<String, PluginSpec>,
    variables: BTreeMap<String, String>,
) -> Result<Loaded, LoadError> {
    let shown = find(path)?;
    let folder = folder_of(&shown)?;
    let file = folder.join(shown.file_name().unwrap_or_default());
    let mut wrong = Vec::new();
    let variables = read_variables(&shown.with_file_name(".env"), variables, &mut wrong)?;
    let bytes = read_limited(&shown).map_err(|source| LoadError::Read { file: shown.clone(), source })?;
    let files = [file.clone(), folder.join(".env")];
    let around = Around { folder: &folder, files: &files, variables: &variables, plugins, others: &[] };
    let read = decode(&bytes).and_then(|text| around.with(|surroundings| manifest::read(text, surroundings)));
    match read {
        Ok(manifest) if wrong.is_empty() => Ok(Loaded { manifest, file, folder, variables, redis: None }),
        Ok(_) => Err(LoadError::Wrong(wrong)),
        Err(problems) => {
            wrong.push(WrongFile::new(&shown, &bytes, problems));
            Err(LoadError::Wrong(wrong))
        }
    }
}

/// What a manifest is read against, besides the host.
struct Around<'a> {
    folder: &'a Path,
    files: &'a [PathBuf],
    variables: &'a BTreeMap<String, String>,
    plugins: &'a BTreeMap<String, PluginSpec>,
    others: &'a [String],
}

impl Around<'_> {
    fn with<T>(&self, deed: impl FnOnce(&Surroundings<'_>) -> T) -> T {
        let home = env::home_dir().map(canonical);
        // Where there is no such table, there are numbers.
        let table = |path| fs::read_to_string(path).unwrap_or_default();
        let (users, groups) = (table("/etc/passwd"), table("/etc/group"));
        deed(&Surroundings {
            folder: self.folder,
            project: project_name(self.folder),
            variables: self.variables,
            plugins: self.plugins,
            look: &look,
            real: &|path| path.canonicalize().ok(),
            home: home.as_deref(),
            own: &Project::roots().map(canonical),
            files: self.files,
            others: self.others,
            accounts: Accounts { users: &users, groups: &groups },
            cores: cores(),
            check_regex: &check_regex,
        })
    }
}

/// The cores that this process may use: those that its affinity and its control group leave it.
fn cores() -> NonZeroU32 {
    let cores = thread::available_parallelism().ok();
    cores.and_then(|cores| NonZeroU32::try_from(cores).ok()).unwrap_or(NonZeroU32::MIN)
}

/// Does something with the host as the manifest was read against it.
pub(crate) fn with_surroundings<T>(
    loaded: &Loaded,
    plugins: &BTreeMap<String, PluginSpec>,
    deed: impl FnOnce(&Surroundings<'_>) -> T,
) -> T {
    let files = [loaded.file.clone(), loaded.folder.join(".env")];
    let around =
        Around { folder: &loaded.folder, files: &files, variables: &loaded.variables, plugins, others: &[] };
    around.with(deed)
}

/// What reads the children that the services of this manifest ask for while they run, by the same rules.
pub(crate) fn child_reader(loaded: &Loaded, plugins: BTreeMap<String, PluginSpec>) -> ChildReader {
    let (folder, variables) = (loaded.folder.clone(), loaded.variables.clone());
    let files = [loaded.file.clone(), folder.join(".env")];
    ChildReader::new(move |spec, parent, others| {
        let around =
            Around { folder: &folder, files: &files, variables: &variables, plugins: &plugins, others };
        around.with(|surroundings| manifest::read_child(spec, parent, surroundings))
    })
}

/// What reads the manifest of a project anew that was started from this one.
pub(crate) fn manifest_reader(loaded: &Loaded, embedded: Embedded) -> ManifestReader {
    let (own, started_with, redis) = (loaded.file.clone(), own_variables(), loaded.redis.clone());
    ManifestReader::new(move |meant, variables| {
        if let Some(meant) = meant.filter(|meant| *meant != own) {
            return Err(format!(
                "the project was started from {}, not from {}: use that one, or end it first with 'orchestrator down'",
                own.display(),
                meant.display()
            ));
        }
        let variables = if variables.is_empty() { started_with.clone() } else { variables };
        let plain = |failure: Failure| failure.shown.unwrap_or(failure.message);
        let plugins = load_plugins(Some(&own), &embedded, false).map_err(plain)?;
        let loaded = load_where(Some(&own), plugins.catalog(), variables);
        let loaded = loaded.map_err(|error| error.diagnostics(false).unwrap_or_else(|| chain(&error)))?;
        let loaded = loaded.with_fabric(redis.clone()).map_err(plain)?;
        let children = child_reader(&loaded, plugins.catalog().clone());
        Ok(Fresh { manifest: loaded.manifest, plugins, children })
    })
}

impl Loaded {
    /// The same, with this Redis as the fabric's, where one is said, and with the key of the environment where the manifest has
    /// none.
    ///
    /// # Errors
    /// Where that is no key.
    pub(crate) fn with_fabric(mut self, redis: Option<RedisUrl>) -> Result<Self, Failure> {
        if let Some(redis) = &redis {
            let before = self.manifest.fabric.take();
            let at = Fabric::at(redis.clone());
            self.manifest.fabric =
                Some(before.map_or(at, |fabric| Fabric { redis: redis.clone(), ..fabric }));
        }
        if let Some(fabric) = self.manifest.fabric.as_mut().filter(|fabric| fabric.key.is_none())
            && let Some(key) = env::var(FABRIC_KEY).ok().filter(|key| !key.is_empty())
        {
            let wrong = |error| Failure::new(Code::Usage, format!("{FABRIC_KEY}: {error}"));
            let key = FabricKey::parse(&key).map_err(wrong);
            fabric.key = Some(key.map_err(|failure| failure.hint("make one with 'openssl rand -hex 32'"))?);
        }
        Ok(Self { redis, ..self })
    }
}

/// Why a text is no regular expression, in one line.
///
/// # Errors
/// Where it is none.
pub(crate) fn check_regex(text: &str) -> Result<(), String> {
    let Err(error) = regex::Regex::new(text) else { return Ok(()) };
    // The parser draws the expression with a caret; its last line says what is wrong.
    let drawing = error.to_string();
    let last = drawing.lines().last().unwrap_or_default();
    Err(last.trim().trim_start_matches("error: ").to_owned())
}

impl LoadError {
    /// What to do about it. `None` where the diagnostics say it.
    #[must_use]
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { .. } => {
                Some("write one: see docs/manifest.md, or begin with manifests/hello.yaml".into())
            }
            Self::Read { file, source } => Some(match source.kind() {
                io::ErrorKind::NotFound => "name a manifest that is there, or a folder with one in it".into(),
                io::ErrorKind::PermissionDenied => format!("make it readable: chmod u+r {}", file.display()),
                io::ErrorKind::IsADirectory => format!("put a file in the place of {}", file.display()),
                _ => "name a file that can be read".into(),
            }),
            Self::Wrong(_) => None,
        }
    }

    /// Every problem, as a person reads it. `None` where the error says all there is.
    #[must_use]
    pub(crate) fn diagnostics(&self, colour: bool) -> Option<String> {
        let Self::Wrong(wrong) = self else { return None };
        Some(wrong.iter().map(|wrong| wrong.render(colour)).collect::<Vec<_>>().join("\n"))
    }
}

impl WrongFile {
    fn new(file: &Path, bytes: &[u8], problems: Problems) -> Self {
        let text = String::from_utf8_lossy(bytes).into_owned();
        Self { file: file.display().to_string(), text, problems }
    }

    fn render(&self, colour: bool) -> String {
        diagnostic::render(&self.problems, &self.file, &self.text, colour)
    }
}

fn summary(wrong: &[WrongFile]) -> String {
    let files = wrong.iter().map(|wrong| {
        let count = wrong.problems.len();
        format!("{count} {} in {}", if count == 1 { "problem" } else { "problems" }, wrong.file)
    });
    files.collect::<Vec<_>>().join(", ")
}

/// The file to read, as the person would write it.
fn find(path: Option<&Path>) -> Result<PathBuf, LoadError> {
    let folder = match path {
        Some(path) if !path.is_dir() => return Ok(path.to_owned()),
        Some(folder) => folder.to_owned(),
        None => PathBuf::new(),
    };
    let candidates = FILE_NAMES.iter().map(|name| folder.join(name));
    let found = candidates.into_iter().find(|candidate| candidate.is_file());
    found.ok_or_else(|| LoadError::NotFound {
        folder: if folder.as_os_str().is_empty() { PathBuf::from("this folder") } else { folder },
    })
}

/// The folder of a file, absolute and without links.
fn folder_of(file: &Path) -> Result<PathBuf, LoadError> {
    let parent = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::canonicalize(parent).map_err(|source| LoadError::Read { file: file.to_owned(), source })
}

/// A path without links, or as it is where nothing is there.
fn canonical(path: PathBuf) -> PathBuf {
    fs::canonicalize(&path).unwrap_or(path)
}

/// The bytes of a file, or enough of them to see that they are too many.
fn read_limited(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(LARGEST_FILE).unwrap_or(u64::MAX).saturating_add(1);
    File::open(file)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The variables of the `.env` file, if there is one, under these.
fn read_variables(
    file: &Path,
    over: BTreeMap<String, String>,
    wrong: &mut Vec<WrongFile>,
) -> Result<BTreeMap<String, String>, LoadError> {
    let mut variables = BTreeMap::new();
    match read_limited(file) {
        Ok(bytes) => {
            let problems = match decode(&bytes) {
                Ok(text) => {
                    let (read, problems) = env_file::read(text);
                    variables = read;
                    Problems::gather(problems)
                }
                Err(problems) => Some(problems),
            };
            wrong.extend(problems.map(|problems| WrongFile::new(file, &bytes, problems)));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(LoadError::Read { file: file.to_owned(), source }),
    }
    variables.extend(over);
    Ok(variables)
}

/// The variables of this process. What is no UTF-8 cannot be written into a manifest's values.
pub(crate) fn own_variables() -> BTreeMap<String, String> {
    let own = env::vars_os();
    own.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}

fn project_name(folder: &Path) -> ServiceName {
    let name = folder.file_name().and_then(|name| sanitised_name(&name.to_string_lossy()));
    name.unwrap_or_else(|| ServiceName::parse(NAMELESS).expect("a lower-case word is a name"))
}

/// What is at a path, links followed.
fn look(path: &Path) -> OnDisk {
    match look_at(path) {
        Ok(found) => found,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            OnDisk::Missing
        }
        Err(error) => OnDisk::Refused(format!("cannot be read: {error}")),
    }
}

fn look_at(path: &Path) -> io::Result<OnDisk> {
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        let entries = fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.file_name()));
        let names: io::Result<Vec<_>> = entries.collect();
        return Ok(OnDisk::Folder(names?.into_iter().filter_map(|name| name.into_string().ok()).collect()));
    }
    if !metadata.is_file() {
        return Ok(OnDisk::Refused("is neither a file nor a folder".to_owned()));
    }
    File::open(path)?;
    Ok(OnDisk::File { executable: metadata.permissions().mode() & 0o111 != 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with these files, and what loading its manifest says.
    fn project(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Result<Loaded, String>) {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        let js = "name: js\nabout: x\nruntime: {extensions: [js], command: ['{code}'], protocol: none}";
        let js = manifest::read_plugin(js, Path::new("/plugins/js"), &check_regex).unwrap();
        let plugins = BTreeMap::from([("js".to_owned(), js)]);
        let loaded = load(Some(folder.path()), &plugins).map_err(|error| {
            let text = error.diagnostics(false).unwrap_or_else(|| error.to_string());
            text.replace(&folder.path().display().to_string(), "HERE")
        });
        (folder, loaded)
    }

    #[test]
    fn a_folder_is_a_project_with_its_own_name_and_variables() {
        let manifest = b"services: {web: {code: web.js, runtime: js, permissions: {env: {A: \"${A}\"}}}}";
        let files: [(&str, &[u8]); 3] =
            [("orchestrator.yml", manifest), ("web.js", b""), (".env", b"A=\"b c\"\n")];
        let (folder, loaded) = project(&[files[0], files[2]]);
        assert!(loaded.unwrap_err().contains("the code of service 'web' is not there: 'web.js'"));
        fs::write(folder.path().join("web.js"), "").unwrap();
        fs::set_permissions(folder.path().join("web.js"), fs::Permissions::from_mode(0o755)).unwrap();
        let js = "name: js\nabout: x\nruntime: {command: ['{code}'], protocol: none}";
        let js = manifest::read_plugin(js, Path::new("/plugins/js"), &check_regex).unwrap();
        let loaded = load(Some(folder.path()), &BTreeMap::from([("js".to_owned(), js)])).unwrap();
        let here = fs::canonicalize(folder.path()).unwrap();
        assert_eq!((loaded.file, &loaded.folder), (here.join("orchestrator.yml"), &here));
        let web = loaded.manifest.services.values().next().unwrap();
        assert_eq!(web.env["A"], "b c");
        assert_eq!(Some(loaded.manifest.name), sanitised_name(here.file_name().unwrap().to_str().unwrap()));
    }

    #[test]
    fn the_problems_of_both_files_are_shown() {
        let (_, loaded) = project(&[("manifest.yaml", b"servces: {}\n"), (".env", b"A=1\nB\n")]);
        assert_eq!(
            loaded.unwrap_err(),
            "\
error: this line is no 'KEY=VALUE': there is no '=' in it
 --> HERE/.env:2:1
  |
2 | B
  | ^
  fix: write it as NAME=value, or NAME=\"two words\"

1 problem in HERE/.env; nothing was started

error: unknown key 'servces' in the manifest
 --> HERE/manifest.yaml:1:1
  |
1 | servces: {}
  | ^^^^^^^
  fix: did you mean 'services'?

1 problem in HERE/manifest.yaml; nothing was started
"
        );
    }

    #[test]
    fn a_file_that_is_no_text_or_too_much_of_it_is_refused_at_its_place() {
        let (_, latin) = project(&[("manifest.yaml", b"name: caf\xe9\n")]);
        assert!(latin.unwrap_err().contains("HERE/manifest.yaml:1:10"));
        let large = "# a comment\n".repeat(2 * LARGEST_FILE / 12);
        let (_, large) = project(&[("manifest.yaml", large.as_bytes())]);
        assert!(large.unwrap_err().starts_with("error: the file is larger than 1024 KiB\n"));
    }

    #[test]
    fn where_there_is_no_manifest_it_says_what_it_looked_for() {
        let (_, loaded) = project(&[]);
        let expected = "no manifest in HERE: expected orchestrator.yaml, orchestrator.yml or manifest.yaml, or name the file";
        assert_eq!(loaded.unwrap_err(), expected);
        let missing = load(Some(Path::new("/nowhere/x.yaml")), &BTreeMap::new()).unwrap_err();
        assert_eq!(missing.to_string(), "cannot read /nowhere/x.yaml");
    }

    #[test]
    fn a_wrong_regular_expression_is_explained_in_one_line() {
        assert_eq!(check_regex("listening on \\d+"), Ok(()));
        assert_eq!(check_regex("a(b"), Err("unclosed group".to_owned()));
        assert_eq!(check_regex("a{1000}{1000}{1000}").map_err(|why| why.lines().count()), Err(1));
    }
}
