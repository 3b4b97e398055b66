//! [`ProblemKind`]: everything that can be wrong with a manifest or a plugin, as types. Their texts are what a person
//! reads after `error:`.

use std::fmt;

use super::element::duration::DurationError;
use super::element::on_give_up::WebhookError;
use super::element::size::SizeError;
use super::fabric::{FabricKeyError, RedisUrlError};
use super::listener::ListenError;
use super::problem::{Found, Owner};
use crate::name::{NameError, ServiceName};
use crate::permissions::{CallerError, EndpointError, PatternError};

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProblemKind {
    // The file as a whole.
    /// It has more bytes than anybody writes by hand.
    #[error("the file is larger than {} KiB", .limit / 1024)]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// It is not UTF-8.
    #[error("the file is not UTF-8 text")]
    NotUtf8,
    /// There is nothing in it.
    #[error("the file is empty")]
    Empty,
    /// It is not YAML.
    #[error("this is not YAML: {message}")]
    Syntax {
        /// The parser's own words.
        message: String,
    },
    /// A second document begins.
    #[error("a second YAML document begins here, where one is expected")]
    SeveralDocuments,
    /// More levels than anything has.
    #[error("lists and mappings are nested deeper than {limit} levels")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// More values, with every alias written out, than anything has.
    #[error("the file has more than {limit} values, counting what its aliases stand for")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// More text, with every alias written out, than anything has.
    #[error("the file has more than {} KiB of text, counting what its aliases stand for", .limit / 1024)]
    TooLong {
        /// The limit, in bytes.
        limit: usize,
    },

    // Keys and values.
    /// A key that nothing reads.
    #[error("unknown key '{key}' in {owner}")]
    UnknownKey {
        /// The key.
        key: String,
        /// What it is written in.
        owner: Owner,
    },
    /// A key that is there twice.
    #[error("the key '{key}' is written twice, first on line {first}")]
    DuplicateKey {
        /// The key.
        key: String,
        /// The line of the one that counts.
        first: u32,
    },
    /// A key that is a list or a mapping.
    #[error("a key is to be text, not {0}")]
    KeyIsNoText(Found),
    /// A `<<` whose value cannot be merged.
    #[error("'<<' merges a mapping or a list of mappings, not {0}")]
    MergeOfOther(Found),
    /// A `<<` where what is granted has to be written out.
    #[error("'<<' cannot be used in {owner}")]
    MergeRefused {
        /// Where it is.
        owner: Owner,
    },
    /// A key that has to be there.
    #[error("{owner} has no '{key}'")]
    MissingKey {
        /// The key.
        key: &'static str,
        /// Where it is missing.
        owner: Owner,
    },
    /// A service that is both here and elsewhere.
    #[error("service '{0}' is listed as running elsewhere, and is one of this manifest")]
    HereAndElsewhere(String),
    /// Two keys that exclude each other.
    #[error("{owner} has both '{one}' and '{other}'")]
    Excluded {
        /// The one.
        one: String,
        /// The other.
        other: String,
        /// What has both.
        owner: Owner,
    },
    /// A value of another type.
    #[error("{owner} is to be {expected}, not {found}")]
    WrongType {
        /// Whose value it is.
        owner: Owner,
        /// What it should be.
        expected: String,
        /// What it is.
        found: Found,
    },
    /// Nobody on the host is called that.
    #[error("there is no {what} '{name}' on this host")]
    UnknownAccount {
        /// `user` or `group`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A service as root.
    #[error("root may do whatever it likes with the host's files, so no service uses them as root")]
    RootUser,
    /// A group of nobody.
    #[error("there is a 'group' and no 'user'")]
    GroupAlone,
    /// A value of the right type that makes no sense.
    #[error("{owner}: {why}")]
    BadValue {
        /// Whose value it is.
        owner: Owner,
        /// What is wrong with it.
        why: ValueError,
    },
    /// None of the words that are possible.
    #[error("{owner} cannot be '{word}'")]
    UnknownWord {
        /// Whose value it is.
        owner: Owner,
        /// What was written.
        word: String,
    },
    /// A variable that is not set, and has no default.
    #[error("the variable '{name}' is not set")]
    UnsetVariable {
        /// Its name.
        name: String,
    },
    /// A `${` that does not begin a variable.
    #[error("'${{' does not begin a variable here: {why}")]
    BadVariable {
        /// What is wrong with it.
        why: &'static str,
    },
    /// A name that is no DNS label.
    #[error("'{name}' cannot be the name of {what}: {why}")]
    BadName {
        /// What was written.
        name: String,
        /// What it names.
        what: &'static str,
        /// What is wrong with it.
        why: NameError,
    },
    /// A line of a `.env` file that is no `KEY=VALUE`.
    #[error("this line is no 'KEY=VALUE': {why}")]
    EnvLine {
        /// What is wrong with it.
        why: &'static str,
    },

    // Services together.
    /// A manifest without services.
    #[error("the manifest has no services")]
    NoServices,
    /// A dependency that is not there.
    #[error("service '{service}' depends on '{dependency}', which is not in the manifest")]
    MissingDependency {
        /// The dependent.
        service: String,
        /// What it names.
        dependency: String,
    },
    /// A dependency on itself.
    #[error("service '{service}' depends on itself")]
    SelfDependency {
        /// The service.
        service: String,
    },
    /// The same dependency, twice.
    #[error("service '{service}' names its dependency '{dependency}' twice")]
    DuplicateDependency {
        /// The dependent.
        service: String,
        /// The dependency.
        dependency: String,
    },
    /// A circle of dependencies.
    #[error("services depend on each other in a circle: {}", Arrows(path))]
    Cycle {
        /// The whole way round; the first is the last.
        path: Vec<ServiceName>,
    },
    /// `completed`, of what never completes.
    #[error("service '{service}' waits until '{dependency}' has completed, but that is no job")]
    NeverCompletes {
        /// The dependent.
        service: String,
        /// The dependency.
        dependency: String,
    },
    /// `ready`, of what completes.
    #[error("service '{service}' waits until '{dependency}' is ready, but that is a job")]
    NeverReady {
        /// The dependent.
        service: String,
        /// The dependency.
        dependency: String,
    },
    /// A socket that another service has, or the service itself under another name.
    #[error("service '{service}' cannot listen on {address}: '{other}' does")]
    SocketTaken {
        /// The service.
        service: String,
        /// Where.
        address: String,
        /// Who does: the service and the socket's name.
        other: String,
    },
    /// A check of a port that the service is passed the socket of.
    #[error(
        "service '{service}' cannot be checked on port {port}: the orchestrator listens there, not the service"
    )]
    NotItsPort {
        /// The service.
        service: String,
        /// The port of one of its sockets.
        port: u16,
    },
    /// What is done when it gives up, of a service that is never restarted.
    #[error("service '{service}' never gives up: it is not restarted, so its first crash is its last")]
    NeverGivesUp {
        /// The service.
        service: String,
    },
    /// Something that a job cannot have.
    #[error("the job '{service}' cannot have '{what}'")]
    NotForJobs {
        /// The job.
        service: String,
        /// What it has.
        what: &'static str,
    },

    // Permissions.
    /// A service that is held less tight than the manifest says at its top.
    #[error("service '{service}' cannot be held less tight than 'sandbox' at the top says")]
    LooserSandbox {
        /// The service.
        service: String,
    },
    /// A container that is to be held less tight than containers are.
    #[error("service '{service}' runs in a container, where the sandbox is always 'strict'")]
    SandboxOfContainer {
        /// The service.
        service: String,
    },
    /// A path that is granted, but not there.
    #[error("service '{service}' is granted '{path}', which is not there")]
    GrantMissing {
        /// The service.
        service: String,
        /// The path as it is written.
        path: String,
    },
    /// A path that leads somewhere else than it says.
    #[error("service '{service}' is granted '{path}', which leads through a symbolic link")]
    GrantLinked {
        /// The service.
        service: String,
        /// The path as it is written.
        path: String,
    },
    /// A path that is never granted.
    #[error("'{path}' cannot be granted to service '{service}': {why}")]
    GrantRefused {
        /// The service.
        service: String,
        /// The path as it is written.
        path: String,
        /// Why.
        why: &'static str,
    },
    /// A port of another service on which that one does not listen.
    #[error("service '{service}' may connect to '{endpoint}', but '{target}' does not listen there")]
    NotListening {
        /// The service.
        service: String,
        /// What is granted.
        endpoint: String,
        /// The other service.
        target: String,
    },
    /// A name that is nearly a service's.
    #[error("service '{service}' may connect to '{endpoint}', but no service is named '{target}'")]
    NoSuchTarget {
        /// The service.
        service: String,
        /// What is granted.
        endpoint: String,
        /// The host in it.
        target: String,
    },
    /// A name that no service has, in what is granted towards services.
    #[error("service '{service}' is granted something towards '{target}', which no service is named")]
    NoSuchService {
        /// The service.
        service: String,
        /// The other one.
        target: String,
    },
    /// More for children than there is to give.
    #[error("children of service '{service}' could be granted more than it has itself: {excess}")]
    BeyondOwn {
        /// The service.
        service: String,
        /// What is too much.
        excess: String,
    },
    /// A path that two services write to, unknown to one of them.
    #[error("service '{service}' may write to '{path}', and so may service '{other}'")]
    NotShared {
        /// The service.
        service: String,
        /// The path as it is written.
        path: String,
        /// The other one.
        other: String,
    },
    /// More threads than the limit allows are needed for anything to run.
    #[error("service '{service}' cannot run with fewer than {least} processes and threads on '{runtime}'")]
    FewPids {
        /// The service.
        service: String,
        /// Its runtime.
        runtime: String,
        /// What it needs.
        least: u32,
    },

    // Code and what runs it.
    /// Neither code nor a plugin.
    #[error("service '{service}' has no code")]
    NoCode {
        /// The service.
        service: String,
    },
    /// Something that only a container can have.
    #[error("service '{service}' is a process and cannot have '{what}'")]
    NotForProcesses {
        /// The service.
        service: String,
        /// What it has.
        what: &'static str,
    },
    /// An image that is not named by its content, where all have to be.
    #[error(
        "the image '{image}' of service '{service}' is not named by its digest, as 'image_policy' wants it"
    )]
    NotPinned {
        /// The service.
        service: String,
        /// Its name.
        image: String,
    },
    /// Nothing is at the path.
    #[error("the code of service '{service}' is not there: '{path}'")]
    CodeMissing {
        /// The service.
        service: String,
        /// The path as it is written.
        path: String,
    },
    /// Something is at the path that cannot be looked at.
    #[error("the code of service '{service}' cannot be used: '{path}' {why}")]
    CodeRefused {
        /// The service.
        service: String,
        /// The path as it is written.
        path: String,
        /// Why, as the end of a sentence.
        why: String,
    },
    /// It cannot be told what runs the code.
    #[error("it cannot be told what runs the code of service '{service}': {why}")]
    NoRuntime {
        /// The service.
        service: String,
        /// Why.
        why: String,
    },
    /// The folder has no file that the runtime would run.
    #[error("the runtime '{runtime}' finds nothing to run in the folder '{path}' of service '{service}'")]
    NoEntry {
        /// The service.
        service: String,
        /// The runtime.
        runtime: String,
        /// The folder as it is written.
        path: String,
    },
    /// No plugin of that name.
    #[error("there is no {what} '{name}'")]
    UnknownPlugin {
        /// `runtime` or `plugin`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A plugin of the other kind.
    #[error("the plugin '{name}' is a {is}, not a {wanted}")]
    WrongPlugin {
        /// The plugin.
        name: String,
        /// What it is.
        is: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
}

/// What is wrong with a value of the right type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// A number outside its range.
    #[error("{written} is not between {least} and {most}")]
    Range {
        /// The number.
        written: String,
        /// The least possible.
        least: u32,
        /// The greatest possible.
        most: u32,
    },
    /// A version of the manifest's format that this program does not know.
    #[error("this program reads version 1 only, not {0}")]
    Version(String),
    /// No duration.
    #[error(transparent)]
    Duration(#[from] DurationError),
    /// No size.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// No host with a port.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The service's own loopback, by a name.
    #[error("'{0}' is the service's own")]
    OwnHost(String),
    /// All hosts, or many.
    #[error("'{0}' is no address of one host")]
    NoHost(String),
    /// No name of a service.
    #[error("'{0}' cannot be a service: {1}")]
    Service(String, NameError),
    /// No names of methods or events.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// A size alone, where a rate is wanted.
    #[error("'{0}' says nothing of time")]
    Rate(String),
    /// A message beyond what anybody takes.
    #[error("'{0}' is more than a message can have")]
    LongMessage(String),
    /// A variable that says what is loaded.
    #[error("'{0}' changes what is loaded before the service's code")]
    LoadingVariable(String),
    /// No number of processor cores.
    #[error("'{0}' is no number of cores")]
    Cores(String),
    /// No name of a secret.
    #[error("'{0}' cannot be the name of a secret")]
    SecretName(String),
    /// A file or folder of the host that a runtime needs, not named by its absolute path.
    #[error("'{0}' is no absolute path")]
    NotAbsolute(String),
    /// A range of durations that ends before it begins.
    #[error("the range {0} ends before it begins")]
    Backwards(String),
    /// Nothing, where something has to be.
    #[error("it cannot be empty")]
    Empty,
    /// A character that no argument, variable or path of a process can hold.
    #[error("it cannot hold the character U+0000")]
    Nul,
    /// No name of an environment variable.
    #[error("'{0}' cannot be the name of an environment variable")]
    VariableName(String),
    /// The name of an environment variable that is set by the orchestrator.
    #[error("'{0}' is set by the orchestrator itself")]
    OwnVariable(String),
    /// No name of a socket.
    #[error("'{0}' cannot be the name of a socket")]
    SocketName(String),
    /// More sockets than a service can have.
    #[error("it has more sockets than a service can have")]
    ManySockets,
    /// No address of a Redis.
    #[error(transparent)]
    Redis(#[from] RedisUrlError),
    /// A fabric without a Redis.
    #[error("it has no 'redis'")]
    NoRedis,
    /// No key of a fabric.
    #[error(transparent)]
    FabricKey(#[from] FabricKeyError),
    /// No prefix of keys.
    #[error("'{0}' cannot be a prefix")]
    Prefix(String),
    /// A time-out that would expire while all is well.
    #[error("it is too short for a busy host")]
    ShortTimeout,
    /// A time-out that nobody waits for.
    #[error("others wait no longer than 10m")]
    LongTimeout,
    /// Nobody who could call.
    #[error(transparent)]
    Caller(#[from] CallerError),
    /// No address of a webhook.
    #[error(transparent)]
    Webhook(#[from] WebhookError),
    /// Nothing to listen on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// No regular expression.
    #[error("it is no regular expression: {0}")]
    Regex(String),
    /// Nothing that an HTTP check could get.
    #[error("'{0}' is no port with a path")]
    HttpTarget(String),
    /// A check of something outside the service's own environment.
    #[error("a check is made inside the service's environment, not on '{0}'")]
    Elsewhere(String),
    /// None of the checks, or more than one.
    #[error("it has {found} of {checks}, where one is expected", found = if *.some { "more than one" } else { "none" })]
    Checks {
        /// Whether there are any.
        some: bool,
        /// The checks that are possible.
        checks: &'static str,
    },
    /// `false`, where only `true` says anything.
    #[error("it can only be 'true'")]
    OnlyTrue,
    /// No plain name of a file in a plugin's folder.
    #[error("'{0}' cannot be a file of a plugin")]
    FileName(String),
    /// A file ending that is none.
    #[error("'{0}' cannot be the ending of a file's name")]
    Extension(String),
    /// A placeholder that stands for nothing.
    #[error("'{0}' stands for nothing")]
    Placeholder(String),
    /// A command that does not say where the code goes.
    #[error("the command has no '{{code}}'")]
    NoCodePlace,
    /// More than one line.
    #[error("it has more than one line")]
    Lines,
    /// A plugin's name that is not its folder's.
    #[error("the plugin calls itself '{name}', but its folder is '{folder}'")]
    FolderName {
        /// Its name.
        name: String,
        /// Its folder's.
        folder: String,
    },
}

/// The way round a cycle.
struct Arrows<'a>(&'a [ServiceName]);

impl fmt::Display for Arrows<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, name) in self.0.iter().enumerate() {
            write!(f, "{}{name}", if i == 0 { "" } else { " -> " })?;
        }
        Ok(())
    }
}
