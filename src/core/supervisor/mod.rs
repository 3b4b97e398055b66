//! The [`Supervisor`]: the state machine that keeps the rules of the lifecycle. It is told what happened and answers
//! with what to do; it does nothing itself and has no clock.
//!
//! ```text
//!                       Create                      Ready
//!   Closed(rest) ------------------> Starting ----------------> Running
//!      ^  ^                             |  |                     |  |
//!      |  |        closing, and nothing |  | Crashed             |  | Crashed, Completed
//!      |  |        depends on it: Close |  | (too late): Destroy |  | Destroy
//!      |  |                             v  v                     v  v
//!      |  +---------------- Ended ---- Closing <-----------------+--+
//!      |
//!      +-- rest: idle -> may start again            backing off -> idle when the wait is over
//!                gave up, failed, completed -> stays closed
//! ```
//!
//! Every event is a fact about one replica, or a request about some services. When it has been taken in,
//! [`reconcile`](Supervisor::reconcile) goes over the graph until nothing changes any more: what must close
//! (`close.rs`), what may start (`start.rs`) and what may be replaced (`reload.rs`), whether the project has ended (`finish.rs`).

mod action;
mod apply;
mod close;
mod crash;
mod event;
mod finish;
mod goal;
mod refusal;
mod reload;
mod request;
mod scale;
mod start;
#[cfg(test)]
mod tests;
mod timers;
mod view;

use std::sync::Arc;

use crate::name::{ReplicaId, StartId};
use crate::replica::{Life, Replica};
use crate::report::FinishCause;
use crate::service_graph::{GraphError, ServiceGraph};
use crate::service_node::{NodeSpec, ServiceNode};

pub use action::Action;
pub use event::{Changes, Event, Request};
pub use goal::{Goal, Unmet};
pub use refusal::Refusal;
pub use timers::{Moment, Timer};

/// The state of a project, and the rules by which it changes.
#[derive(Clone, Debug)]
pub struct Supervisor {
    graph: Arc<ServiceGraph>,
    /// By their place in the graph.
    nodes: Vec<ServiceNode>,
    timers: timers::Timers,
    ending: Ending,
    /// What has been decided since the last answer.
    actions: Vec<Action>,
}

/// Whether the project is ending.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Ending {
    /// It is not.
    No,
    /// Everything closes.
    Closing {
        cause: FinishCause,
        /// The exit code that an essential service left.
        exit_code: Option<u8>,
    },
    /// It has: nothing happens any more.
    Over,
}

impl Supervisor {
    /// A project of these services. None of them is wanted yet.
    ///
    /// # Errors
    /// Where they form no graph.
    pub fn new(specs: impl IntoIterator<Item = NodeSpec>) -> Result<Self, GraphError> {
        let nodes = specs.into_iter().map(ServiceNode::new).collect();
        let (graph, nodes) = order(nodes)?;
        Ok(Self { graph, nodes, timers: timers::Timers::default(), ending: Ending::No, actions: Vec::new() })
    }

    /// Takes in what happened at this moment and answers what to do, in this order.
    ///
    /// # Errors
    /// Where a request cannot be honoured; nothing has changed then. Facts are never refused.
    pub fn handle(&mut self, now: Moment, event: Event) -> Result<Vec<Action>, Refusal> {
        match event {
            Event::Request(request) => self.take_request(request)?,
            Event::Phase(start, phase) => self.progress(&start, |progress| progress.phase = phase),
            Event::NotReady(start, said) => self.progress(&start, |progress| progress.detail = Some(said)),
            Event::Ready(start) => self.take_ready(&start),
            Event::Completed(start) => self.take_completed(now, &start),
            Event::Crashed(start, reason) => self.take_crash(now, &start, reason),
            Event::Recycle(start, cause) => self.recycle(now, &start, cause),
            Event::CloseRequested(start) => self.take_close_request(&start),
            Event::Ended(start) => self.take_ended(now, &start),
        }
        Ok(self.conclude(now))
    }

    /// A service is on its way out of the project.
    #[must_use]
    pub fn is_leaving(&self, name: &crate::name::ServiceName) -> bool {
        self.graph.place(name).is_some_and(|place| self.nodes[place].removing)
    }

    /// A service runs on as it was, because what was to replace it failed.
    #[must_use]
    pub fn is_behind(&self, name: &crate::name::ServiceName) -> bool {
        self.graph.place(name).is_some_and(|place| self.nodes[place].not_reloaded.is_some())
    }

    /// The earliest moment at which [`handle_timeouts`](Self::handle_timeouts) has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        self.timers.next()
    }

    /// Takes in that this moment has come, and answers what to do.
    pub fn handle_timeouts(&mut self, now: Moment) -> Vec<Action> {
        for (start, timer) in self.timers.due(now) {
            self.fire(now, &start, timer);
        }
        self.conclude(now)
    }

    /// The timers that are set.
    pub fn armed(&self) -> impl Iterator<Item = (&StartId, Timer)> {
        self.timers.armed()
    }

    /// Takes in that one timer has run out, whenever it was due: for checks that try every order.
    pub fn handle_timeout(&mut self, now: Moment, start: &StartId, timer: Timer) -> Vec<Action> {
        self.fire(now, start, timer);
        self.conclude(now)
    }

    fn fire(&mut self, now: Moment, start: &StartId, timer: Timer) {
        if !self.timers.take(start, timer) {
            return;
        }
        match timer {
            Timer::Start => self.start_is_late(now, start),
            Timer::Close => self.close_is_late(start),
            Timer::BackOff => self.back_off_is_over(start),
        }
    }

    fn conclude(&mut self, now: Moment) -> Vec<Action> {
        self.reconcile(now);
        self.report_changes();
        std::mem::take(&mut self.actions)
    }

    /// Brings everything to where the rules want it, one step after another, until there is no step left.
    fn reconcile(&mut self, now: Moment) {
        loop {
            self.watch_essential();
            self.decide_closing();
            let mut changed = self.close_what_must(now);
            changed |= self.retire_what_may(now);
            changed |= self.close_retiring(now);
            changed |= self.settle_closed();
            changed |= self.start_what_may(now);
            changed |= self.reload_what_may(now);
            if !changed {
                break;
            }
        }
        self.watch_end();
    }

    /// The replica, if this is its present start. What an older start still says is ignored (lifecycle rule 8).
    fn current(&mut self, start: &StartId) -> Option<&mut Replica> {
        let replica = self.replica(&start.replica)?;
        (replica.generation == start.generation).then_some(replica)
    }

    /// The replica, if this is its second start.
    fn with_second(&mut self, start: &StartId) -> Option<&mut Replica> {
        let replica = self.replica(&start.replica)?;
        let second = replica.second.as_ref().map(|second| second.generation);
        (second == Some(start.generation)).then_some(replica)
    }

    fn replica(&mut self, id: &ReplicaId) -> Option<&mut Replica> {
        let place = self.graph.place(&id.service)?;
        self.nodes[place].replicas.get_mut(usize::try_from(id.index).ok()?.checked_sub(1)?)
    }

    /// Makes the graph anew, when a child has come or gone.
    fn reorder(&mut self, nodes: Vec<ServiceNode>) -> Result<(), GraphError> {
        (self.graph, self.nodes) = order(nodes)?;
        Ok(())
    }
}

/// Puts nodes in the order of their graph.
fn order(mut nodes: Vec<ServiceNode>) -> Result<(Arc<ServiceGraph>, Vec<ServiceNode>), GraphError> {
    let graph = ServiceGraph::new(nodes.iter().map(|node| (&node.spec.name, &node.spec.depends_on)))?;
    nodes.sort_by_key(|node| graph.place(&node.spec.name));
    Ok((Arc::new(graph), nodes))
}

impl Life {
    fn closing_then(&mut self) -> Option<&mut crate::replica::Rest> {
        match self {
            Self::Closing { then, .. } => Some(then),
            _ => None,
        }
    }
}
