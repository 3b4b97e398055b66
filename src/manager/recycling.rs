//! Has replicas replaced that have run for long enough, as their manifest says. When that is, `core::recycling` decides; when
//! it is done, the Supervisor.

use std::time::Duration;

use orchestrator_core::manifest::{Recycle, Service};
use orchestrator_core::recycling::due;
use orchestrator_core::report::Snapshot;
use orchestrator_core::supervisor::Event;
use tokio::time::Instant;

use crate::event_stream::now_millis;
use crate::services_manager::ServicesManager;

/// How often it is looked at. Figures of use are measured no more often.
const INTERVAL: Duration = Duration::from_secs(1);

/// When to look, where one of these services is to be replaced after some use.
pub(crate) fn first_look<'a>(services: impl IntoIterator<Item = &'a Service>) -> Option<Instant> {
    let limited = services.into_iter().any(|service| service.recycle != Recycle::default());
    limited.then(|| Instant::now() + INTERVAL)
}

impl ServicesManager {
    /// Looks who has run for long enough, and says so.
    pub(crate) fn recycle(&mut self) {
        self.recycling_due = Some(Instant::now() + INTERVAL);
        let mut snapshot = Snapshot::clone(&self.snapshots.borrow());
        self.router.fill(&mut snapshot);
        let now = now_millis();
        for view in &snapshot.services {
            let limits = self.services.get(&view.name).map(|service| service.recycle).unwrap_or_default();
            for (start, cause) in due(&limits, view, now) {
                self.tell(Event::Recycle(start, cause));
            }
        }
    }
}
