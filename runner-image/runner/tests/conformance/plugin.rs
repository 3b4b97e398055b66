//! [`Plugin`]: a folder with a `plugin.yaml`, as far as its host has to be started from it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// A plugin that speaks the host protocol.
pub(crate) struct Plugin {
    pub(crate) name: &'static str,
    /// Where its files are.
    pub(crate) folder: PathBuf,
    /// How its host is started, with `{root}`, `{code}` and `{runner}` in it.
    command: Vec<String>,
    /// The first of its entry files.
    pub(crate) entry: &'static str,
}

impl Plugin {
    /// Those of the runner image, and the one of the documentation.
    pub(crate) fn all() -> Vec<Self> {
        [
            ("js", "runner-image/plugins/js", "main.js"),
            ("node", "runner-image/plugins/node", "main.js"),
            ("python", "runner-image/plugins/python", "main.py"),
            ("perl", "examples/plugins/perl", "main.pl"),
        ]
        .map(|(name, folder, entry)| {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
            let command = command(&fs::read_to_string(folder.join("plugin.yaml")).unwrap());
            Self { name, folder, command, entry }
        })
        .into()
    }

    /// The program of its host.
    pub(crate) fn program(&self) -> &str {
        &self.command[0]
    }

    /// Whether there is such a program.
    pub(crate) fn is_installed(&self) -> bool {
        self.program() == "{runner}" || find(self.program()).is_some()
    }

    /// The command for this root folder.
    pub(crate) fn command(&self, root: &Path) -> Vec<String> {
        let code = root.join("code").join(self.entry);
        let fill = |argument: &String| {
            argument
                .replace("{root}", root.to_str().unwrap())
                .replace("{code}", code.to_str().unwrap())
                .replace("{runner}", env!("CARGO_BIN_EXE_runner"))
        };
        let mut command: Vec<String> = self.command.iter().map(fill).collect();
        if let Some(program) = find(&command[0]) {
            command[0] = program.to_str().unwrap().to_owned();
        }
        command
    }
}

/// The command of a `plugin.yaml`, which all of these write on one line.
fn command(yaml: &str) -> Vec<String> {
    let line = yaml.lines().find_map(|line| line.trim().strip_prefix("command: [")).unwrap();
    line.trim_end_matches(']').split(", ").map(|argument| argument.trim_matches('"').to_owned()).collect()
}

fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}
