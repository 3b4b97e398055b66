//! From an order's command to a program that can be executed, and from the system's reasons against that to words for
//! who wrote the manifest.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What `{root}`, `{code}` and `{runner}` stand for in a command.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) root: PathBuf,
    pub(crate) code: PathBuf,
    pub(crate) runner: PathBuf,
}

/// Why a command cannot be run, with what a shell's exit code for it would be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("there is no command to run")]
    Empty,
    #[error("program '{program}' not found on PATH ({path}): install it, or name it by its path")]
    NotOnPath { program: String, path: String },
    #[error("program '{0}' not found")]
    NotFound(String),
    #[error("'{0}' is not executable: make it so with chmod +x")]
    NotExecutable(String),
    #[error("'{program}' is run by '{interpreter}' (its first line says so), which is not there")]
    NoInterpreter { program: String, interpreter: String },
    #[error("'{0}' is no program for this machine: it has no '#!' line and is no binary for it")]
    NoProgram(String),
    #[error("'{program}' cannot be executed: {error}")]
    Other { program: String, error: String },
    #[error("the folder '{folder}' cannot be entered: {error}")]
    Folder { folder: String, error: String },
}

impl CommandError {
    /// 127 where the program is not there, else 126.
    pub(crate) fn exit_code(&self) -> i32 {
        match self {
            Self::Empty | Self::NotOnPath { .. } | Self::NotFound(_) => 127,
            Self::NotExecutable(_)
            | Self::NoInterpreter { .. }
            | Self::NoProgram(_)
            | Self::Other { .. }
            | Self::Folder { .. } => 126,
        }
    }
}

impl Places {
    /// An argument with every place in it filled in. What is filled in is not looked into again.
    pub(crate) fn fill(&self, argument: &str) -> OsString {
        let mut filled = OsString::new();
        let mut rest = argument;
        while let Some(start) = rest.find('{') {
            let place = self.names().into_iter().find(|(name, _)| rest[start..].starts_with(name));
            let (end, text) = match place {
                Some((name, path)) => (start + name.len(), path.as_os_str()),
                None => (start + 1, "{".as_ref()),
            };
            filled.push(&rest[..start]);
            filled.push(text);
            rest = &rest[end..];
        }
        filled.push(rest);
        filled
    }

    fn names(&self) -> [(&'static str, &Path); 3] {
        [("{root}", &self.root), ("{code}", &self.code), ("{runner}", &self.runner)]
    }

    /// A path as its reader knows it: below the root folder, where it is there.
    pub(crate) fn show(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }
}

/// Finds a program as a shell does: by its path if it has a slash, else in the folders of `path`.
pub(crate) fn find(program: &Path, folder: &Path, path: &str) -> Result<PathBuf, CommandError> {
    let name = program.display().to_string();
    if name.is_empty() {
        return Err(CommandError::Empty);
    }
    if name.contains('/') {
        return Ok(folder.join(program));
    }
    let folders = path.split(':').filter(|folder| folder.starts_with('/'));
    let mut found =
        folders.map(|folder| Path::new(folder).join(program)).filter(|path| path.is_file()).peekable();
    let first = found.peek().cloned();
    match (found.find(|path| is_executable(path)), first) {
        (Some(program), _) => Ok(program),
        (None, Some(other)) => Err(CommandError::NotExecutable(other.display().to_string())),
        (None, None) => Err(CommandError::NotOnPath { program: name, path: path.into() }),
    }
}

/// Why the system would not execute this program.
pub(crate) fn explain(program: &Path, shown: String, error: &io::Error) -> CommandError {
    match error.kind() {
        io::ErrorKind::NotFound => match interpreter(program) {
            Some(interpreter) => CommandError::NoInterpreter { program: shown, interpreter },
            None if program.exists() => CommandError::NoProgram(shown),
            None => CommandError::NotFound(shown),
        },
        io::ErrorKind::PermissionDenied if program.is_file() && !is_executable(program) => {
            CommandError::NotExecutable(shown)
        }
        _ if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => {
            CommandError::NoProgram(shown)
        }
        _ => CommandError::Other { program: shown, error: error.to_string() },
    }
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.permissions().mode() & 0o111 != 0)
}

/// The interpreter in a script's first line.
fn interpreter(program: &Path) -> Option<String> {
    let mut line = Vec::new();
    BufReader::new(File::open(program).ok()?.take(256)).read_until(b'\n', &mut line).ok()?;
    let line = String::from_utf8_lossy(line.strip_prefix(b"#!")?).into_owned();
    line.split_whitespace().next().map(Into::into)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn places_are_filled_in_once() {
        let places = Places { root: "/r{code}".into(), code: "/c".into(), runner: "/x".into() };
        for (argument, filled) in [
            ("plain", "plain"),
            ("{code}", "/c"),
            ("--dir={root}/a:{runner}", "--dir=/r{code}/a:/x"),
            ("{codes} {cod {{code}", "{codes} {cod {/c"),
            ("${HOME} {}", "${HOME} {}"),
        ] {
            assert_eq!(places.fill(argument), filled);
        }
        assert_eq!(places.show(Path::new("/r{code}/a/b")), "a/b");
        assert_eq!(places.show(Path::new("/bin/sh")), "/bin/sh");
    }

    #[test]
    fn a_program_is_found_as_a_shell_finds_it() {
        let find = |program: &str, path| find(Path::new(program), Path::new("/f"), path);
        assert_eq!(find("sh", "/nowhere:/bin"), Ok("/bin/sh".into()));
        assert_eq!(find("./a", "/bin"), Ok("/f/./a".into()));
        assert_eq!(find("/a", "/bin"), Ok("/a".into()));
        assert_eq!(find("", "/bin"), Err(CommandError::Empty));
    }

    #[test]
    fn what_cannot_be_run_is_explained() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("script");
        fs::write(&script, "#!/no/such/node --flag\n").unwrap();
        let text = |error: &CommandError| error.to_string();
        let at = |error| text(&explain(&script, "code/script".into(), &io::Error::from_raw_os_error(error)));

        let missing = find(Path::new("pyton"), folder.path(), "/nowhere").unwrap_err();
        assert_eq!(
            text(&missing),
            "program 'pyton' not found on PATH (/nowhere): install it, or name it by its path"
        );
        assert_eq!(missing.exit_code(), 127);
        let plain = find(Path::new("script"), Path::new("/"), folder.path().to_str().unwrap()).unwrap_err();
        assert!(text(&plain).ends_with("script' is not executable: make it so with chmod +x"), "{plain}");
        assert_eq!(plain.exit_code(), 126);

        assert_eq!(
            at(libc_errno::ENOENT),
            "'code/script' is run by '/no/such/node' (its first line says so), which is not there"
        );
        assert_eq!(at(libc_errno::EACCES), "'code/script' is not executable: make it so with chmod +x");
        assert_eq!(
            at(libc_errno::ENOEXEC),
            "'code/script' is no program for this machine: it has no '#!' line and is no binary for it"
        );
        fs::remove_file(&script).unwrap();
        assert_eq!(at(libc_errno::ENOENT), "program 'code/script' not found");
    }

    mod libc_errno {
        use rustix::io::Errno;

        pub(super) const ENOENT: i32 = Errno::NOENT.raw_os_error();
        pub(super) const EACCES: i32 = Errno::ACCESS.raw_os_error();
        pub(super) const ENOEXEC: i32 = Errno::NOEXEC.raw_os_error();
    }
}
