//! [`Current`]: the invocation during which the code runs that runs now.
//!
//! The engine does not remember who has awaited a promise. But a turn has one cause: a call that came in, an answer, a timer. What
//! runs in it, to its last promise job, belongs to the invocation that the cause belongs to: the one that was current when
//! the question was asked or the timer was set. (Who awaits a promise of somebody else's goes on as that one's, to the end
//! of the turn.)

use std::cell::RefCell;
use std::rc::Rc;

use rquickjs::{Ctx, Persistent, Result, Value};

/// What was current at some time.
pub(super) type Then = Option<Persistent<Value<'static>>>;

/// Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Current(Rc<RefCell<Then>>);

impl Current {
    /// What is current, to be gone back to.
    pub(super) fn now(&self) -> Then {
        self.0.borrow().clone()
    }

    /// The rest of the turn belongs to this.
    pub(super) fn set(&self, then: Then) {
        *self.0.borrow_mut() = then;
    }

    /// The same, with what the script knows as the invocation; `undefined` where there is none.
    pub(super) fn enter<'js>(&self, ctx: &Ctx<'js>, invocation: Value<'js>) {
        self.set((!invocation.is_undefined()).then(|| Persistent::save(ctx, invocation)));
    }

    /// The invocation, or `undefined`.
    ///
    /// # Errors
    /// Never, in the one engine that there is.
    pub(super) fn get<'js>(&self, ctx: &Ctx<'js>) -> Result<Value<'js>> {
        match self.now() {
            Some(invocation) => invocation.restore(ctx),
            None => Ok(Value::new_undefined(ctx.clone())),
        }
    }
}
