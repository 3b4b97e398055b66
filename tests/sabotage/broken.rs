//! The mechanisms, and how each is broken: [`BROKEN`].

use std::collections::BTreeMap;
use std::env::consts::ARCH;

use libc::*;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// A mechanism, broken.
pub(crate) struct Broken {
    /// Which one, and how.
    pub(crate) what: &'static str,
    /// The calls that the filter catches.
    calls: &'static [Caught],
    /// The error that they end with; 0 where they only seem to be done.
    answer: c_int,
    /// What a shell of the tester's does first.
    pub(crate) first: Option<&'static str>,
    /// What a shell of the project's user does then.
    pub(crate) then: Option<&'static str>,
    /// What the service is granted, because it needs the mechanism.
    pub(crate) grant: &'static str,
    /// Any of these has to be said; nothing where everything goes on working.
    pub(crate) said: &'static [&'static str],
}

/// A call; with a condition on one of its arguments: the argument, a mask, and what is left under it.
struct Caught(c_long, Option<(u8, u64, u64)>);

const fn all(call: c_long) -> Caught {
    Caught(call, None)
}

/// With exactly this argument.
const fn with(call: c_long, argument: u8, value: u64) -> Caught {
    Caught(call, Some((argument, u32::MAX as u64, value)))
}

const FINE: Broken =
    Broken { what: "", calls: &[], answer: 0, first: None, then: None, grant: "", said: &[] };

pub(crate) const BROKEN: [Broken; 16] = [
    Broken { what: "nothing", ..FINE },
    // Refused, as by a kernel without it.
    Broken {
        what: "landlock is not there",
        calls: &[
            all(SYS_landlock_create_ruleset),
            all(SYS_landlock_add_rule),
            all(SYS_landlock_restrict_self),
        ],
        answer: ENOSYS,
        said: &["missing=\"Landlock\""],
        ..FINE
    },
    Broken {
        what: "landlock cannot be entered",
        calls: &[all(SYS_landlock_restrict_self)],
        answer: EPERM,
        said: &["missing=\"confinement: "],
        ..FINE
    },
    Broken {
        what: "system call filters are not there",
        calls: &[all(SYS_seccomp), with(SYS_prctl, 0, PR_SET_SECCOMP as u64)],
        answer: ENOSYS,
        said: &["missing=\"confinement: "],
        ..FINE
    },
    Broken {
        what: "namespaces are forbidden",
        calls: &[all(SYS_unshare)],
        answer: EPERM,
        said: &["missing=\"namespaces: "],
        ..FINE
    },
    Broken {
        what: "mounting is forbidden",
        calls: &[all(SYS_mount)],
        answer: EPERM,
        said: &["missing=\"namespaces: "],
        ..FINE
    },
    Broken {
        what: "the root cannot be changed",
        calls: &[all(SYS_pivot_root)],
        answer: EPERM,
        said: &["missing=\"namespaces: "],
        ..FINE
    },
    Broken {
        what: "there is no room for user namespaces",
        then: Some(
            "exec unshare --user --map-root-user sh -c \
             'echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"' sh \"$@\"",
        ),
        said: &["missing=\"namespaces: "],
        ..FINE
    },
    Broken {
        what: "control groups cannot be written",
        first: Some(
            "for mount in $(awk '$3 ~ /^cgroup/ { print $2 }' /proc/mounts); do \
             mount -o remount,bind,ro \"$mount\" || exit 1; done; exec \"$@\"",
        ),
        grant: "limits: { memory: 64MiB, cpu: 0.5 }",
        said: &["permission=limits.memory backend=process/strict missing=\"control group 'memory'"],
        ..FINE
    },
    // Only seemingly done.
    Broken {
        what: "landlock lies",
        calls: &[all(SYS_landlock_restrict_self)],
        said: &[
            "does not hold: no signals to its runner, no files but the granted, no writing of what may only be read",
        ],
        ..FINE
    },
    Broken {
        what: "system call filters lie",
        calls: &[all(SYS_seccomp)],
        said: &["does not hold: no namespaces of its own"],
        ..FINE
    },
    Broken {
        what: "giving up capabilities lies",
        calls: &[all(SYS_capset), with(SYS_prctl, 0, PR_CAPBSET_DROP as u64)],
        said: &["does not hold: no capabilities"],
        ..FINE
    },
    Broken {
        what: "closing descriptors lies",
        calls: &[all(SYS_close_range)],
        said: &["does not hold: no inherited descriptors"],
        ..FINE
    },
    Broken {
        what: "making namespaces lies",
        calls: &[all(SYS_unshare)],
        said: &["missing=\"namespaces: "],
        ..FINE
    },
    Broken { what: "mounting lies", calls: &[all(SYS_mount)], said: &["missing=\"namespaces: "], ..FINE },
    Broken {
        what: "changing the root lies",
        calls: &[all(SYS_pivot_root)],
        said: &["missing=\"namespaces: "],
        ..FINE
    },
];

pub(crate) fn named(what: &str) -> &'static Broken {
    BROKEN.iter().find(|broken| broken.what == what).expect("it is one of them")
}

impl Broken {
    /// Installs the filter over this process and all that it starts.
    pub(crate) fn install(&self) {
        if !self.calls.is_empty() {
            seccompiler::apply_filter(&self.filter()).expect("the filter can be installed");
        }
    }

    fn filter(&self) -> BpfProgram {
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
        for Caught(call, condition) in self.calls {
            let conditions = condition.map(|(argument, mask, value)| {
                let compared = SeccompCmpOp::MaskedEq(mask);
                let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, compared, value);
                SeccompRule::new(vec![condition.expect("a call has six arguments")])
                    .expect("it has a condition")
            });
            rules.entry(*call).or_default().extend(conditions);
        }
        let caught = SeccompAction::Errno(self.answer.unsigned_abs());
        let processor = ARCH.try_into().expect("there are filters for it");
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, caught, processor);
        filter.and_then(TryInto::try_into).expect("it makes a program")
    }
}
