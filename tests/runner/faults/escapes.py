"""Tries to get out of a step in many ways; prints the name of each way that led out.

Called with the doors that the machine has open for it: port of TCP over IPv4, of TCP over IPv6 (0 for none), of
UDP, name of an abstract socket, mark of a process, key of shared memory, a file of a tool.
"""
import ctypes, os, socket, struct, subprocess, sys

tcp4, tcp6, udp, abstract, mark, key, tool = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
# x86_64 and aarch64.
NUMBERS = {
    "x86_64": dict(keyctl=250, add_key=248, io_uring_setup=425, clone3=435, handle=303, unshare=272, clone=56, mount=165,
                   umount=166, pivot=155, fsopen=430, open_tree=428, prlimit=302, affinity=203, ioprio=251,
                   setpriority=141, sethostname=170, setns=308, ptrace=101, memfd=319, getfd=438, pidfd=434),
    "aarch64": dict(keyctl=219, add_key=217, io_uring_setup=425, clone3=435, handle=264, unshare=97, clone=220, mount=40,
                    umount=39, pivot=41, fsopen=430, open_tree=428, prlimit=261, affinity=122, ioprio=30,
                    setpriority=140, sethostname=161, setns=268, ptrace=117, memfd=279, getfd=438, pidfd=434),
}[os.uname().machine]
PROBES = {}


def probe(act):
    """Adds a way out: it leads out if it returns something true and raises nothing."""
    PROBES[act.__name__.replace("_", "-")] = act
    return act


def call(name, *arguments):
    if libc.syscall(NUMBERS[name], *arguments) < 0:
        raise OSError(ctypes.get_errno(), name)
    return True


def in_child(act):
    """Runs an act that changes its process; returns whether it came to its end."""
    child = os.fork()
    if child == 0:
        try:
            act()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def has(path):
    return lambda: len(os.listdir(path)) > 0


def reads(path):
    def act():
        with open(path, "rb") as file:
            return len(file.read(100)) > 0
    return act


# Files of the machine.
for name, act in {
    "list-root-home": has("/root"), "list-sys": has("/sys"), "list-var-lib": has("/var/lib"), "list-var-log": has("/var/log"),
    "list-boot-or-opt": lambda: os.path.isdir("/opt") or os.path.isdir("/boot"), "list-mnt": lambda: os.path.isdir("/mnt"),
    "read-shadow": reads("/etc/shadow"), "read-pam": has("/etc/pam.d"), "list-srv": lambda: os.path.isdir("/srv"),
}.items():
    PROBES[name] = act


# Processes of the machine, and what the kernel tells of it.
def processes():
    return [name for name in os.listdir("/proc") if name.isdigit()]


def of_others(file):
    def act():
        for process in processes():
            if int(process) == os.getpid():
                continue
            try:
                with open(f"/proc/{process}/{file}", "rb") as found:
                    if mark.encode() in found.read():
                        return True
            except OSError:
                pass
        return False
    return act


PROBES["environment-of-a-process"] = of_others("environ")
PROBES["arguments-of-a-process"] = of_others("cmdline")


@probe
def count_processes():
    return len(processes()) > 10


@probe
def root_of_a_process():
    # A sibling's scratch space, or the machine's files.
    return any(os.path.exists(f"/proc/{process}/root/etc/shadow") for process in processes())


@probe
def kernel_command_line():
    return reads("/proc/cmdline")()


@probe
def boot_id():
    return open("/proc/sys/kernel/random/boot_id").read().strip("0-\n") != ""


@probe
def uptime():
    return open("/proc/uptime").read() != "1.00 1.00\n"


@probe
def memory_of_the_machine():
    return "8388608 kB" not in open("/proc/meminfo").readline()


@probe
def mounts_of_the_machine():
    return any(open(f"/proc/1/{file}").read() for file in ("mountinfo", "mounts", "mountstats"))


# The network.
def sends(family, kind, address):
    def act():
        with socket.socket(family, kind) as door:
            door.settimeout(1)
            door.connect(address)
            return door.send(b"hello") == 5
    return act


PROBES["tcp4"] = sends(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", int(tcp4)))
if tcp6 != "0":
    PROBES["tcp6"] = sends(socket.AF_INET6, socket.SOCK_STREAM, ("::1", int(tcp6)))
PROBES["udp"] = sends(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", int(udp)))
PROBES["dns"] = sends(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.53", 53))
PROBES["abstract-socket"] = sends(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + abstract)


@probe
def listening_sockets():
    return len(open("/proc/net/tcp").readlines()) > 1


@probe
def names_of_sockets():
    return any(len(line.split()) > 7 for line in open("/proc/net/unix").readlines()[1:])


@probe
def interfaces():
    """The machine's loopback is up, a step's is not."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        import fcntl
        flags = fcntl.ioctl(door, 0x8913, struct.pack("16sH14s", b"lo", 0, b""))
        return struct.unpack("16sH14s", flags)[1] & 1 == 1


# System calls.
@probe
def keyring():
    return call("keyctl", 0, -3, 1)


@probe
def add_key():
    return call("add_key", b"user", b"kiln", b"x", 1, -2)


@probe
def io_uring():
    return call("io_uring_setup", 1, ctypes.create_string_buffer(120))


@probe
def file_handles():
    handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128), 136)
    return call("handle", -100, b"/usr", handle, ctypes.byref(ctypes.c_int()), 0)


@probe
def vsock():
    return bool(socket.socket(40, socket.SOCK_STREAM))


@probe
def kernel_crypto_sockets():
    return bool(socket.socket(38, socket.SOCK_SEQPACKET))


@probe
def packet_family():
    return bool(socket.socket(17, socket.SOCK_RAW, 3))


@probe
def clone3():
    ctypes.set_errno(0)
    libc.syscall(NUMBERS["clone3"], 0, 0)
    return ctypes.get_errno() != 38


@probe
def limits_of_the_first_process():
    return call("prlimit", 1, 7, 0, ctypes.create_string_buffer(16))


@probe
def processors_of_the_first_process():
    return call("affinity", 1, 8, struct.pack("Q", 1))


@probe
def disk_priority_of_the_first_process():
    return call("ioprio", 1, 1, 0x6000)


@probe
def priority_of_the_first_process():
    return call("setpriority", 0, 1, 0)


@probe
def nested_user_namespace():
    return in_child(lambda: call("unshare", 0x10000000))


@probe
def nested_root():
    def act():
        call("unshare", 0x10000000 | 0x00020000)
        call("mount", b"none", b"/tmp", b"tmpfs", 0, 0)
    return in_child(act)


@probe
def nested_network():
    return in_child(lambda: call("unshare", 0x10000000 | 0x40000000))


# Rights.
@probe
def mount_memory():
    return in_child(lambda: call("mount", b"none", b"/tmp", b"tmpfs", 0, 0) and call("umount", b"/tmp", 2))


@probe
def mount_again():
    return in_child(lambda: call("mount", b"/usr", b"/tmp", 0, 4096, 0) and call("umount", b"/tmp", 2))


@probe
def make_a_file_system():
    return in_child(lambda: call("fsopen", b"tmpfs", 0))


@probe
def copy_of_a_mount():
    return in_child(lambda: call("open_tree", -100, b"/tmp", 1))


@probe
def own_mounts():
    return in_child(lambda: call("unshare", 0x00020000))


@probe
def own_network():
    return in_child(lambda: call("unshare", 0x40000000))


@probe
def own_processes():
    return in_child(lambda: call("unshare", 0x20000000))


@probe
def host_name():
    return in_child(lambda: call("sethostname", b"kiln", 4))


@probe
def raw_socket():
    return bool(socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))


@probe
def loopback_up():
    def act():
        import fcntl
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
            fcntl.ioctl(door, 0x8914, struct.pack("16sH14s", b"lo", 0, b""))
    return in_child(act)


@probe
def rights():
    status = open("/proc/self/status").read()
    return int(status.split("CapEff:")[1].split()[0], 16) != 0


@probe
def trace_the_first_process():
    return call("ptrace", 0x4206, 1, 0, 0)


# What is shared or left open.
@probe
def kept_descriptor():
    return os.path.isdir("/proc/self/fd/9") and len(os.listdir("/proc/self/fd/9")) > 0


@probe
def shared_memory():
    return libc.shmget(int(key), 0, 0) >= 0


# What cannot be changed. Nothing is written: to open it is enough.
def opens(path):
    def act():
        os.close(os.open(path, os.O_WRONLY))
        return True
    return act


def changes(path, mode):
    def act():
        os.chmod(path, mode)
        return True
    return act


PROBES["write-to-the-system"] = opens("/etc/ld.so.cache")
PROBES["write-to-a-tool"] = lambda: changes(tool, 0o644)() and opens(tool)()
PROBES["make-in-the-system"] = lambda: os.access("/usr", os.W_OK)
PROBES["make-in-a-tool"] = lambda: os.access(os.path.dirname(tool), os.W_OK)
PROBES["mode-of-a-device"] = changes("/dev/null", 0o666)
PROBES["setting-of-the-kernel"] = opens("/proc/sys/kernel/core_pattern")
PROBES["make-in-the-root"] = lambda: os.access("/", os.W_OK) or os.access("/etc", os.W_OK)

print("PROBES", len(PROBES))
for name, act in PROBES.items():
    try:
        if act():
            print("ESCAPED", name)
    except (OSError, ValueError, IndexError):
        pass
