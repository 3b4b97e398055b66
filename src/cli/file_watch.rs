//! [`FileWatch`]: waits until a file changes that a project is made of.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use orchestrator_core::manifest::Code;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use crate::exit_code::Code as ExitCode;
use crate::failure::Failure;
use crate::load::Loaded;

/// How long nothing may change before a change counts: who saves a file writes several.
const QUIET: Duration = Duration::from_millis(200);

/// How long a change waits at most where changes never end.
const PATIENCE: Duration = Duration::from_secs(2);

/// What folders hold that is no code: it is not shipped, either.
const LEFT_OUT: &str = ".git";

/// The manifest, the variables beside it, and the code of its services.
#[derive(Debug)]
pub(crate) struct FileWatch {
    changes: mpsc::Receiver<()>,
    _watcher: RecommendedWatcher,
}

impl FileWatch {
    /// From now on.
    ///
    /// # Errors
    /// Where the kernel watches no more files for this user.
    pub(crate) fn of(loaded: &Loaded) -> Result<Self, Failure> {
        let code = loaded.manifest.services.values().filter_map(|service| match &service.code {
            Code::Path(path) => Some(path.clone()),
            Code::Inline(_) | Code::Image => None,
        });
        let own = [loaded.file.clone(), loaded.folder.join(".env")];
        let watched: Vec<PathBuf> = own.into_iter().chain(code).collect();
        // One that waits to be heard stands for all that follow.
        let (changed, changes) = mpsc::channel(1);
        let those = watched.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let counts = |event: notify::Event| {
                is_change(event.kind) && event.paths.iter().any(|path| touches(&those, path))
            };
            if event.is_ok_and(counts) {
                let _ = changed.try_send(());
            }
        });
        let mut watcher = watcher.map_err(|error| failed(&error))?;
        for path in &watched {
            // A file is put in the place of another one by who saves it, so it is its folder that tells.
            let (folder, mode) = match path.parent() {
                Some(parent) if !path.is_dir() => (parent, RecursiveMode::NonRecursive),
                _ => (path.as_path(), RecursiveMode::Recursive),
            };
            watcher.watch(folder, mode).map_err(|error| failed(&error))?;
        }
        Ok(Self { changes, _watcher: watcher })
    }

    /// Waits for a change, and until nothing changes any more.
    pub(crate) async fn changed(&mut self) {
        let _ = self.changes.recv().await;
        let latest = Instant::now() + PATIENCE;
        let quiet = async { while timeout(QUIET, self.changes.recv()).await.is_ok() {} };
        let _ = timeout_at(latest, quiet).await;
    }
}

fn is_change(kind: EventKind) -> bool {
    matches!(kind, EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_))
}

/// Whether something that changed is one of these, or in one of them.
fn touches(watched: &[PathBuf], changed: &Path) -> bool {
    let inside =
        |folder: &PathBuf| changed.strip_prefix(folder).is_ok_and(|rest| !rest.starts_with(LEFT_OUT));
    watched.iter().any(inside)
}

fn failed(error: &notify::Error) -> Failure {
    Failure::new(ExitCode::Failed, format!("cannot watch files: {error}"))
        .hint("where there are too many, allow more: 'sysctl fs.inotify.max_user_watches=524288'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_watched_folder_counts_and_what_is_beside_a_watched_file_does_not() {
        let watched = [PathBuf::from("/shop/manifest.yaml"), PathBuf::from("/shop/web")];
        for (path, counts) in [
            ("/shop/manifest.yaml", true),
            ("/shop/manifest.yaml.swp", false),
            ("/shop/web/a/b.js", true),
            ("/shop/web/.git/index", false),
            ("/shop/website", false),
        ] {
            assert_eq!(touches(&watched, Path::new(path)), counts, "{path}");
        }
    }
}
