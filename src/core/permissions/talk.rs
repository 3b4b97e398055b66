//! What services may say to each other: [`Permissions::may_call`] and [`may_hear`].
//!
//! A service and its child belong together: a parent may call its children, and events go freely between the two.
//! A child may call its parent only where that is granted, as it may call anybody else.

use std::collections::BTreeSet;

use super::{Denial, Pattern, Permissions};
use crate::name::ServiceName;

impl Permissions {
    /// Whether this service may call that method of the other.
    ///
    /// # Errors
    /// With what would allow it.
    pub fn may_call(&self, service: &ServiceName, target: &ServiceName, method: &str) -> Result<(), Denial> {
        let own = service == target || target.parent().as_ref() == Some(service);
        let granted = self
            .services
            .get(target)
            .is_some_and(|granted| granted.call.iter().any(|pattern| pattern.covers(method)));
        if own || granted {
            return Ok(());
        }
        let tried = format!("call {target}.{method}");
        Err(Denial { who: service.to_string(), tried, grant: line(service, target, "call", method) })
    }
}

/// Whether an event of one service reaches the other, if that one listens: where either of the two is granted it.
///
/// # Errors
/// With what would allow it.
pub fn may_hear(
    listener: (&ServiceName, &Permissions),
    emitter: (&ServiceName, &Permissions),
    event: &str,
) -> Result<(), Denial> {
    let ((to, listens), (from, emits)) = (listener, emitter);
    let own = to == from || from.parent().as_ref() == Some(to) || to.parent().as_ref() == Some(from);
    let covers = |patterns: &BTreeSet<Pattern>| patterns.iter().any(|pattern| pattern.covers(event));
    let heard = || listens.services.get(from).is_some_and(|grants| covers(&grants.hear));
    let said = || emits.services.get(to).is_some_and(|grants| covers(&grants.emit));
    if own || heard() || said() {
        return Ok(());
    }
    let tried = format!("hear {event} of {from}");
    Err(Denial { who: to.to_string(), tried, grant: line(to, from, "hear", event) })
}

fn line(service: &ServiceName, target: &ServiceName, key: &str, name: &str) -> String {
    format!("services.{service}.permissions.services: [{{ name: {target}, {key}: [\"{name}\"] }}]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::permissions::ServiceGrants;

    fn name(text: &str) -> ServiceName {
        ServiceName::parse(text).unwrap()
    }

    fn granted(target: &str, call: &[&str], emit: &[&str], hear: &[&str]) -> Permissions {
        let patterns = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let grants = ServiceGrants { call: patterns(call), emit: patterns(emit), hear: patterns(hear) };
        Permissions { services: [(name(target), grants)].into(), ..Permissions::default() }
    }

    #[test]
    fn a_call_needs_its_method_to_be_granted() {
        let permissions = granted("auth", &["verify", "user.*"], &[], &[]);
        let web = name("web");
        assert_eq!(permissions.may_call(&web, &name("auth"), "user.find"), Ok(()));
        assert_eq!(
            permissions.may_call(&web, &name("auth"), "reset").unwrap_err().to_string(),
            "web may not call auth.reset; to allow it: \
             services.web.permissions.services: [{ name: auth, call: [\"reset\"] }]"
        );
        assert!(permissions.may_call(&web, &name("db"), "verify").is_err());
    }

    #[test]
    fn a_parent_calls_its_children_and_not_the_other_way_round() {
        let none = Permissions::default();
        assert_eq!(none.may_call(&name("web"), &name("web/one"), "f"), Ok(()));
        assert!(none.may_call(&name("web/one"), &name("web"), "f").is_err());
        assert!(none.may_call(&name("web/one"), &name("web/two"), "f").is_err());
        assert!(none.may_call(&name("web"), &name("web/one/deep"), "f").is_err(), "that is its child's");
    }

    #[test]
    fn an_event_is_granted_from_either_side() {
        let (web, stock, none) = (name("web"), name("stock"), Permissions::default());
        let hears = granted("stock", &[], &[], &["stock.*"]);
        let emits = granted("web", &[], &["stock.*"], &[]);
        assert_eq!(may_hear((&web, &hears), (&stock, &none), "stock.changed"), Ok(()));
        assert_eq!(may_hear((&web, &none), (&stock, &emits), "stock.changed"), Ok(()));
        assert_eq!(may_hear((&web, &none), (&name("web/one"), &none), "anything"), Ok(()));
        assert!(may_hear((&name("web/two"), &none), (&name("web/one"), &none), "anything").is_err());
        let wrong_way_round = may_hear((&web, &emits), (&stock, &hears), "stock.changed");
        assert_eq!(
            wrong_way_round.unwrap_err().to_string(),
            "web may not hear stock.changed of stock; to allow it: \
             services.web.permissions.services: [{ name: stock, hear: [\"stock.changed\"] }]"
        );
    }
}
