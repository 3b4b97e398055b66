//! What the engine is asked for: [`body`]. Nothing that a manifest says is handed on to the engine as it is: every field
//! is set here, from what the service is granted.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bollard::models::{
    ContainerCreateBody, DeviceMapping, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum,
    HostConfigLogConfig, Mount, MountBindOptions, MountBindOptionsPropagationEnum, MountType,
    ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};
use orchestrator_port::container;
use orchestrator_port::keeper::Limits;
use orchestrator_port::launch::Confinement;

/// The most processes of a container whose manifest says nothing of it: no service needs that many, and a machine bears
/// them.
const PROCESSES: u64 = 4096;

/// The runner's own process is not the service's to pay for.
const RUNNERS_OWN: u64 = 1;

/// The most descriptors that a runner needs for itself.
const DESCRIPTORS: u64 = 4096;

/// The bytes of code: what a bundle may have, and the plugin's own files.
const CODE_BYTES: u64 = 2 << 30;

/// The bytes of secrets, all together.
const SECRET_BYTES: u64 = 16 << 20;

/// The bytes of shared memory.
const SHARED_BYTES: i64 = 16 << 20;

/// Among the first to be ended when the machine's memory is used up.
const OOM_SCORE: i64 = 500;

/// Whoever the service is in its container, and on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum User {
    /// Chosen here.
    Own { uid: u32, gid: u32 },
    /// Whom the image wants it to be.
    OfImage(String),
}

/// What a container is made from.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The image, by a name that means one content.
    pub(crate) image: String,
    /// Who it is.
    pub(crate) user: User,
    /// The start's own folder on the host, with its sockets in it.
    pub(crate) folder: PathBuf,
    /// The runner's program on the host, where the image has none.
    pub(crate) runner: Option<PathBuf>,
    /// The folders that the image wants to write to: in memory, and as large as the service's own temporary one.
    pub(crate) volumes: Vec<PathBuf>,
    /// What all of it may use together.
    pub(crate) limits: Limits,
    /// What its service is held to.
    pub(crate) confinement: Confinement,
    /// Whose container it is.
    pub(crate) labels: HashMap<String, String>,
}

/// The container that a plan means.
pub(crate) fn body(plan: &Plan) -> ContainerCreateBody {
    let user = match &plan.user {
        User::Own { uid, gid } => format!("{uid}:{gid}"),
        User::OfImage(user) => user.clone(),
    };
    ContainerCreateBody {
        image: Some(plan.image.clone()),
        user: Some(user),
        hostname: Some(plan.confinement.hostname.clone()),
        entrypoint: Some(vec![container::RUNNER.into(), "container".into()]),
        working_dir: Some("/".into()),
        env: Some(Vec::new()),
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".into()]), ..HealthConfig::default() }),
        // The ticket comes by its standard input, and what it has to complain of by its standard error.
        open_stdin: Some(true),
        stdin_once: Some(true),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(false),
        labels: Some(plan.labels.clone()),
        host_config: Some(host_config(plan)),
        ..ContainerCreateBody::default()
    }
}

fn host_config(plan: &Plan) -> HostConfig {
    let Plan { limits, confinement, .. } = plan;
    let memory = limits.memory.map(signed);
    let most = |name: &str, most: u64| ResourcesUlimits {
        name: Some(name.into()),
        soft: Some(signed(most)),
        hard: Some(signed(most)),
    };
    let hosts = confinement.hosts.iter().map(|(name, address)| format!("{name}:{address}"));
    HostConfig {
        network_mode: Some("none".into()),
        readonly_rootfs: Some(true),
        privileged: Some(false),
        cap_drop: Some(vec!["ALL".into()]),
        security_opt: Some(vec!["no-new-privileges".into()]),
        memory,
        memory_swap: memory,
        nano_cpus: limits.cpu.map(|thousandths| i64::from(thousandths) * 1_000_000),
        pids_limit: Some(signed(limits.pids.unwrap_or(PROCESSES) + RUNNERS_OWN)),
        ulimits: Some(vec![
            most("nofile", confinement.descriptors.unwrap_or_default().max(DESCRIPTORS)),
            most("core", 0),
        ]),
        // The runner is the first process itself: nobody can trace it or read what it has in memory.
        init: Some(false),
        auto_remove: Some(true),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: Some(0),
        }),
        ipc_mode: Some("private".into()),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        shm_size: Some(SHARED_BYTES),
        oom_score_adj: Some(OOM_SCORE),
        log_config: Some(HostConfigLogConfig { typ: Some("none".into()), config: Some(HashMap::new()) }),
        tmpfs: Some(tmpfs(plan)),
        mounts: Some(mounts(plan)),
        devices: Some(confinement.devices.iter().map(|path| device(path)).collect()),
        extra_hosts: Some(hosts.collect()),
        ..HostConfig::default()
    }
}

fn tmpfs(plan: &Plan) -> HashMap<String, String> {
    let Confinement { scratch_bytes, scratch_entries, .. } = &plan.confinement;
    let own = match &plan.user {
        User::Own { uid, gid } => format!("mode=0755,uid={uid},gid={gid}"),
        // Whoever that is, there is nobody else.
        User::OfImage(_) => "mode=0777".to_owned(),
    };
    let scratch =
        format!("rw,noexec,nosuid,nodev,size={scratch_bytes},nr_inodes={scratch_entries},mode=1777");
    let volumes = plan.volumes.iter().map(|path| (path.to_string_lossy().into_owned(), scratch.clone()));
    let own = [
        ("/tmp".to_owned(), scratch.clone()),
        ("/service".into(), format!("rw,exec,nosuid,nodev,size={CODE_BYTES},{own}")),
        ("/run/secrets".into(), format!("rw,noexec,nosuid,nodev,size={SECRET_BYTES},{own}")),
    ];
    // What is ours stays as it is, whatever an image wants.
    volumes.chain(own).collect()
}

fn mounts(plan: &Plan) -> Vec<Mount> {
    let Confinement { read, write, .. } = &plan.confinement;
    let granted = |read_only: bool| move |path: &PathBuf| bind(path, path, read_only);
    let start = bind(&plan.folder, Path::new(container::FOLDER), true);
    let runner = plan.runner.iter().map(|runner| bind(runner, Path::new(container::RUNNER), true));
    let read = read.iter().map(granted(true));
    let write = write.iter().map(granted(false));
    [start].into_iter().chain(runner).chain(read).chain(write).collect()
}

/// What is mounted below a folder on the host is not in there: an older engine would leave it writable.
fn bind(source: &Path, target: &Path, read_only: bool) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(source.to_string_lossy().into_owned()),
        target: Some(target.to_string_lossy().into_owned()),
        read_only: Some(read_only),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
            non_recursive: Some(true),
            ..MountBindOptions::default()
        }),
        ..Mount::default()
    }
}

fn device(path: &Path) -> DeviceMapping {
    let path = path.to_string_lossy().into_owned();
    DeviceMapping {
        path_on_host: Some(path.clone()),
        path_in_container: Some(path),
        cgroup_permissions: Some("rw".into()),
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
