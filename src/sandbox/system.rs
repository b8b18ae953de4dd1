//! The system calls that no safe wrapper offers. All `unsafe` of Kiln is here, a few lines each;
//! knows nothing of steps.
#![expect(unsafe_code, reason = "raw system calls")]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

/// Gives memory that was freed back to the system. The C library keeps it for the thread that had it,
/// and others get new memory.
pub(crate) fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the allocator locks itself, and what is in use stays where it is.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Turns the result of a system call into a `Result`.
fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Which side of [`fork`] returned.
pub(super) enum Side {
    /// The new process.
    Child,
    /// The old one, with a handle of the new one.
    Parent { process: OwnedFd },
}

/// Forks this process, which must have one thread. The new process is in the PID namespace that is
/// set for children.
///
/// The C library is passed by: its locks are of no matter in a process with one thread. So is
/// `clone3`, which the filter of a cell refuses, since no filter can read its flags.
pub(super) fn fork() -> io::Result<Side> {
    let mut handle: RawFd = -1;
    let flags = libc::c_long::from(libc::CLONE_PIDFD | libc::SIGCHLD);
    let none = ptr::null_mut::<libc::c_void>();
    // SAFETY: no stack and no shared memory are asked for, so this is a fork; the launcher has one
    // thread, so the child's memory is whole; `handle` outlives the call, and it and the stack come
    // first on every architecture.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, none, &raw mut handle, none, none) };
    if check(pid)? == 0 {
        return Ok(Side::Child);
    }
    // SAFETY: the kernel has just made this descriptor, and no one else knows of it.
    Ok(Side::Parent { process: unsafe { OwnedFd::from_raw_fd(handle) } })
}

/// A process that [`start_sharing`] started.
pub(super) struct Shared {
    pub(super) pid: i32,
    pub(super) process: OwnedFd,
}

/// Starts `child` in a process that shares the memory of this one, which has one thread and waits
/// until the child executes a program or leaves. It is in the new namespaces that `flags` names.
///
/// Nothing is copied, so this takes a fraction of the time of a fork. What the child allocates and
/// still holds when it executes a program is lost to this process.
pub(super) fn start_sharing(flags: i32, child: &mut dyn FnMut()) -> io::Result<Shared> {
    extern "C" fn run(child: *mut libc::c_void) -> i32 {
        // SAFETY: the parent passes this pointer below and waits while it is used.
        let child = unsafe { &mut *child.cast::<&mut dyn FnMut()>() };
        child();
        0
    }
    let mut stack = vec![0_u128; 16 * 1024];
    let mut child = child;
    let mut handle: RawFd = -1;
    let flags = flags | libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    // SAFETY: the stack outlives the child's use of it, for this process waits; it grows down from
    // an end that is aligned to 16 bytes; nothing else runs in this memory meanwhile; `handle`
    // outlives the call.
    let pid = unsafe {
        let top = stack.as_mut_ptr_range().end;
        libc::clone(run, top.cast(), flags, (&raw mut child).cast(), &raw mut handle)
    };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor, and no one else knows of it.
    Ok(Shared { pid, process: unsafe { OwnedFd::from_raw_fd(handle) } })
}

/// Moves this process, which must have one thread, into the new namespaces that `flags` names.
pub(super) fn unshare(flags: i32) -> io::Result<()> {
    // SAFETY: no descriptor table is split off, so every owner keeps what it owns.
    check(unsafe { libc::unshare(flags) }.into())?;
    Ok(())
}

/// Ends this process at once, with nothing flushed and no destructor run.
pub(super) fn leave(code: i32) -> ! {
    // SAFETY: `_exit` touches no memory of ours.
    unsafe { libc::_exit(code) }
}

/// Strings in the form `execve` takes them, made before a process is started that may not allocate.
pub(super) struct Strings {
    pointers: Vec<*const libc::c_char>,
    /// What the pointers point to.
    _owned: Vec<CString>,
}

impl Strings {
    pub(super) fn new(owned: Vec<CString>) -> Self {
        let pointers = owned.iter().map(|word| word.as_ptr()).chain([ptr::null()]).collect();
        Self { pointers, _owned: owned }
    }
}

/// Replaces this process by `program`. Returns why it could not.
pub(super) fn execute(program: &CStr, argv: &Strings, env: &Strings) -> io::Error {
    // SAFETY: both lists end with a null pointer and all strings outlive the call.
    unsafe { libc::execve(program.as_ptr(), argv.pointers.as_ptr(), env.pointers.as_ptr()) };
    io::Error::last_os_error()
}

/// Adds the `MOUNT_ATTR_*` bits of `set` to a detached mount tree and to all below it.
pub(super) fn restrict_mount(tree: BorrowedFd<'_>, set: u64) -> io::Result<()> {
    let attributes = libc::mount_attr { attr_set: set, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: the path is a constant, the structure outlives the call and its size is given.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    })?;
    Ok(())
}

/// Lays out the address space of programs started from here the same way each time.
pub(super) fn fix_addresses() {
    // SAFETY: takes and returns plain numbers. Where it is refused, addresses stay random.
    unsafe { libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong) };
}

/// Gives this process a session keyring of its own: the user's keys are in no namespace.
pub(super) fn leave_keyring() {
    const JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: without a name no memory is read. Where it is refused, the seccomp filter remains.
    unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, ptr::null::<u8>()) };
}

/// Marks all descriptors from 3 up to be closed by the next `execve`.
pub(super) fn close_on_exec_from_3() -> io::Result<()> {
    let flags = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: descriptors are only marked, so no owner is surprised.
    check(unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, flags) })?;
    Ok(())
}

/// Closes all descriptors from 3 up but those in `kept`.
///
/// The values that own the closed ones must never be dropped: only a process that lives on in a
/// loop of its own may call this.
pub(super) fn close_all_but(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut kept: Vec<_> = kept.iter().map(|fd| fd.as_raw_fd().cast_unsigned()).collect();
    kept.sort_unstable();
    let mut first = 3;
    for end in kept.into_iter().chain([u32::MAX]) {
        if first < end {
            // SAFETY: as the caller promises, no owner of one of these is used again.
            check(unsafe { libc::syscall(libc::SYS_close_range, first, end - 1, 0) })?;
        }
        first = end.saturating_add(1);
    }
    Ok(())
}

/// Makes `fd` the descriptor `number`, 0 to 2, for the program to come.
pub(super) fn duplicate_as(fd: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    debug_assert!((0..3).contains(&number));
    // SAFETY: the standard descriptors are never owned by a value of ours.
    check(unsafe { libc::dup2(fd.as_raw_fd(), number) }.into())?;
    Ok(())
}

/// Returns the descriptor 0 as one of our own.
///
/// # Panics
/// Never; the launcher calls it once, before anything reads standard input.
pub(super) fn take_stdin() -> io::Result<OwnedFd> {
    // SAFETY: descriptor 0 is only borrowed for the length of the call.
    let stdin = unsafe { BorrowedFd::borrow_raw(0) };
    Ok(rustix::io::fcntl_dupfd_cloexec(stdin, 3)?)
}

/// Brings up the loopback interface of this network namespace.
pub(super) fn bring_up_loopback() -> io::Result<()> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: all zeroes is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // SAFETY: the name and its end are shorter than their place.
    unsafe { request.ifr_name.as_mut_ptr().copy_from(c"lo".as_ptr(), 3) };
    request.ifr_ifru.ifru_flags =
        i16::try_from(libc::IFF_UP | libc::IFF_RUNNING).expect("small flags");
    let request = &raw const request;
    // SAFETY: the request has the type this ioctl takes and outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, request) };
    check(result.into())?;
    Ok(())
}

/// Holds back `signals` until they are waited for, or lets all through again when empty.
pub(super) fn block_signals(signals: &[i32]) {
    // SAFETY: the set is made by `sigemptyset` before it is used.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, ptr::null_mut());
    }
}

/// Waits for one of `signals`, which must be held back. Returns it and the id of its sender; 0 is
/// one outside of this PID namespace.
pub(super) fn wait_signal(signals: &[i32]) -> (i32, i32) {
    // SAFETY: the set is made by `sigemptyset` before it is used; all zeroes is a valid
    // `siginfo_t`, and the kernel fills in a sender wherever one is read.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        let mut details: libc::siginfo_t = std::mem::zeroed();
        let signal = libc::sigwaitinfo(&raw const set, &raw mut details);
        (signal, details.si_pid())
    }
}

/// Has the kernel do away with children that end, and yet tell of them with SIGCHLD, which is held
/// back except in [`is_readable_before_child_ends`].
pub(super) fn let_children_go() {
    extern "C" fn ignore(_: i32) {}
    // SAFETY: all zeroes is a valid `sigaction` without flags or a mask; the handler does nothing.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = ignore as extern "C" fn(i32) as usize;
        action.sa_flags = libc::SA_NOCLDWAIT;
        libc::sigaction(libc::SIGCHLD, &raw const action, ptr::null_mut());
    }
    block_signals(&[libc::SIGCHLD]);
}

/// Waits until `fd` can be read or a child ends, and returns which: true is `fd`.
pub(super) fn is_readable_before_child_ends(fd: BorrowedFd<'_>) -> bool {
    let mut polled = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: the set is made by `sigemptyset` before it is used; all outlives the call.
    unsafe {
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::ppoll(&raw mut polled, 1, ptr::null(), &raw const none) > 0
    }
}

/// Waits until this process has no children. Only for one that called [`let_children_go`].
pub(super) fn wait_until_childless() {
    // SAFETY: no status is asked for.
    while unsafe { libc::waitpid(-1, ptr::null_mut(), libc::__WALL) } >= 0
        || io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
    {}
}

/// Waits for the end of the child `pid`. Returns its wait status, and the largest resident size in
/// bytes of it and of the descendants it waited for.
pub(super) fn wait_for(pid: i32) -> io::Result<(i32, u64)> {
    loop {
        match wait4(pid, 0) {
            (-1, ..) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
            (_, status, peak) => return Ok((status, peak)),
        }
    }
}

/// Calls `wait4`; returns the id, the status and the peak of the child it tells of.
fn wait4(pid: i32, flags: i32) -> (i32, i32, u64) {
    let mut status = 0;
    // SAFETY: both places outlive the call; all zeroes is a valid `rusage`.
    let (pid, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        let flags = libc::__WALL | flags;
        (libc::wait4(pid, &raw mut status, flags, &raw mut usage), usage)
    };
    (pid, status, u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024)
}

/// Gives every signal the action a new program expects.
pub(super) fn reset_signal_actions() {
    for signal in 1..=64 {
        // SAFETY: no handler of ours is named; signals that cannot be changed are refused.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Sends `signal` to all other processes of this PID namespace; this one must be its first.
pub(super) fn signal_all(signal: i32) {
    // Anywhere else this would reach all that the user runs.
    if std::process::id() == 1 {
        // SAFETY: takes plain numbers.
        unsafe { libc::kill(-1, signal) };
    }
}

/// Sends `signal` to one process.
pub(super) fn signal_one(pid: i32, signal: i32) {
    debug_assert!(pid > 1);
    // SAFETY: takes plain numbers.
    unsafe { libc::kill(pid, signal) };
}

/// What became of this process's children.
pub(super) enum Children {
    /// One ended: its id, its wait status, and the largest resident size in bytes of it and of the
    /// descendants it waited for.
    Ended { pid: i32, status: i32, peak: u64 },
    /// There are some, and none has ended.
    Running,
    /// There are none.
    None,
}

/// Returns whether a child has ended, without waiting for one.
pub(super) fn look_for_child() -> Children {
    match wait4(-1, libc::WNOHANG) {
        (0, ..) => Children::Running,
        (pid @ 1.., status, peak) => Children::Ended { pid, status, peak },
        _ => Children::None,
    }
}

/// Installs a seccomp filter for this process and all it starts. `no_new_privs` must be set.
pub(super) fn install_filter(program: &[libc::sock_filter]) -> io::Result<()> {
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel copies the program, whose length is given, and does not write to it.
    check(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter)
    })?;
    Ok(())
}

/// What a Landlock ruleset restricts: `struct landlock_ruleset_attr`.
#[repr(C)]
pub(super) struct LandlockRuleset {
    pub(super) files: u64,
    pub(super) network: u64,
    pub(super) scoped: u64,
}

/// What is allowed beneath a path: `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct LandlockBeneath {
    allowed: u64,
    parent: i32,
}

/// Returns the Landlock version of this kernel; 0 is none.
pub(super) fn landlock_version() -> i64 {
    // SAFETY: with the version flag no structure is read.
    check(unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, ptr::null::<u8>(), 0_usize, 1_u32)
    })
    .unwrap_or(0)
}

/// Makes a ruleset that refuses all it names.
pub(super) fn landlock_ruleset(ruleset: &LandlockRuleset) -> io::Result<OwnedFd> {
    let size = match landlock_version() {
        ..=3 => 8_usize,
        4..=5 => 16,
        _ => 24,
    };
    // SAFETY: the structure is at least `size` long and outlives the call.
    let fd = check(unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, ptr::from_ref(ruleset), size, 0_u32)
    })?;
    // SAFETY: the kernel has just made this descriptor, and no one else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(RawFd::try_from(fd).expect("descriptors are small")) })
}

/// Allows `allowed` at and below `parent`.
pub(super) fn landlock_allow(
    ruleset: BorrowedFd<'_>,
    parent: BorrowedFd<'_>,
    allowed: u64,
) -> io::Result<()> {
    let rule = LandlockBeneath { allowed, parent: parent.as_raw_fd() };
    // SAFETY: rule type 1 takes this structure, which outlives the call.
    check(unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), 1, &raw const rule, 0_u32)
    })?;
    Ok(())
}

/// Puts this process and all it starts under the ruleset. `no_new_privs` must be set.
pub(super) fn landlock_restrict(ruleset: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes plain numbers.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0_u32) })?;
    Ok(())
}
