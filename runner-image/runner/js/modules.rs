//! [`Modules`]: what the code of a service can import: files of its own folder, and `orchestrator`.
//!
//! A module is named by its path relative to the folder of the code, and so it is in stacks. Nothing outside of that
//! folder can be imported, neither by `..` nor by a symbolic link.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::Declared;
use rquickjs::{Ctx, Error, Exception, Module, Result};

use super::service_api::ServiceApi;

/// The name of the built-in module.
const BUILT_IN: &str = "orchestrator";

/// Resolves and loads the modules of one service.
#[derive(Clone)]
pub(super) struct Modules {
    /// The folder of the code, absolute and without symbolic links.
    folder: PathBuf,
    api: Rc<ServiceApi>,
}

impl Modules {
    /// The modules below this folder.
    ///
    /// # Errors
    /// Where there is no such folder.
    pub(super) fn new(folder: &Path, api: ServiceApi) -> io::Result<Self> {
        Ok(Self { folder: folder.canonicalize()?, api: Rc::new(api) })
    }

    /// The name of the module in this file.
    ///
    /// # Errors
    /// Where there is no such file in the folder of the code.
    pub(super) fn name_of(&self, file: &Path) -> io::Result<String> {
        let file = self.folder.join(file).canonicalize()?;
        let outside =
            || io::Error::new(io::ErrorKind::InvalidInput, "it is outside of the folder of the code");
        let name = file.strip_prefix(&self.folder).ok().and_then(Path::to_str);
        name.map(str::to_owned).ok_or_else(outside)
    }

    /// Declares the module of this name, and those that it imports.
    ///
    /// # Errors
    /// With the exception that an `import` of it throws.
    pub(super) fn declare<'js>(&self, ctx: &Ctx<'js>, name: &str) -> Result<Module<'js, Declared>> {
        if name == BUILT_IN {
            return self.api.declare(ctx, BUILT_IN);
        }
        let source = self.name_of(Path::new(name)).and_then(|_| fs::read(self.folder.join(name)));
        let source = source.map_err(|error| cannot_import(ctx, name, &reason(&error)))?;
        Module::declare(ctx.clone(), name, source)
    }
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

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        io::ErrorKind::InvalidInput => "it is outside of the folder of the code".to_owned(),
        _ => error.to_string(),
    }
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
