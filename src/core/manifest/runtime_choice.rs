//! Which code is shipped, and which plugin runs it: said by the manifest, or told by the ending of the code's file, by
//! the files in its folder, or by its being a program.

use std::path::{Path, PathBuf};

use super::element::code::RawCode;
use super::plugin::{PluginKind, PluginSpec, RuntimeSpec};
use super::problem::{Hint, Placed, ProblemKind};
use super::raw::NamedService;
use super::reader::Reader;
use super::{Code, OnDisk, Surroundings, image_choice, suggest};

/// The runtime of a file that is itself a program.
const PROGRAM: &str = "exec";

/// A problem without its place.
type Refusal = Box<(ProblemKind, Option<Hint>)>;

/// The code of a service and the name of the runtime that runs it. What is wrong with them is recorded.
pub(crate) fn shipped(
    named: &NamedService,
    around: &Surroundings<'_>,
    reader: &mut Reader<'_>,
) -> Option<(Code, String)> {
    let raw = &named.service;
    let service = named.written.value.as_str();
    if let Some(image) = image_choice::whole_service(named, reader) {
        return Some(image);
    }
    let Some(code) = &raw.code else {
        if !raw.code_unclear {
            let kind = ProblemKind::NoCode { service: service.to_owned() };
            let hint =
                "add 'code:' with a file or a folder, 'plugin:' with a ready-made service, or 'image:'";
            let hint = Hint::advise(hint);
            reader.report(&named.written.place, kind, hint);
        }
        return None;
    };
    let choice = Choice { service, around };
    // An unknown runtime says nothing about whether the code is there, so both are looked at.
    let explicit = raw.runtime.as_ref().map(|runtime| choice.explicit(runtime, reader));
    let chosen = match &code.value {
        RawCode::Inline(_) if explicit.is_none() && raw.code_unclear => return None,
        RawCode::Inline(text) => choice.inline(explicit).map(|runtime| (Code::Inline(text.clone()), runtime)),
        RawCode::Path { written, path } => {
            let path = tidy(&around.folder.join(path));
            let runtime = choice.of_path(written, &path, explicit);
            runtime.map(|runtime| (Code::Path(path), runtime))
        }
    };
    match chosen {
        Ok((code, runtime)) => Some((code, runtime?)),
        Err(refusal) => {
            let (kind, hint) = *refusal;
            reader.report(&code.place, kind, hint);
            None
        }
    }
}

/// A path without `.` in it. `..` stays: what it means depends on links.
fn tidy(path: &Path) -> PathBuf {
    path.components().collect()
}

/// The choice for one service.
struct Choice<'a> {
    service: &'a str,
    around: &'a Surroundings<'a>,
}

/// What the manifest says of the runtime: the plugin, or `None` where it names one that is not there.
type Explicit<'a> = Option<(&'a str, &'a RuntimeSpec)>;

impl<'a> Choice<'a> {
    fn runtimes(&self) -> impl Iterator<Item = (&'a str, &'a RuntimeSpec)> + Clone + use<'a> {
        self.around.plugins.iter().filter_map(|(name, spec)| match &spec.kind {
            PluginKind::Runtime(runtime) => Some((name.as_str(), runtime)),
            PluginKind::Service(_) => None,
        })
    }

    /// The runtime that is written.
    fn explicit(&self, written: &Placed<String>, reader: &mut Reader<'_>) -> Explicit<'a> {
        let name = written.value.as_str();
        let (kind, hint) = match self.around.plugins.get_key_value(name) {
            Some((name, PluginSpec { kind: PluginKind::Runtime(runtime), .. })) => {
                return Some((name, runtime));
            }
            Some(_) => {
                let name = name.to_owned();
                let hint = Hint::advise(format!("write 'plugin: {name}' instead of 'code' and 'runtime'"));
                (ProblemKind::WrongPlugin { name, is: "ready-made service", wanted: "runtime" }, hint)
            }
            None => {
                let names = self.runtimes().map(|(name, _)| name);
                let hint = suggest::nearest_or_all(name, "the runtimes", names);
                (ProblemKind::UnknownPlugin { what: "runtime", name: name.to_owned() }, hint)
            }
        };
        reader.report(&written.place, kind, hint);
        None
    }

    fn inline(&self, explicit: Option<Explicit<'a>>) -> Result<Option<String>, Refusal> {
        match explicit {
            Some(explicit) => Ok(explicit.map(|(name, _)| name.to_owned())),
            None => Err(self.no_runtime("it is written in the manifest itself", self.say_which())),
        }
    }

    /// The runtime for what is at a path. `Ok(None)`: it was written, and is wrong.
    fn of_path(
        &self,
        written: &str,
        path: &Path,
        explicit: Option<Explicit<'a>>,
    ) -> Result<Option<String>, Refusal> {
        match ((self.around.look)(path), explicit) {
            (OnDisk::Missing, _) => Err(self.missing(written, path)),
            (OnDisk::Refused(why), _) => {
                let (service, path) = (self.service.to_owned(), written.to_owned());
                let hint = Hint::advise("name a file or a folder");
                Err(Box::new((ProblemKind::CodeRefused { service, path, why }, hint)))
            }
            (_, Some(None)) => Ok(None),
            (OnDisk::File { executable }, Some(Some((name, runtime)))) => {
                if executable || !runtime.runs_code_itself() {
                    return Ok(Some(name.to_owned()));
                }
                Err(self.not_executable(written, "run 'chmod +x' on it"))
            }
            (OnDisk::Folder(files), Some(Some((name, runtime)))) => {
                if runtime.entry(&files).is_some() {
                    return Ok(Some(name.to_owned()));
                }
                Err(self.no_entry(name, runtime, written))
            }
            (OnDisk::File { executable }, None) => self.of_file(written, path, executable).map(Some),
            (OnDisk::Folder(files), None) => self.of_folder(&files).map(Some),
        }
    }

    fn of_file(&self, written: &str, path: &Path, executable: bool) -> Result<String, Refusal> {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let takes = |runtime: &RuntimeSpec| runtime.extensions.iter().any(|own| own == ending);
        let names: Vec<_> =
            self.runtimes().filter(|(_, runtime)| takes(runtime)).map(|(name, _)| name).collect();
        match names.as_slice() {
            [name] => Ok((*name).to_owned()),
            [] if executable && self.runtimes().any(|(name, _)| name == PROGRAM) => Ok(PROGRAM.to_owned()),
            [] if ending.is_empty() => {
                Err(self.not_executable(written, "say what runs it with 'runtime:', or run 'chmod +x' on it"))
            }
            [] => {
                let why = format!("no runtime takes files ending in '.{ending}'");
                Err(self.no_runtime(why, self.say_which()))
            }
            several => Err(self.no_runtime(
                format!("several runtimes take files ending in '.{ending}'"),
                Hint::advise(format!("say which one: {}", choices(several))),
            )),
        }
    }

    fn of_folder(&self, files: &[String]) -> Result<String, Refusal> {
        let fitting =
            self.runtimes().filter_map(|(name, runtime)| Some((name, runtime, runtime.entry(files)?)));
        let mut fitting: Vec<_> = fitting.collect();
        if fitting.len() > 1 && fitting.iter().any(|(_, runtime, entry)| is_own(runtime, entry)) {
            // Who runs such a file by itself goes before who would run it if asked: main.js is js.
            fitting.retain(|(_, runtime, entry)| is_own(runtime, entry));
        }
        let names: Vec<_> = fitting.into_iter().map(|(name, ..)| name).collect();
        match names.as_slice() {
            [name] => Ok((*name).to_owned()),
            [] => {
                let entries: Vec<_> = self
                    .runtimes()
                    .filter(|(_, runtime)| !runtime.entries.is_empty())
                    .map(|(name, runtime)| format!("{} ({name})", runtime.entries.join(" or ")))
                    .collect();
                let hint = Hint::advise(format!("put one of these into the folder: {}", entries.join(", ")));
                Err(self.no_runtime("its folder has no file that a runtime would run", hint))
            }
            several => Err(self.no_runtime(
                "several runtimes find a file to run in its folder",
                Hint::advise(format!("say which one: {}", choices(several))),
            )),
        }
    }

    fn missing(&self, written: &str, path: &Path) -> Refusal {
        let (service, shown) = (self.service.to_owned(), written.to_owned());
        let beside = path.parent().map(self.around.look);
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let like = match &beside {
            Some(OnDisk::Folder(files)) => suggest::nearest(name, files.iter().map(String::as_str)),
            _ => None,
        };
        let hint = match (like, written.strip_suffix(name)) {
            (Some(like), Some(folder)) => Hint::DidYouMean(format!("{folder}{like}")),
            _ => Hint::Do("paths are relative to the folder of the manifest".to_owned()),
        };
        Box::new((ProblemKind::CodeMissing { service, path: shown }, Some(hint)))
    }

    fn not_executable(&self, written: &str, advice: &str) -> Refusal {
        self.no_runtime(format!("'{written}' is not executable"), Hint::advise(advice))
    }

    fn no_entry(&self, name: &str, runtime: &RuntimeSpec, written: &str) -> Refusal {
        let (service, path, runtime_name) = (self.service.to_owned(), written.to_owned(), name.to_owned());
        let hint = if runtime.entries.is_empty() {
            "name a file instead of its folder".to_owned()
        } else {
            format!("it runs {}; or name a file instead of its folder", runtime.entries.join(" or "))
        };
        Box::new((ProblemKind::NoEntry { service, runtime: runtime_name, path }, Some(Hint::Do(hint))))
    }

    fn no_runtime(&self, why: impl Into<String>, hint: Option<Hint>) -> Refusal {
        Box::new((ProblemKind::NoRuntime { service: self.service.to_owned(), why: why.into() }, hint))
    }

    fn say_which(&self) -> Option<Hint> {
        let names: Vec<_> = self.runtimes().map(|(name, _)| name).collect();
        Hint::advise(format!("say which one runs it: {}", choices(&names)))
    }
}

fn choices(names: &[&str]) -> String {
    let written: Vec<_> = names.iter().map(|name| format!("'runtime: {name}'")).collect();
    written.join(", ")
}

/// Whether a runtime runs files with this one's ending unless a manifest says otherwise.
fn is_own(runtime: &RuntimeSpec, entry: &str) -> bool {
    entry.rsplit_once('.').is_some_and(|(_, ending)| runtime.extensions.iter().any(|own| own == ending))
}
