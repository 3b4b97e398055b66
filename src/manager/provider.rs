//! [`Provider`]: what one start has of the orchestrator besides being controlled: other services, children, configuration.

use std::sync::Arc;

use orchestrator_core::ServiceName;
use orchestrator_core::manifest::Service;
use orchestrator_core::permissions::Sandbox;
use orchestrator_core::routing::{Code, Fault};
use orchestrator_port::message::service::{FromService, Payload};

use crate::ChildReader;
use crate::config::{Config, plain};
use crate::inbox::{Happening, Inbox};
use crate::recording::Recording;
use crate::router::{Responder, Wanted, Wire};

/// Serves one start.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) wire: Wire,
    pub(crate) service: Arc<Service>,
    pub(crate) children: ChildReader,
    pub(crate) config: Config,
    pub(crate) inbox: Inbox,
    /// Where what the start uses goes, where that is recorded.
    pub(crate) recording: Option<Recording>,
}

impl Provider {
    /// Takes in what the service says.
    pub(crate) async fn hear(&self, message: FromService, payload: Payload) {
        if let Some(wanted) = self.wire.hear(message, payload) {
            self.provide(wanted).await;
        }
    }

    async fn provide(&self, wanted: Wanted) {
        let service = self.service.name.clone();
        match wanted {
            Wanted::GetConfig { id, name } => {
                let responder = self.wire.responder(id);
                let done = move |value: Result<Option<_>, Fault>| {
                    responder.answer(value.map(plain));
                };
                self.config.get(service, name, Box::new(done));
            }
            Wanted::SetConfig { id, name, value } => {
                let responder = self.wire.responder(id);
                let done = move |done: Result<(), Fault>| responder.answer(done.map(|()| Payload::default()));
                self.config.set(service, name, value, Box::new(done));
            }
            Wanted::WatchConfig { id } => {
                self.wire.watch_config();
                self.wire.responder(id).answer(Ok(Payload::default()));
            }
            Wanted::CreateChild { id, spec } => self.create_child(self.wire.responder(id), spec),
            Wanted::CloseChild { id, service: child } => {
                let responder = self.wire.responder(id);
                match ServiceName::parse(&child) {
                    Ok(name) if name.parent().as_ref() == Some(&service) => {
                        let responder = Some(responder);
                        self.inbox.tell(Happening::CloseChild { name, responder }).await;
                    }
                    _ => {
                        let why = format!("'{child}' is no child of {service}");
                        responder.answer(Err(Fault::new(Code::NotFound, why)));
                    }
                }
            }
        }
    }

    /// Beside what else the start has to say: reading looks at disks.
    fn create_child(&self, responder: Responder, spec: Payload) {
        let (children, mut parent) = (self.children.clone(), Arc::clone(&self.service));
        if self.recording.is_some() {
            // Only the service itself is watched: what it opens is held as ever.
            Arc::make_mut(&mut parent).sandbox = Sandbox::Strict;
        }
        let (others, inbox) = (self.wire.known(), self.inbox.clone());
        tokio::spawn(async move {
            match children.read(spec, parent, others).await {
                Ok(child) => inbox.tell(Happening::OpenChild { child: Box::new(child), responder }).await,
                Err(fault) => {
                    inbox.mention(Happening::Refused {
                        what: format!("cannot open a child: {}", fault.message),
                    });
                    responder.answer(Err(fault));
                }
            }
        });
    }
}
