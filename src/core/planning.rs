//! What has to be done so that a project that runs becomes what its manifest says now, and no more than that.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::manifest::{Code, Kind, Service};
use crate::name::ServiceName;
use crate::supervisor::Changes;

/// What is done with one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The service.
    pub service: ServiceName,
    /// What is done.
    #[serde(flatten)]
    pub change: Change,
    /// The keys of the manifest that say something else now; `code` also where its files have changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<String>,
}

/// What can be done with a service. What touches more also does what touches less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum Change {
    /// It is new: it is started, after what it depends on.
    Start,
    /// It is closed, after what depended on it, and forgotten.
    Remove,
    /// It is closed, after what depends on it, and all that is started again: it cannot run twice for a moment.
    Restart,
    /// Each of its replicas is replaced by a new start, while others go on using it.
    Reload,
    /// It has another number of replicas. Those that stay are not touched.
    Scale {
        /// How many the manifest said.
        from: u32,
        /// How many it says now.
        to: u32,
    },
    /// Other rules hold for it from now on. Nothing of it is touched.
    Adjust,
}

/// What leads from the services that were asked for to those that are now, by name. `code_changed` says whether what runs of a
/// service is not what was asked for: its files are others now, or it could not be replaced when they were.
#[must_use]
pub fn plan(
    before: &BTreeMap<ServiceName, &Service>,
    after: &BTreeMap<ServiceName, Service>,
    code_changed: &dyn Fn(&ServiceName) -> bool,
) -> Vec<Step> {
    let removed = before.keys().filter(|name| !after.contains_key(*name));
    let removed =
        removed.map(|name| Step { service: name.clone(), change: Change::Remove, because: Vec::new() });
    let others = after.values().filter_map(|service| match before.get(&service.name) {
        None => Some(Step { service: service.name.clone(), change: Change::Start, because: Vec::new() }),
        Some(before) => step(before, service, code_changed(&service.name)),
    });
    removed.chain(others).collect()
}

/// What the Supervisor is asked for, so that these steps are taken and the services are these.
#[must_use]
pub fn changes(steps: &[Step], after: &BTreeMap<ServiceName, Service>) -> Changes {
    let with = |wanted: fn(&Change) -> bool| {
        let steps = steps.iter().filter(|step| wanted(&step.change));
        steps.map(|step| step.service.clone()).collect::<Vec<_>>()
    };
    let numbers = steps.iter().filter(|step| step.because.iter().any(|key| key == "replicas"));
    Changes {
        services: after.values().map(Into::into).collect(),
        removed: with(|change| *change == Change::Remove),
        started: with(|change| *change == Change::Start),
        adjusted: with(|change| matches!(change, Change::Adjust | Change::Scale { .. })),
        reloaded: with(|change| *change == Change::Reload),
        restarted: with(|change| *change == Change::Restart),
        scaled: numbers.map(|step| step.service.clone()).collect(),
    }
}

/// What is done with a service that stays. Every key is named here, so none can be forgotten.
fn step(before: &Service, after: &Service, code_changed: bool) -> Option<Step> {
    let Service {
        name,
        kind,
        code,
        folder,
        runtime,
        args,
        env,
        isolation,
        image,
        sandbox,
        permissions,
        depends_on,
        replicas,
        max_in_flight,
        max_surge,
        listen,
        share,
        ready,
        alive,
        recycle,
        on_give_up,
        restart,
        start_timeout,
        close_timeout,
        essential,
    } = before;
    let of_the_start = [
        ("code", code_changed || *code != after.code || *folder != after.folder),
        ("runtime", *runtime != after.runtime),
        ("args", *args != after.args),
        ("env", *env != after.env),
        ("isolation", *isolation != after.isolation),
        ("image", *image != after.image),
        ("sandbox", *sandbox != after.sandbox),
        ("permissions", *permissions != after.permissions),
        ("listen", *listen != after.listen),
        ("ready", *ready != after.ready),
        ("alive", *alive != after.alive),
    ];
    let of_the_rules = [
        ("depends_on", *depends_on != after.depends_on),
        ("max_in_flight", *max_in_flight != after.max_in_flight),
        ("max_surge", *max_surge != after.max_surge),
        ("share", *share != after.share),
        ("recycle", *recycle != after.recycle),
        ("on_give_up", *on_give_up != after.on_give_up),
        ("restart", *restart != after.restart),
        ("start_timeout", *start_timeout != after.start_timeout),
        ("close_timeout", *close_timeout != after.close_timeout),
        ("essential", *essential != after.essential),
    ];
    let (kinds, numbers) = (*kind != after.kind, *replicas != after.replicas);
    let any = |keys: &[(&str, bool)]| keys.iter().any(|(_, changed)| *changed);
    let change = if kinds || any(&of_the_start) {
        if kinds || cannot_run_twice(after) { Change::Restart } else { Change::Reload }
    } else if numbers {
        Change::Scale { from: replicas.get(), to: after.replicas.get() }
    } else if any(&of_the_rules) {
        Change::Adjust
    } else {
        return None;
    };
    let keys = [("kind", kinds), ("replicas", numbers)];
    let keys = keys.iter().chain(&of_the_start).chain(&of_the_rules).filter(|(_, changed)| *changed);
    Some(Step { service: name.clone(), change, because: keys.map(|(key, _)| (*key).to_owned()).collect() })
}

/// A job would do its work twice. The programs of images are written to have their data for themselves.
fn cannot_run_twice(service: &Service) -> bool {
    service.kind == Kind::Job || service.code == Code::Image
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.service)?;
        match self.change {
            Change::Start => f.write_str("start")?,
            Change::Remove => f.write_str("remove")?,
            Change::Restart => f.write_str("restart")?,
            Change::Reload => f.write_str("reload")?,
            Change::Scale { from, to } => write!(f, "scale from {from} to {to}")?,
            Change::Adjust => f.write_str("adjust, nothing is restarted")?,
        }
        if self.because.is_empty() { Ok(()) } else { write!(f, " ({})", self.because.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::tests::read_here;

    /// What leads from the one to the other, where the code of these has changed.
    fn steps(before: &str, after: &str, changed: &[&str]) -> Vec<String> {
        let read = |services: &str| read_here(&format!("services: {{{services}}}")).unwrap().services;
        let (before, after) = (read(before), read(after));
        let before = before.iter().map(|(name, service)| (name.clone(), service)).collect();
        let steps = plan(&before, &after, &|name| changed.contains(&name.as_str()));
        steps.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn nothing_leads_to_where_one_is() {
        let all = "web: {code: web.js, replicas: 2}, job: {code: a.py, kind: job}";
        assert_eq!(steps(all, all, &[]), [""; 0]);
    }

    #[test]
    fn a_service_is_touched_no_more_than_what_differs_wants() {
        for (after, step) in [
            ("restart: never", "adjust, nothing is restarted (restart)"),
            (
                "close_timeout: 3s, recycle: {age: 1h}",
                "adjust, nothing is restarted (recycle, close_timeout)",
            ),
            ("replicas: 3", "scale from 1 to 3 (replicas)"),
            ("replicas: 3, restart: never", "scale from 1 to 3 (replicas, restart)"),
            ("args: [a]", "reload (args)"),
            ("args: [a], replicas: 3", "reload (replicas, args)"),
            ("permissions: {limits: {memory: 9MiB}}", "reload (permissions)"),
            ("listen: {http: 8080}", "reload (listen)"),
            ("kind: job", "restart (kind, restart)"),
        ] {
            let after = format!("web: {{code: web.js, {after}}}");
            assert_eq!(steps("web: {code: web.js}", &after, &[]), [format!("web: {step}")], "{after}");
        }
    }

    #[test]
    fn what_cannot_run_beside_its_successor_is_restarted() {
        assert_eq!(steps("web: {code: web.js}", "web: {code: web.js}", &["web"]), ["web: reload (code)"]);
        let job = "job: {code: web.js, kind: job}";
        assert_eq!(steps(job, job, &["job"]), ["job: restart (code)"]);
        let stock = |args: &str| format!("db: {{isolation: docker, image: redis, args: [{args}]}}");
        assert_eq!(steps(&stock("a"), &stock("b"), &[]), ["db: restart (args)"]);
    }

    #[test]
    fn the_supervisor_is_asked_for_what_the_steps_say() {
        let after = "web: {code: web.js, replicas: 3, args: [a]}, new: {code: web.js}";
        let after = read_here(&format!("services: {{{after}}}")).unwrap().services;
        let before = read_here("services: {web: {code: web.js}, old: {code: web.js}}").unwrap().services;
        let before = before.iter().map(|(name, service)| (name.clone(), service)).collect();
        let changes = changes(&plan(&before, &after, &|_| false), &after);
        let names =
            |names: &[ServiceName]| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!((names(&changes.started), names(&changes.restarted)), ("new".into(), String::new()));
        assert_eq!((names(&changes.reloaded), names(&changes.scaled)), ("web".into(), "web".into()));
        assert_eq!(changes.services.len(), 2);
    }
}
