//! [`Modules`]: what the code of a service can import: files of its own folder, and `orchestrator`.
//!
//! A module is named by its path relative to the folder of the code, and so it is in stacks. Nothing outside of that
//! folder can be imported, neither by `..` nor by a symbolic link. All of it is read before any of it runs: from then
//! on the process opens no file.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;
use std::rc::Rc;

use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::Declared;
use rquickjs::{Ctx, Error, Exception, Module, Result};

use super::service_api::ServiceApi;
use super::talk::{SERVICE, SERVICE_BESIDE, SERVICE_SOURCE, TALK};

/// The name of the built-in module.
const BUILT_IN: &str = "orchestrator";

/// The endings of what can be imported.
const ENDINGS: [&str; 2] = ["js", "mjs"];

/// Resolves and loads the modules of one service.
#[derive(Clone)]
pub(super) struct Modules {
    /// By name. What has been loaded is not kept here too.
    sources: Rc<RefCell<HashMap<String, Source>>>,
    api: Rc<ServiceApi>,
}

/// What was found under a module's name.
enum Source {
    Text(Vec<u8>),
    Loaded,
    Folder,
    Outside,
    Unreadable(io::Error),
}

impl Modules {
    /// The modules below this folder, and the entry file, whatever its ending.
    ///
    /// # Errors
    /// Where there is no such folder.
    pub(super) fn read(folder: &Path, entry: &Path, api: ServiceApi) -> io::Result<(Self, String)> {
        let folder = folder.canonicalize()?;
        let mut sources = HashMap::new();
        read_folder(&folder, &folder, &mut sources)?;
        let entry = folder.join(entry).canonicalize()?;
        let name = name_in(&folder, &entry).ok_or(io::ErrorKind::InvalidInput)?;
        sources.insert(name.clone(), Source::Text(fs::read(entry)?));
        Ok((Self { sources: Rc::new(RefCell::new(sources)), api: Rc::new(api) }, name))
    }

    /// Declares the module of this name, and those that it imports.
    ///
    /// # Errors
    /// With the exception that an `import` of it throws.
    pub(super) fn declare<'js>(&self, ctx: &Ctx<'js>, name: &str) -> Result<Module<'js, Declared>> {
        if name == BUILT_IN {
            return self.api.declare(ctx, BUILT_IN);
        }
        if name == SERVICE {
            return Module::declare(ctx.clone(), SERVICE, SERVICE_SOURCE);
        }
        let source = self.take(name).map_err(|why| cannot_import(ctx, name, &why))?;
        Module::declare(ctx.clone(), name, source)
    }

    /// A module is loaded once, so its text is given away.
    fn take(&self, name: &str) -> std::result::Result<Vec<u8>, String> {
        let mut sources = self.sources.borrow_mut();
        let Some(source) = sources.get_mut(name) else {
            let ending = Path::new(name).extension().and_then(|ending| ending.to_str()).unwrap_or_default();
            return Err(match ENDINGS.contains(&ending) {
                true => "there is no such file".into(),
                false => "only files that end in .js or .mjs can be".into(),
            });
        };
        match source {
            Source::Text(text) => {
                let text = std::mem::take(text);
                *source = Source::Loaded;
                Ok(text)
            }
            Source::Loaded => Err("it did not load before".into()),
            Source::Folder => Err("it is a folder".into()),
            Source::Outside => Err("it is outside of the folder of the code".into()),
            Source::Unreadable(error) => Err(error.to_string()),
        }
    }
}

/// Reads what can be imported below `folder`, which is `root` or in it. Links are followed as long as they stay in
/// `root`; where they make a circle, the system stops following them.
fn read_folder(root: &Path, folder: &Path, sources: &mut HashMap<String, Source>) -> io::Result<()> {
    for found in fs::read_dir(folder)? {
        let path = found?.path();
        let Some(name) = name_in(root, &path) else { continue };
        let source = match path.canonicalize() {
            Ok(real) if !real.starts_with(root) => Source::Outside,
            Ok(real) if real.is_dir() => {
                read_folder(root, &path, sources)?;
                Source::Folder
            }
            Ok(real) if !can_be_imported(&path) || !real.is_file() => continue,
            Ok(real) => fs::read(real).map_or_else(Source::Unreadable, Source::Text),
            Err(error) => Source::Unreadable(error),
        };
        sources.insert(name, source);
    }
    Ok(())
}

fn can_be_imported(path: &Path) -> bool {
    path.extension().and_then(|ending| ending.to_str()).is_some_and(|ending| ENDINGS.contains(&ending))
}

/// A file's name as a module.
fn name_in(root: &Path, path: &Path) -> Option<String> {
    path.strip_prefix(root).ok()?.to_str().map(str::to_owned)
}

impl Resolver for Modules {
    fn resolve<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        base: &str,
        name: &str,
        _attributes: Option<ImportAttributes<'js>>,
    ) -> Result<String> {
        if name == BUILT_IN {
            return Ok(name.to_owned());
        }
        // Nobody else can name it.
        if (base == BUILT_IN && name == SERVICE) || (base == TALK && name == SERVICE_BESIDE) {
            return Ok(SERVICE.to_owned());
        }
        if !name.starts_with("./") && !name.starts_with("../") {
            let only = "only \"orchestrator\" and files of the service's own folder (\"./file.js\") can be";
            return Err(cannot_import(ctx, name, only));
        }
        join(base, name).ok_or_else(|| cannot_import(ctx, name, "it is outside of the folder of the code"))
    }
}

impl Loader for Modules {
    fn load<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        name: &str,
        _attributes: Option<ImportAttributes<'js>>,
    ) -> Result<Module<'js, Declared>> {
        self.declare(ctx, name)
    }
}

/// The path of what the module `base` calls `name`; none if that leaves the folder.
fn join(base: &str, name: &str) -> Option<String> {
    let mut path: Vec<&str> = base.split('/').collect();
    path.pop();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                path.pop()?;
            }
            part => path.push(part),
        }
    }
    Some(path.join("/"))
}

fn cannot_import(ctx: &Ctx<'_>, name: &str, why: &str) -> Error {
    Exception::throw_reference(ctx, &format!("cannot import \"{name}\": {why}"))
}

#[cfg(test)]
mod tests {
    use super::join;

    #[test]
    fn a_module_is_found_relative_to_the_one_that_imports_it_and_never_outside_of_the_folder() {
        let cases = [
            ("main.js", "./lib/db.js", Some("lib/db.js")),
            ("lib/db.js", "./pool.js", Some("lib/pool.js")),
            ("lib/db.js", "../main.js", Some("main.js")),
            ("lib/db.js", ".././/lib/./x.js", Some("lib/x.js")),
            ("lib/db.js", "../../main.js", None),
            ("main.js", "./lib/../../main.js", None),
        ];
        for (base, name, expected) in cases {
            assert_eq!(join(base, name).as_deref(), expected, "{name} from {base}");
        }
    }
}
