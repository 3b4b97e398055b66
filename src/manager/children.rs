//! Children: services that a running service opens below itself. How they are written is the core's matter
//! ([`orchestrator_core::manifest::read_child`]); here they are counted, and become part of the project.

use std::fmt;
use std::sync::Arc;

use orchestrator_core::ServiceName;
use orchestrator_core::manifest::{ChildError, Service};
use orchestrator_core::permissions::{Backend, over_budget, unenforceable};
use orchestrator_core::routing::{Code, Fault};
use orchestrator_core::supervisor::{Event, Goal, Request};
use orchestrator_port::message::service::Payload;
use tokio::sync::oneshot;

use crate::environment::Containers;
use crate::inbox::{Happening, Inbox};
use crate::preflight::seen_by;
use crate::recycling::first_look;
use crate::router::Responder;
use crate::service_container::chain;
use crate::services_manager::{ServicesManager, Waiting};

/// Reads what a service asks for below itself: its JSON, the service, the names of all others.
#[derive(Clone)]
pub struct ChildReader(Arc<Read>);

type Read = dyn Fn(&[u8], &Service, &[String]) -> Result<Service, ChildError> + Send + Sync;

impl ChildReader {
    /// A reader that may look at files, but does not wait for anything.
    pub fn new(
        read: impl Fn(&[u8], &Service, &[String]) -> Result<Service, ChildError> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(read))
    }

    /// Reads a child, on a thread that may wait for a disk.
    pub(crate) async fn read(
        &self,
        spec: Payload,
        parent: Arc<Service>,
        others: Vec<String>,
    ) -> Result<Service, Fault> {
        let read = Arc::clone(&self.0);
        let child = tokio::task::spawn_blocking(move || read(&spec.bytes, &parent, &others)).await;
        match child {
            Ok(Ok(child)) => Ok(child),
            Ok(Err(error @ ChildError::Wrong(_))) => Err(Fault::new(Code::NotFound, error.to_string())),
            Ok(Err(error)) => Err(Fault::new(Code::Denied, error.to_string())),
            Err(error) => Err(Fault::new(Code::Unavailable, error.to_string())),
        }
    }
}

impl fmt::Debug for ChildReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChildReader")
    }
}

impl ServicesManager {
    /// Makes a child part of the project; its parent is answered when it runs, or never will.
    pub(crate) fn open_child(&mut self, child: Service, inbox: Inbox, responder: Responder) {
        let name = child.name.clone();
        if let Err(fault) = self.admit(&child) {
            return responder.answer(Err(fault));
        }
        self.router.know(&child);
        let request = Request::Create { child: (&child).into(), opener: inbox.start().clone() };
        let goal = Goal::of(&request);
        self.recycling_due = self.recycling_due.or_else(|| first_look([&child]));
        self.services.insert(name.clone(), Arc::new(child));
        match self.supervisor.handle(self.now(), Event::Request(request)) {
            Err(refusal) => {
                self.services.remove(&name);
                self.router.forget(&name);
                responder.answer(Err(Fault::new(Code::Unavailable, refusal.to_string())));
            }
            Ok(actions) => {
                self.perform_all(actions);
                let (answer, answered) = oneshot::channel();
                self.waiting.push(Waiting { goal, answer });
                tokio::spawn(async move {
                    match answered.await {
                        Ok(Ok(())) => responder.answer(Ok(json(&name))),
                        Ok(Err(error)) => {
                            inbox.tell(Happening::CloseChild { name, responder: None }).await;
                            responder.answer(Err(Fault::new(Code::Unavailable, chain(&error))));
                        }
                        Err(_) => {}
                    }
                });
            }
        }
    }

    /// Whether there may be one more: for each of those above it, and within their limits.
    fn admit(&self, child: &Service) -> Result<(), Fault> {
        if self.services.contains_key(&child.name) {
            return Err(Fault::new(Code::Unavailable, format!("'{}' is there already", child.name)));
        }
        let above = std::iter::successors(child.name.parent(), ServiceName::parent);
        for above in above.filter_map(|name| self.services.get(&name)) {
            let prefix = format!("{}/", above.name);
            let below: Vec<_> =
                self.services.values().filter(|service| service.name.as_str().starts_with(&prefix)).collect();
            let max = above.permissions.children.as_ref().map_or(0, |grants| grants.max);
            if below.len() >= max as usize {
                let name = &above.name;
                let why = format!(
                    "{name} has {} children, which is the most: services.{name}.permissions.children: {{ max: {} }}",
                    below.len(),
                    max + 1
                );
                return Err(Fault::new(Code::Denied, why));
            }
            let limits: Vec<_> = below
                .iter()
                .map(|service| &***service)
                .chain([child])
                .map(|service| &service.permissions.limits)
                .collect();
            if let Some(excess) = over_budget(&above.permissions.limits, &limits) {
                return Err(Fault::new(
                    Code::Denied,
                    format!("the children of {} together: {excess}", above.name),
                ));
            }
        }
        let backend = Backend::of(child.isolation, child.sandbox);
        let engine = self.docker.as_ref().map(Containers::controllers);
        let by = seen_by(backend, &self.capabilities, engine);
        let refused = unenforceable(&child.name, &child.permissions, backend, &by);
        if let Some(refused) = refused.first() {
            return Err(Fault::new(Code::Denied, refused.to_string()));
        }
        self.shipper.check(child).map_err(|error| Fault::new(Code::Unavailable, chain(&error)))
    }

    /// Closes a child and forgets it.
    pub(crate) fn close_child(&mut self, name: ServiceName, responder: Option<Responder>) {
        let request = Request::Remove(name);
        let goal = Goal::of(&request);
        let answer = match self.supervisor.handle(self.now(), Event::Request(request)) {
            Err(refusal) => Err(Fault::new(Code::NotFound, refusal.to_string())),
            Ok(actions) => {
                self.perform_all(actions);
                Ok(())
            }
        };
        let Some(responder) = responder else { return };
        if let Err(fault) = answer {
            return responder.answer(Err(fault));
        }
        let (answer, answered) = oneshot::channel();
        self.waiting.push(Waiting { goal, answer });
        tokio::spawn(async move {
            let closed = answered.await;
            responder.answer(match closed {
                Ok(Ok(())) => Ok(Payload::default()),
                Ok(Err(error)) => Err(Fault::new(Code::Unavailable, chain(&error))),
                Err(_) => return,
            });
        });
    }
}

fn json(name: &ServiceName) -> Payload {
    Payload { bytes: format!("\"{name}\"").into(), json: None }
}
