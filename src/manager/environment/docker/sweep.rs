//! Removing what a killed orchestrator has left: every container says in its labels whose it is.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use bollard::query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder};
use rustix::fs::{FlockOperation, flock};

use super::engine::Engine;
use super::engine_error::{EngineError, refused};

/// The labels of our containers: the lock of its project, which its orchestrator and keeper hold; and for people, the
/// project, the service's replica and the start's generation.
pub(super) const LOCK: &str = "orchestrator.lock";
pub(super) const PROJECT: &str = "orchestrator.project";
pub(super) const SERVICE: &str = "orchestrator.service";
pub(super) const GENERATION: &str = "orchestrator.generation";

/// How often it is looked whether the engine has removed what it was told to, and how long apart.
const LOOKS: u32 = 250;
const LOOK: Duration = Duration::from_millis(20);

/// Removes every container of the project with this lock, which the caller holds, and waits until the engine has none;
/// answers with how many there were.
pub(super) async fn sweep_project(engine: &Engine, lock: &Path) -> Result<usize, EngineError> {
    let label = format!("{LOCK}={}", lock.display());
    let mut found = 0;
    for _ in 0..LOOKS {
        let left = labelled(engine, &label).await?;
        if left.is_empty() {
            break;
        }
        found = found.max(left.len());
        for (container, _) in &left {
            remove(engine, container).await?;
        }
        // Most are being removed already.
        tokio::time::sleep(LOOK).await;
    }
    Ok(found)
}

/// Removes every container of ours whose project nobody runs; answers with how many there were.
pub(super) async fn sweep_orphans(engine: &Engine) -> Result<usize, EngineError> {
    let mut removed = 0;
    for (container, lock) in labelled(engine, LOCK).await? {
        if !is_held(Path::new(&lock)) {
            remove(engine, &container).await?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// The containers with a label, each with its project's lock.
async fn labelled(engine: &Engine, label: &str) -> Result<Vec<(String, String)>, EngineError> {
    let filters = HashMap::from([("label", vec![label])]);
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    let found = engine.api.list_containers(Some(options)).await.map_err(refused("list its containers"))?;
    let ours = found.into_iter().filter_map(|container| {
        let lock = container.labels?.remove(LOCK)?;
        Some((container.id?, lock))
    });
    Ok(ours.collect())
}

/// Removes a container, with all that runs in it. One that is gone, or is going, is as good.
pub(super) async fn remove(engine: &Engine, container: &str) -> Result<(), EngineError> {
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    match engine.api.remove_container(container, Some(options)).await {
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 404 | 409, .. }) | Ok(()) => {
            Ok(())
        }
        Err(error) => Err(refused("remove a container")(error)),
    }
}

/// Whether somebody holds a project's lock. Where the lock is not to be read, somebody may.
fn is_held(lock: &Path) -> bool {
    match File::open(lock) {
        Ok(file) => flock(&file, FlockOperation::NonBlockingLockShared).is_err(),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    }
}
