//! Which system calls a step may not make: doors out of its namespaces, parts of the kernel that no
//! build needs and that have been broken into, and what would reach process 1, which later steps
//! share. And which it only seems to make, where a step is user 0 in name. Knows numbers, not steps.
//!
//! A launcher has a cell's filter itself, and what it starts inherits it: to install one takes as
//! long as to start a process. So what a launcher needs is not refused here but by the kernel, for
//! want of a capability: mounts, and namespaces other than those of users.

use std::sync::LazyLock;

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W,
    sock_filter,
};

use super::cell::User;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// From here on the numbers are those of the x32 interface, which would pass by the list.
const X32: u32 = 0x4000_0000;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;
const SECOND_ARGUMENT: u32 = 24;
const THIRD_ARGUMENT: u32 = 32;

/// Refused with EPERM whatever the arguments.
#[rustfmt::skip]
const REFUSED: &[libc::c_long] = &[
    // Other roots, and files by a handle instead of a path.
    libc::SYS_chroot, libc::SYS_open_by_handle_at, libc::SYS_name_to_handle_at,
    // Keys are not in any namespace.
    libc::SYS_keyctl, libc::SYS_add_key, libc::SYS_request_key,
    // Programs and events in the kernel.
    libc::SYS_bpf, libc::SYS_perf_event_open, libc::SYS_userfaultfd, libc::SYS_fanotify_init,
    libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register,
    // The machine as a whole.
    libc::SYS_kexec_load, libc::SYS_init_module, libc::SYS_finit_module, libc::SYS_delete_module,
    libc::SYS_reboot, libc::SYS_swapon, libc::SYS_swapoff, libc::SYS_acct, libc::SYS_syslog,
    libc::SYS_quotactl, libc::SYS_settimeofday, libc::SYS_clock_settime, libc::SYS_vhangup,
    libc::SYS_nfsservctl, libc::SYS_lookup_dcookie, libc::SYS_pidfd_getfd,
    #[cfg(target_arch = "x86_64")] libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")] libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")] libc::SYS_kexec_file_load,
    #[cfg(target_arch = "x86_64")] libc::SYS_modify_ldt,
];

/// The `CLONE_NEWUSER` bit: who has that one has every capability inside.
const NEW_USER: u32 = libc::CLONE_NEWUSER.cast_unsigned();

/// What else sets something of another process, and the argument that names the process.
const REACHING: &[(libc::c_long, u32)] = &[
    (libc::SYS_prlimit64, FIRST_ARGUMENT),
    (libc::SYS_sched_setaffinity, FIRST_ARGUMENT),
    (libc::SYS_sched_setattr, FIRST_ARGUMENT),
    (libc::SYS_sched_setparam, FIRST_ARGUMENT),
    (libc::SYS_sched_setscheduler, FIRST_ARGUMENT),
    (libc::SYS_ioprio_set, SECOND_ARGUMENT),
];

/// What user 0 believes to have done: its files have one owner, and it is one user. (So does
/// Charliecloud, from which the idea is: R. Priedhorsky et al., "Zero-consistency root emulation for
/// unprivileged container image build", 2024, <https://arxiv.org/abs/2405.06085>.) Not `capset`: a
/// launcher has the same filter, and drops rights by that.
#[rustfmt::skip]
const PRETENDED: &[libc::c_long] = &[
    #[cfg(target_arch = "x86_64")] libc::SYS_chown,
    #[cfg(target_arch = "x86_64")] libc::SYS_lchown,
    libc::SYS_fchown, libc::SYS_fchownat,
    libc::SYS_setuid, libc::SYS_setgid, libc::SYS_setreuid, libc::SYS_setregid, libc::SYS_setresuid,
    libc::SYS_setresgid, libc::SYS_setfsuid, libc::SYS_setfsgid, libc::SYS_setgroups,
];

/// The calls that make files of any kind, and the argument that says of which.
const MAKING_FILES: &[(libc::c_long, u32)] = &[
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mknod, SECOND_ARGUMENT),
    (libc::SYS_mknodat, THIRD_ARGUMENT),
];

/// The families a socket may have without a network, and the one that is added with it.
const UNIX: u32 = libc::AF_UNIX.cast_unsigned();
const INET: [u32; 3] = [
    libc::AF_INET.cast_unsigned(),
    libc::AF_INET6.cast_unsigned(),
    libc::AF_NETLINK.cast_unsigned(),
];

/// Which sockets a filter lets a step make.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sockets {
    /// Unix, IPv4, IPv6 and netlink: the network namespace decides where they lead.
    Namespaced,
    /// Unix only: there is no network namespace.
    UnixOnly,
}

/// Returns the filter, made once.
pub(super) fn filter(sockets: Sockets, user: User) -> &'static [sock_filter] {
    type Filter = LazyLock<Vec<sock_filter>>;
    static NAMESPACED: Filter = LazyLock::new(|| make(Sockets::Namespaced, User::Build));
    static UNIX_ONLY: Filter = LazyLock::new(|| make(Sockets::UnixOnly, User::Build));
    static FOR_ROOT: Filter = LazyLock::new(|| make(Sockets::Namespaced, User::Root));
    match (user, sockets) {
        (User::Root, _) => &FOR_ROOT,
        (User::Build, Sockets::Namespaced) => &NAMESPACED,
        (User::Build, Sockets::UnixOnly) => &UNIX_ONLY,
    }
}

fn make(sockets: Sockets, user: User) -> Vec<sock_filter> {
    let mut filter = vec![load(ARCH)];
    filter.extend(unless_equal(ARCHITECTURE, refuse(libc::ENOSYS)));
    filter.push(load(NUMBER));
    filter.extend([jump(BPF_JGE, X32, 0, 1), refuse(libc::ENOSYS)]);
    filter.extend(search(&calls(sockets, user)));
    filter
}

/// What to do for a system call: a few instructions that end in a verdict.
type Case = (u32, Vec<sock_filter>);

/// Returns all calls that are not simply allowed, by number.
fn calls(sockets: Sockets, user: User) -> Vec<Case> {
    let number = |call: libc::c_long| u32::try_from(call).expect("system calls are few");
    let mut cases: Vec<Case> =
        REFUSED.iter().map(|call| (number(*call), vec![refuse(libc::EPERM)])).collect();
    cases.push((number(libc::SYS_clone3), vec![refuse(libc::ENOSYS)]));
    for call in [libc::SYS_clone, libc::SYS_unshare] {
        cases.push((
            number(call),
            vec![load(FIRST_ARGUMENT), jump(BPF_JSET, NEW_USER, 0, 1), refuse(libc::EPERM), ALLOW],
        ));
    }
    cases.push((
        number(libc::SYS_ioctl),
        vec![
            load(SECOND_ARGUMENT),
            jump(BPF_JEQ, 0x5412, 2, 0), // TIOCSTI
            jump(BPF_JEQ, 0x541c, 1, 0), // TIOCLINUX
            ALLOW,
            refuse(libc::EPERM),
        ],
    ));
    for (call, argument) in REACHING {
        let process_1 = jump(BPF_JEQ, 1, 0, 1);
        cases.push((number(*call), vec![load(*argument), process_1, refuse(libc::EPERM), ALLOW]));
    }
    cases.push((
        number(libc::SYS_setpriority),
        vec![
            load(FIRST_ARGUMENT),
            jump(BPF_JEQ, libc::PRIO_USER, 3, 0),
            load(SECOND_ARGUMENT),
            jump(BPF_JEQ, 1, 1, 0),
            ALLOW,
            refuse(libc::EPERM),
        ],
    ));
    for call in [libc::SYS_socket, libc::SYS_socketpair] {
        cases.push((number(call), families(sockets)));
    }
    if user == User::Root {
        cases.extend(PRETENDED.iter().map(|call| (number(*call), vec![refuse(0)])));
        for (call, argument) in MAKING_FILES {
            cases.push((number(*call), no_devices(*argument)));
        }
    }
    cases.sort_by_key(|(call, _)| *call);
    cases
}

/// Allows the socket families of `sockets` only; others, such as AF_VSOCK, are in no namespace.
fn families(sockets: Sockets) -> Vec<sock_filter> {
    let allowed = match sockets {
        Sockets::Namespaced => [&[UNIX][..], &INET].concat(),
        Sockets::UnixOnly => vec![UNIX],
    };
    let mut code = vec![load(FIRST_ARGUMENT)];
    for (index, family) in allowed.iter().enumerate() {
        let to_allow = u8::try_from(allowed.len() - index).expect("few families");
        code.push(jump(BPF_JEQ, *family, to_allow, 0));
    }
    code.extend([refuse(libc::EAFNOSUPPORT), ALLOW]);
    code
}

/// Pretends to make devices; makes all else.
fn no_devices(mode: u32) -> Vec<sock_filter> {
    vec![
        load(mode),
        sock_filter { code: op(BPF_ALU | BPF_AND | BPF_K), jt: 0, jf: 0, k: libc::S_IFMT },
        jump(BPF_JEQ, libc::S_IFCHR, 2, 0),
        jump(BPF_JEQ, libc::S_IFBLK, 1, 0),
        ALLOW,
        refuse(0),
    ]
}

/// Returns a binary search for the number in the accumulator: the kernel runs a new filter once
/// for every system call there is, so that its depth is felt at each start.
fn search(cases: &[Case]) -> Vec<sock_filter> {
    if let [(call, code)] = cases {
        return [unless_equal(*call, ALLOW).to_vec(), code.clone()].concat();
    }
    let (low, high) = cases.split_at(cases.len() / 2);
    let low_code = search(low);
    let over = u32::try_from(low_code.len()).expect("filters are short");
    // A conditional jump spans 255 instructions, an unconditional one any number.
    [
        vec![
            jump(BPF_JGE, high[0].0, 0, 1),
            sock_filter { code: op(BPF_JMP | libc::BPF_JA), jt: 0, jf: 0, k: over },
        ],
        low_code,
        search(high),
    ]
    .concat()
}

const ALLOW: sock_filter =
    sock_filter { code: op(BPF_RET | BPF_K), jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };

const fn op(code: u32) -> u16 {
    assert!(code <= u16::MAX as u32);
    code as u16
}

const fn load(offset: u32) -> sock_filter {
    sock_filter { code: op(BPF_LD | BPF_W | BPF_ABS), jt: 0, jf: 0, k: offset }
}

const fn jump(test: u32, value: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: op(BPF_JMP | test | BPF_K), jt, jf, k: value }
}

const fn refuse(errno: i32) -> sock_filter {
    let k = libc::SECCOMP_RET_ERRNO | errno.cast_unsigned();
    sock_filter { code: op(BPF_RET | BPF_K), jt: 0, jf: 0, k }
}

const fn unless_equal(value: u32, verdict: sock_filter) -> [sock_filter; 2] {
    [jump(BPF_JEQ, value, 1, 0), verdict]
}
