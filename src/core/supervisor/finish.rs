//! How a project ends: it was asked to, an essential service ended, or nothing is left that would ever run.

use super::{Action, Ending, Supervisor};
use crate::replica::{Life, Rest};
use crate::report::{CrashReason, EventKind, Finish, FinishCause};

impl Supervisor {
    /// Begins the end of the project. An end that has begun goes on as it began.
    pub(super) fn begin_end(&mut self, cause: FinishCause, exit_code: Option<u8>) {
        if self.ending == Ending::No {
            self.actions.push(Action::Report(EventKind::Closing { cause: cause.clone() }));
            self.ending = Ending::Closing { cause, exit_code };
            self.nodes.iter_mut().for_each(|node| node.wanted = false);
        }
    }

    /// An essential service that has ended by itself takes everything with it.
    pub(super) fn watch_essential(&mut self) {
        let ended = self.nodes.iter().find(|node| node.spec.essential && node.known && node.has_ended());
        if let Some(node) = ended {
            let service = node.spec.name.clone();
            let exit_code = node.failure().map_or(0, CrashReason::exit_code);
            self.begin_end(FinishCause::Essential { service }, Some(exit_code));
        }
    }

    /// Says that the project has ended, once nothing of it is there.
    pub(super) fn watch_end(&mut self) {
        if self.ending == Ending::Over || !self.nodes.iter().all(crate::service_node::ServiceNode::is_closed)
        {
            return;
        }
        let (cause, exit_code) = match &self.ending {
            Ending::Closing { cause, exit_code } => (cause.clone(), *exit_code),
            _ if self.nothing_is_left() => (FinishCause::NothingLeft, None),
            _ => return,
        };
        let failed = self.nodes.iter().any(|node| node.failure().is_some());
        let exit_code = exit_code.unwrap_or(u8::from(failed));
        self.ending = Ending::Over;
        self.actions.push(Action::Finish(Finish { exit_code, cause }));
    }

    /// Something has run, nothing waits for a restart, and nobody has stopped anything that he might start again. What
    /// is still wanted then waits for what will never come.
    fn nothing_is_left(&self) -> bool {
        let known = self.nodes.iter().any(|node| node.known);
        let held = self.nodes.iter().any(|node| node.held);
        let waits = |life: &Life| matches!(life, Life::Closed(Rest::BackingOff { .. }));
        let restarts = self.nodes.iter().flat_map(|node| &node.replicas).any(|replica| waits(&replica.life));
        known && !held && !restarts
    }
}
