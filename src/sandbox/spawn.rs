//! [`Launch`]: starts a process that has what it is given and nothing else.
//!
//! The process begins in a session of its own, with default signal handling, no core dumps, exactly the given
//! environment, and exactly the given descriptors. That it could not be started comes back to the caller: the new
//! process holds the writing end of a pipe that closes at exec, and says through it what failed.

use std::ffi::{CString, OsStr, OsString};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use libc::{c_char, c_int};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, WaitOptions, getpid, pidfd_getfd, pidfd_open, waitpid,
};

use crate::confinement::Confinement;
use crate::recording::Recorder;
use crate::seccomp::{self, Filter};

/// The variable by which a process knows that the sockets it was passed are meant for it, and not for who started it:
/// `sd_listen_fds(3)`.
pub const LISTEN_PID: &str = "LISTEN_PID";

/// Room for [`LISTEN_PID`], its value, and the zero at the end.
const LISTEN_PID_ROOM: usize = 24;

/// What to start and how.
#[derive(Debug)]
pub struct Launch<'a> {
    /// The program.
    pub program: Program<'a>,
    /// Its arguments, the zeroth included.
    pub arguments: Vec<OsString>,
    /// Its whole environment. Of [`LISTEN_PID`] the value does not matter: it becomes the new process's own number.
    pub environment: Vec<(OsString, OsString)>,
    /// The folder that it starts in; none for the caller's own.
    pub folder: Option<&'a Path>,
    /// Its descriptors: the first becomes 0, and so on. All others are closed.
    pub descriptors: Vec<BorrowedFd<'a>>,
    /// Whether it is killed when the calling *thread* ends.
    pub die_with_parent: bool,
    /// The control groups that it is in: files into which it writes its own number.
    pub groups: &'a [std::fs::File],
    /// What it is held to; none for all that the caller may do.
    pub confinement: Option<&'a Confinement>,
}

/// A program to be run.
#[derive(Clone, Copy, Debug)]
pub enum Program<'a> {
    /// The file at this path. It is resolved in the new process, so `/proc/self/exe` is the caller's own program.
    Path(&'a Path),
    /// This file, which cannot be a script: its interpreter would find the descriptor closed.
    Descriptor(BorrowedFd<'a>),
}

/// A process that was started. It has to be reaped by who started it.
#[derive(Debug)]
pub struct Child {
    /// Its id, which stays its own until it is reaped; also of its session and process group.
    pub pid: Pid,
    /// Readable when it has ended.
    pub pidfd: OwnedFd,
}

/// Why no process was started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// An argument or a variable of the environment holds a NUL character.
    #[error("NUL character in an argument or a variable")]
    Nul,
    /// The system refused what every process needs.
    #[error("failed to {step} for a new process")]
    System {
        /// What was refused.
        step: &'static str,
        /// Why.
        source: io::Error,
    },
    /// It could not be confined as it is to be, so it was not started.
    #[error("failed to confine a new process")]
    Confinement(#[source] io::Error),
    /// What it does cannot be noted, so it was not started.
    #[error(
        "this kernel cannot tell what a process uses (seccomp user notification, Linux 5.6 or later, is needed)"
    )]
    Recording(#[source] io::Error),
    /// The folder cannot be entered.
    #[error("failed to enter the folder of a new process")]
    Folder(#[source] io::Error),
    /// The program cannot be executed.
    #[error("failed to execute a program")]
    Program(#[source] io::Error),
}

impl Launch<'_> {
    /// Starts the process. When this returns, its program has been executed.
    ///
    /// # Errors
    /// What failed, and then no process is left.
    pub fn spawn(&self) -> Result<Child, SpawnError> {
        self.start(None)
    }

    /// Starts the process, and has noted what it and everything that it starts use.
    ///
    /// # Errors
    /// As [`Launch::spawn`]; and where the kernel cannot tell what a process uses.
    pub fn spawn_recorded(&self, recorder: &Recorder) -> Result<Child, SpawnError> {
        self.start(Some(recorder))
    }

    fn start(&self, recorder: Option<&Recorder>) -> Result<Child, SpawnError> {
        let mut prepared = Prepared::new(self)?;
        let listening = match recorder {
            Some(recorder) => Some((recorder, prepared.listened_to()?)),
            None => None,
        };
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(system("make a pipe"))?;
        let writer = above(writer, prepared.descriptors.len())?;
        let old_mask = block_signals();
        // SAFETY: the child calls only `Prepared::become_program`, which does what is allowed between fork and exec.
        let forked = unsafe { libc::fork() };
        if forked == 0 {
            // SAFETY: this is the new process, single-threaded, with all signals blocked.
            unsafe { prepared.become_program(writer.as_raw_fd()) }
        }
        let error = io::Error::last_os_error();
        restore_signals(&old_mask);
        drop(writer);
        prepared.recording = None;
        let pid = Pid::from_raw(forked.max(0)).ok_or(SpawnError::System { step: "fork", source: error })?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(system("open a pidfd"));
        let child = pidfd.and_then(|pidfd| {
            if let Some((recorder, told)) = listening {
                // Its exec waits for the recorder's first answer.
                attend(recorder, told, &pidfd).map_err(SpawnError::Recording)?;
            }
            collect_failure(reader, &prepared)?;
            Ok(Child { pid, pidfd })
        });
        if child.is_err() {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            let _ = waitpid(Some(pid), WaitOptions::empty());
        }
        child
    }
}

/// What the new process says when it cannot go on, as two native `c_int`: the step that failed, and errno.
const REPORT: usize = 2 * size_of::<c_int>();

/// The steps that the new process takes, as it reports them.
#[derive(Clone, Copy)]
#[repr(i32)]
enum Step {
    Session,
    DieWithParent,
    Groups,
    CoreLimit,
    Descriptors,
    Folder,
    Confinement,
    Recording,
    Program,
}

/// Everything that the new process needs, made before the fork: after it, nothing is allocated.
struct Prepared<'a> {
    program: PreparedProgram,
    folder: Option<CString>,
    // The strings that the two lists below point into, never touched again.
    _strings: Vec<CString>,
    arguments: Vec<*const c_char>,
    environment: Vec<*const c_char>,
    /// What [`LISTEN_PID`] is written into, if there is such a variable: the list above points into it as well.
    listen_pid: Option<*mut u8>,
    _listen_pid_room: Option<Box<[u8; LISTEN_PID_ROOM]>>,
    /// Copies above all target numbers, so that no assignment overwrites a source that is still needed.
    descriptors: Vec<OwnedFd>,
    /// The calling process, where the new one dies with it.
    parent: Option<c_int>,
    groups: &'a [std::fs::File],
    confinement: Option<&'a Confinement>,
    recording: Option<Recording>,
}

/// What makes a process tell what it does.
struct Recording {
    filter: Filter,
    /// Where it writes the number of its filter's listener, as a native `c_int`.
    number: OwnedFd,
}

enum PreparedProgram {
    Path(CString),
    Descriptor(OwnedFd),
}

impl<'a> Prepared<'a> {
    fn new(launch: &Launch<'a>) -> Result<Self, SpawnError> {
        let targets = launch.descriptors.len();
        let program = match launch.program {
            Program::Path(path) => PreparedProgram::Path(c_string(path.as_os_str())?),
            Program::Descriptor(fd) => PreparedProgram::Descriptor(above(fd, targets)?),
        };
        let folder = launch.folder.map(|folder| c_string(folder.as_os_str())).transpose()?;
        let arguments = launch.arguments.iter().map(|argument| c_string(argument));
        let arguments = arguments.collect::<Result<Vec<_>, _>>()?;
        let others = launch.environment.iter().filter(|(name, _)| name != LISTEN_PID);
        let variables = others.map(|(name, value)| {
            c_string(&[name.as_os_str(), OsStr::new("="), value].into_iter().collect::<OsString>())
        });
        let variables = variables.collect::<Result<Vec<_>, _>>()?;
        let descriptors = launch.descriptors.iter().map(|fd| above(fd, targets));
        let mut environment = pointers(&variables);
        let mut room = (variables.len() < launch.environment.len()).then(|| Box::new([0; LISTEN_PID_ROOM]));
        let listen_pid = room.as_mut().map(|room| room.as_mut_ptr());
        if let Some(place) = listen_pid {
            environment.insert(0, place.cast_const().cast());
        }
        Ok(Self {
            listen_pid,
            _listen_pid_room: room,
            program,
            folder,
            arguments: pointers(&arguments),
            environment,
            // Moving a CString does not move its text.
            _strings: arguments.into_iter().chain(variables).collect(),
            descriptors: descriptors.collect::<Result<_, _>>()?,
            parent: launch.die_with_parent.then(|| getpid().as_raw_nonzero().get()),
            groups: launch.groups,
            confinement: launch.confinement,
            recording: None,
        })
    }

    /// Has the new process tell what it does. Answers with what it says the number of its listener on.
    fn listened_to(&mut self) -> Result<OwnedFd, SpawnError> {
        let filter = seccomp::recorded().map_err(|error| SpawnError::Recording(io::Error::other(error)))?;
        let (told, number) = pipe_with(PipeFlags::CLOEXEC).map_err(system("make a pipe"))?;
        let number = above(number, self.descriptors.len())?;
        self.recording = Some(Recording { filter, number });
        Ok(told)
    }

    /// Becomes the program, or reports why not and ends.
    ///
    /// # Safety
    /// To be called in a newly forked process only, with all signals blocked. It makes only calls that are allowed
    /// there (async-signal-safe, and no allocation), because other threads' locks may be held for ever.
    unsafe fn become_program(&self, report: c_int) -> ! {
        // SAFETY: as above; every pointer comes from `self`, which outlives the call, and the lists end with null.
        unsafe {
            let step = self.try_to_become_program();
            let errno = *libc::__errno_location();
            let message = [step as c_int, errno];
            libc::write(report, message.as_ptr().cast(), REPORT);
            libc::_exit(127)
        }
    }

    /// Answers with the step that failed; errno says why.
    ///
    /// # Safety
    /// As `become_program`.
    unsafe fn try_to_become_program(&self) -> Step {
        // SAFETY: as `become_program`.
        unsafe {
            restore_default_signals();
            if libc::setsid() < 0 {
                return Step::Session;
            }
            if let Some(parent) = self.parent
                && !die_with(parent)
            {
                return Step::DieWithParent;
            }
            // Before there is anything to count.
            let joined = |group: &std::fs::File| libc::write(group.as_raw_fd(), c"0".as_ptr().cast(), 1) == 1;
            if !self.groups.iter().all(joined) {
                return Step::Groups;
            }
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            if libc::setrlimit(libc::RLIMIT_CORE, &raw const none) < 0 {
                return Step::CoreLimit;
            }
            if let Some(folder) = &self.folder
                && libc::chdir(folder.as_ptr()) < 0
            {
                return Step::Folder;
            }
            if !self.assign_descriptors() {
                return Step::Descriptors;
            }
            if let Some(place) = self.listen_pid {
                write_listen_pid(place);
            }
            if let Some(confinement) = self.confinement
                && !(confinement.apply() && self.parent.is_none_or(|parent| die_with(parent)))
            {
                return Step::Confinement;
            }
            // The last step but one: from here on, its calls wait for who is told of them.
            if let Some(recording) = &self.recording
                && !recording.begin()
            {
                return Step::Recording;
            }
            self.execute();
            Step::Program
        }
    }

    /// Puts the descriptors in their places, and marks all others to be closed at exec.
    ///
    /// # Safety
    /// As `become_program`.
    unsafe fn assign_descriptors(&self) -> bool {
        // SAFETY: the sources are open, and above every target.
        unsafe {
            for (target, source) in (0..).zip(&self.descriptors) {
                if libc::dup2(source.as_raw_fd(), target) < 0 {
                    return false;
                }
            }
            let first = self.descriptors.len() as libc::c_uint;
            libc::close_range(first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as c_int) == 0
        }
    }

    /// Returns only where the program could not be executed.
    ///
    /// # Safety
    /// As `become_program`.
    unsafe fn execute(&self) {
        let (arguments, environment) = (self.arguments.as_ptr(), self.environment.as_ptr());
        // SAFETY: both lists end with null and point to strings that live in `self`.
        unsafe {
            match &self.program {
                PreparedProgram::Path(path) => {
                    libc::execve(path.as_ptr(), arguments, environment);
                }
                PreparedProgram::Descriptor(fd) => {
                    let (fd, empty, flag) = (fd.as_raw_fd(), c"".as_ptr(), libc::AT_EMPTY_PATH);
                    libc::syscall(libc::SYS_execveat, fd, empty, arguments, environment, flag);
                }
            }
        }
    }
}

/// Writes `LISTEN_PID=` and the calling process's number.
///
/// # Safety
/// `place` has [`LISTEN_PID_ROOM`] bytes that nobody else uses.
unsafe fn write_listen_pid(place: *mut u8) {
    let mut digits = [0; 12];
    // SAFETY: a question without arguments.
    let mut number = unsafe { libc::getpid() };
    let mut count = 0;
    while number > 0 && count < digits.len() {
        digits[count] = b'0' + (number % 10) as u8;
        number /= 10;
        count += 1;
    }
    let text = LISTEN_PID.bytes().chain([b'=']).chain(digits[..count].iter().rev().copied()).chain([0]);
    for (index, byte) in text.enumerate() {
        // SAFETY: a name of 10 characters, a sign, 12 digits at most and a zero fit.
        unsafe { place.add(index).write(byte) };
    }
}

impl Recording {
    /// False where the kernel refuses; errno says why.
    ///
    /// # Safety
    /// As `become_program`.
    unsafe fn begin(&self) -> bool {
        // SAFETY: as `become_program`; the number outlives the call.
        unsafe {
            let listener = self.filter.listen() as c_int;
            let size = size_of::<c_int>();
            listener >= 0
                && libc::write(self.number.as_raw_fd(), (&raw const listener).cast(), size) == size as isize
        }
    }
}

/// Takes the listener of a new process, once it has one, and has it answered. One that has failed before says why itself.
fn attend(recorder: &Recorder, told: OwnedFd, process: &OwnedFd) -> io::Result<()> {
    let mut number = [0; size_of::<c_int>()];
    match std::fs::File::from(told).read_exact(&mut number) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
        other => other?,
    }
    let listener = pidfd_getfd(process, c_int::from_ne_bytes(number), PidfdGetfdFlags::empty())?;
    recorder.attend(listener)
}

/// The kernel's description of what a signal does: all zeros is the default action.
#[derive(Default)]
#[repr(C)]
struct KernelAction {
    handler: usize,
    flags: usize,
    restorer: usize,
    mask: u64,
}

/// # Safety
/// In a newly forked process only.
unsafe fn restore_default_signals() {
    // SAFETY: setting the default action and an empty mask runs nobody's code. Signals that cannot be set are left.
    unsafe {
        for signal in 1..=64 {
            // Not by the library's function, which leaves out the signals that it uses itself.
            let default = KernelAction::default();
            libc::syscall(libc::SYS_rt_sigaction, signal, &raw const default, ptr::null::<u8>(), 8usize);
        }
        let mut none = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

/// Whether the calling process will be killed when its parent ends. It may have ended before it was asked for: then
/// there is another parent now.
///
/// # Safety
/// In a newly forked process only.
unsafe fn die_with(parent: c_int) -> bool {
    // SAFETY: two system calls without pointers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0 && libc::getppid() == parent }
}

/// Blocks every signal for this thread, so that no handler of this process runs in the new one.
fn block_signals() -> libc::sigset_t {
    // SAFETY: a signal set is plain data that `sigfillset` and `pthread_sigmask` fill.
    unsafe {
        let mut all = std::mem::zeroed::<libc::sigset_t>();
        let mut old = std::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, &raw mut old);
        old
    }
}

fn restore_signals(old: &libc::sigset_t) {
    // SAFETY: `old` was filled by `block_signals`.
    unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const *old, ptr::null_mut());
    }
}

/// Waits until the new process has executed its program, or has said why not.
fn collect_failure(reader: OwnedFd, prepared: &Prepared<'_>) -> Result<(), SpawnError> {
    let mut report = Vec::new();
    std::fs::File::from(reader).read_to_end(&mut report).map_err(system("read the report"))?;
    let Some((step, errno)) = report.split_first_chunk::<{ size_of::<c_int>() }>() else { return Ok(()) };
    let errno = errno.first_chunk().copied().map_or(0, c_int::from_ne_bytes);
    let source = io::Error::from_raw_os_error(errno);
    Err(match c_int::from_ne_bytes(*step) {
        step if step == Step::Folder as c_int && prepared.folder.is_some() => SpawnError::Folder(source),
        step if step == Step::Program as c_int => SpawnError::Program(source),
        step if step == Step::Confinement as c_int => SpawnError::Confinement(source),
        step if step == Step::Recording as c_int => SpawnError::Recording(source),
        step if step == Step::Session as c_int => SpawnError::System { step: "make a session", source },
        step if step == Step::DieWithParent as c_int => {
            SpawnError::System { step: "bind its life to its parent's", source }
        }
        step if step == Step::Groups as c_int => {
            SpawnError::System { step: "join the control groups", source }
        }
        step if step == Step::CoreLimit as c_int => SpawnError::System { step: "forbid core dumps", source },
        _ => SpawnError::System { step: "assign the descriptors", source },
    })
}

/// A copy of a descriptor that no assignment to the first `targets` numbers overwrites.
fn above(fd: impl std::os::fd::AsFd, targets: usize) -> Result<OwnedFd, SpawnError> {
    let lowest = c_int::try_from(targets).unwrap_or(c_int::MAX);
    fcntl_dupfd_cloexec(fd, lowest).map_err(system("copy a descriptor"))
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

fn c_string(text: &OsStr) -> Result<CString, SpawnError> {
    CString::new(text.as_bytes()).map_err(|_| SpawnError::Nul)
}

fn system<E: Into<io::Error>>(step: &'static str) -> impl Fn(E) -> SpawnError {
    move |source| SpawnError::System { step, source: source.into() }
}
