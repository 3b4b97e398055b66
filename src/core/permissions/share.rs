//! [`Share`]: who of the other members of a fabric may call a service. What they may do there, their own manifests grant them;
//! this is the say of the one who is called.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::{Denial, Pattern};
use crate::name::ServiceName;

/// Who of elsewhere may call a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Share {
    /// Whoever has the fabric's key, and is granted it there.
    #[default]
    Everybody,
    /// Nobody: it is not even told that it is there.
    Nobody,
    /// Those.
    Only(Vec<Shared>),
}

/// What some callers may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// Who.
    pub from: Caller,
    /// Which methods.
    pub call: BTreeSet<Pattern>,
}

/// Callers of other members: `web@shop` is the service web of the project shop; each half may be `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    service: String,
    member: String,
}

/// Why a text means no callers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no caller")]
pub struct CallerError(String);

impl Share {
    /// Whether somebody of another member may call that method: a service, as its member vouches, and the member's name.
    ///
    /// # Errors
    /// With what would allow it.
    pub fn may_call(
        &self,
        target: &ServiceName,
        (service, member): (&str, &str),
        method: &str,
    ) -> Result<(), Denial> {
        let allowed = match self {
            Self::Everybody => true,
            Self::Nobody => false,
            Self::Only(rules) => rules
                .iter()
                .filter(|rule| rule.from.covers(service, member))
                .any(|rule| rule.call.iter().any(|pattern| pattern.covers(method))),
        };
        if allowed {
            return Ok(());
        }
        Err(Denial {
            who: format!("{service}@{member}"),
            tried: format!("call {target}.{method}"),
            grant: format!("services.{target}.share: [{{ from: {service}@{member}, call: [\"{method}\"] }}]"),
        })
    }
}

impl Caller {
    fn covers(&self, service: &str, member: &str) -> bool {
        let covers = |written: &str, name: &str| written == "*" || written == name;
        covers(&self.service, service) && covers(&self.member, member)
    }
}

impl FromStr for Caller {
    type Err = CallerError;

    fn from_str(text: &str) -> Result<Self, CallerError> {
        let wrong = || CallerError(text.to_owned());
        // `@operator` and `@program` are no services' names.
        let (service, member) = text.rsplit_once('@').ok_or_else(wrong)?;
        let is_name = |name: &str| name == "*" || ServiceName::parse(name).is_ok();
        let is_caller = is_name(service) || matches!(service, "@operator" | "@program");
        if !is_caller || !is_name(member) {
            return Err(wrong());
        }
        Ok(Self { service: service.to_owned(), member: member.to_owned() })
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.service, self.member)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(from: &str, call: &str) -> Share {
        Share::Only(vec![Shared { from: from.parse().unwrap(), call: [call.parse().unwrap()].into() }])
    }

    #[test]
    fn who_is_called_decides_who_may() {
        let stock = ServiceName::parse("stock").unwrap();
        let may = |share: &Share, caller, method| share.may_call(&stock, caller, method).is_ok();
        assert!(may(&Share::Everybody, ("web", "shop"), "get"));
        assert!(!may(&Share::Nobody, ("web", "shop"), "get"));
        for (from, caller, allowed) in [
            ("web@shop", ("web", "shop"), true),
            ("web@shop", ("web", "other"), false),
            ("web@shop", ("other", "shop"), false),
            ("web@*", ("web", "other"), true),
            ("*@shop", ("@operator", "shop"), true),
            ("@program@reports", ("@program", "reports"), true),
            ("@program@*", ("web", "reports"), false),
        ] {
            assert_eq!(may(&only(from, "get"), caller, "get"), allowed, "{from} {caller:?}");
            assert!(!may(&only(from, "get"), caller, "set"), "{from} {caller:?}");
        }
        assert_eq!(
            only("web@shop", "get").may_call(&stock, ("@program", "reports"), "get").unwrap_err().to_string(),
            "@program@reports may not call stock.get; to allow it: \
             services.stock.share: [{ from: @program@reports, call: [\"get\"] }]"
        );
    }

    #[test]
    fn a_caller_is_a_service_and_a_member() {
        for text in ["web@shop", "*@*", "@operator@shop", "@program@*"] {
            assert_eq!(text.parse::<Caller>().unwrap().to_string(), text);
        }
        for text in ["web", "@shop", "web@", "Web@shop", "@somebody@shop", "*"] {
            assert_eq!(text.parse::<Caller>(), Err(CallerError(text.to_owned())));
        }
    }
}
