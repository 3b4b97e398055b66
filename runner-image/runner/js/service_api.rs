//! [`ServiceApi`]: the module `orchestrator`, as services import it. docs/services.md says what is in it.

use std::sync::Arc;

use rquickjs::module::Declared;
use rquickjs::{Ctx, Function, Module, Object, Result, Value};

use super::host_channel::{HostSender, ToRunner};
use super::io::Io;
use super::output::{Output, Stream};
use super::talk::Talk;
use super::text;

/// What the module is made of: it finds these as `import.meta.host`, which no other module has.
const SOURCE: &str = include_str!("service_api.js");

/// Who the service is, and whom it speaks to.
pub(super) struct ServiceApi {
    /// Its name.
    pub(super) service: String,
    /// The number of this replica.
    pub(super) replica: u32,
    /// Where a wish to be closed goes.
    pub(super) sender: Arc<HostSender>,
    /// Where log lines go.
    pub(super) output: Output,
    /// Files, requests and secrets.
    pub(super) io: Io,
    /// Other services.
    pub(super) talk: Talk,
}

impl ServiceApi {
    /// Declares the module under this name.
    ///
    /// # Errors
    /// Where there is no memory for it.
    pub(super) fn declare<'js>(&self, ctx: &Ctx<'js>, name: &str) -> Result<Module<'js, Declared>> {
        let module = Module::declare(ctx.clone(), name, SOURCE)?;
        module.meta()?.set("host", self.natives(ctx)?)?;
        Ok(module)
    }

    fn natives<'js>(&self, ctx: &Ctx<'js>) -> Result<Object<'js>> {
        let natives = Object::new(ctx.clone())?;
        natives.set("service", &*self.service)?;
        natives.set("replica", self.replica)?;
        let sender = Arc::clone(&self.sender);
        natives.set("close", Function::new(ctx.clone(), move || sender.send(&ToRunner::Close))?)?;
        let io = self.io.clone();
        natives.set("io", Function::new(ctx.clone(), move |ctx: Ctx<'js>| io.made(&ctx))?)?;
        let talk = self.talk.clone();
        let api = move |ctx: Ctx<'js>| talk.made(&ctx)?.get::<_, Object<'js>>("api");
        natives.set("talk", Function::new(ctx.clone(), api)?)?;
        for (name, stream) in [("writeOut", Stream::Stdout), ("writeErr", Stream::Stderr)] {
            let output = self.output.clone();
            let write =
                move |ctx: Ctx<'js>, line: Value<'js>| output.write_line(stream, &text::of(&ctx, &line));
            natives.set(name, Function::new(ctx.clone(), write)?)?;
        }
        Ok(natives)
    }
}
