"""Runs programs for the Python tool. Started behind the walls that `mod.rs` beside this describes.

This process holds the imported packages and nothing of any program: a program's text comes through
a descriptor that only its fork reads, and what it prints goes to the trainer through another. So a
fork finds no remains of the one before. What a program can write is never read here.

Messages are those of `crates/containment`: 8 bytes of number, 4 of length, JSON.
"""
import ast, ctypes, errno, json, os, resource, select, signal, socket, sys

SETTINGS = json.loads(sys.argv[1])
CONTROL = socket.socket(fileno=0)
# to whoever watches over the scratch folder on the disk; there is none in namespaces
KEEPER = SETTINGS["keeper"] and socket.socket(fileno=SETTINGS["keeper"])
HEADER = 12
# `siginfo_t`
ENDED = (ctypes.c_char * 128)()
# how a program ends, besides the codes that it may choose itself
ENDED_WITH_ERROR, ENDED_AT_LIMIT = 250, 251

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 1, 4, 22, 2
CLONE_NEWNS, CLONE_NEWPID = 0x00020000, 0x20000000
MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
LINUX_CAPABILITY_VERSION_3 = 0x20080522


class Filter(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


CODE = [ctypes.create_string_buffer(bytes.fromhex(code)) for code in SETTINGS["filters"]]
FILTERS = [Filter((len(code) - 1) // 8, ctypes.addressof(code)) for code in CODE]


def checked(what, result):
    """Raises what the system says if a call failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what} refused: {errno.errorcode.get(number, number)}")


# --- in the fork


def run(program):
    """Status and last words of a program: words only if it failed, or ended with an expression."""
    scope = {"__name__": "__main__", "__builtins__": __builtins__}
    try:
        tree = ast.parse(program, "main.py")
        last = None
        if tree.body and isinstance(tree.body[-1], ast.Expr):
            last = ast.Expression(tree.body.pop().value)
        exec(compile(tree, "main.py", "exec"), scope)
        value = eval(compile(last, "main.py", "eval"), scope) if last else None
        sys.stdout.flush()
        return 0, "" if value is None else repr(value)
    except SystemExit as exit:
        if exit.code in (None, 0):
            return 0, ""
        return ENDED_WITH_ERROR, f"SystemExit: {exit.code}"
    except (MemoryError, RecursionError) as error:
        return ENDED_AT_LIMIT, f"{type(error).__name__}: {error}"
    except BaseException as error:
        name, text = type(error).__name__, str(error)
        return ENDED_WITH_ERROR, f"{name}: {text}" if text else name


def own_namespace(limits):
    """A scratch folder in memory, which ends with the program; then no capability is left."""
    options = f"size={limits['files']},nr_inodes={SETTINGS['entries']},mode=700"
    scratch = SETTINGS["scratch"].encode()
    checked("unshare", LIBC.unshare(CLONE_NEWNS))
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
    checked("tmpfs", LIBC.mount(b"scratch", scratch, b"tmpfs", flags, options.encode()))
    header = (ctypes.c_uint32 * 2)(LINUX_CAPABILITY_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()
    checked("capset", LIBC.syscall(SETTINGS["capset"], header, none))


def restricted(limits, held):
    """Limits, files and system calls, from here on."""
    seconds = int(limits["seconds"]) + 2
    for what, most in (
        (resource.RLIMIT_AS, held + limits["memory"]),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, limits["file"]),
        (resource.RLIMIT_NOFILE, 32),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        resource.setrlimit(what, (most, most))
    if SETTINGS["ruleset"]:
        restrict = LIBC.syscall(SETTINGS["restrict_self"], SETTINGS["ruleset"], 0)
        checked("landlock", restrict)
        os.close(SETTINGS["ruleset"])
    for code in FILTERS:
        pointer = ctypes.byref(code)
        checked("seccomp", LIBC.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, pointer, 0, 0))


def child(limits, scratch, held, parent, descriptors, trouble):
    """The fork: gives up everything, then runs the program."""
    program, output, words = descriptors
    try:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        # inside a namespace of its own it sees no parent
        if os.getppid() not in (0, parent):
            os._exit(1)
        os.setsid()
        text = os.pread(program, os.fstat(program).st_size, 0).decode()
        if SETTINGS["namespaces"]:
            own_namespace(limits)
        os.chdir(scratch)
        os.environ.clear()
        os.environ.update(HOME=scratch, TMPDIR=scratch, LANG="C.UTF-8")
        for handled in (signal.SIGINT, signal.SIGPIPE):
            signal.signal(handled, signal.SIG_DFL)
        # standard descriptors, the last words, trouble and the ruleset; all others go
        nothing = os.open("/dev/null", os.O_RDWR)
        for source, target in ((nothing, 0), (output, 1), (nothing, 2), (words, 3)):
            os.dup2(source, target)
        kept = sorted({3, trouble, SETTINGS["ruleset"]} - {0})
        for low, high in zip(kept, [*kept[1:], 1 << 20]):
            os.closerange(low + 1, high)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w", errors="replace"), open(2, "w")
        sys.setrecursionlimit(max(1000, limits["recursion"]))
        restricted(limits, held)
    except BaseException as error:
        os.write(trouble, str(error).encode(errors="replace"))
        os._exit(1)
    os.close(trouble)
    status, last = run(text)
    try:
        sys.stdout.flush()
    except BaseException:
        pass
    # to a descriptor that the program may have closed or used: then it has spoiled its own outcome
    try:
        last = last[: limits["printed"]].encode(errors="replace")
        while last:
            last = last[os.write(3, last) :]
    finally:
        os._exit(status)


# --- in this process


def exactly(length):
    """Bytes from the trainer; without it there is nothing left to do."""
    received = b""
    while len(received) < length:
        piece = CONTROL.recv(length - len(received))
        if not piece:
            os._exit(0)
        received += piece
    return received


def hear():
    """The next message: number, JSON, descriptors."""
    first, descriptors, _, _ = socket.recv_fds(CONTROL, HEADER, 4)
    if not first:
        os._exit(0)
    header = first + exactly(HEADER - len(first))
    length = int.from_bytes(header[8:], "little")
    return int.from_bytes(header[:8], "little"), json.loads(exactly(length)), descriptors


def say(number, message):
    body = json.dumps(message).encode()
    CONTROL.sendall(number.to_bytes(8, "little") + len(body).to_bytes(4, "little") + body)


def forked():
    """A fork, in a namespace of processes of its own where there are any."""
    if not SETTINGS["namespaces"]:
        return os.fork()
    checked("unshare", LIBC.unshare(CLONE_NEWPID))
    pid = os.fork()
    if pid:
        # the next one's is a child of this process's namespace again, not of the one just made
        checked("setns", LIBC.setns(OWN_NAMESPACE, CLONE_NEWPID))
    return pid


def told(*words):
    """Tells the keeper something and returns all it says until it is done."""
    KEEPER.sendall(b"".join(words))
    heard = b""
    while not heard.endswith(b"d"):
        piece = KEEPER.recv(64)
        if not piece:
            os._exit(0)
        heard += piece
    return heard


def scratch_of(number):
    """Where a program may write."""
    if SETTINGS["namespaces"]:
        return SETTINGS["scratch"]
    folder = os.path.join(SETTINGS["scratch"], "programs")
    scratch = os.path.join(folder, str(number))
    # shut while a program runs, which could leave something beside its own folder otherwise
    os.chmod(folder, 0o700)
    os.mkdir(scratch, 0o700)
    os.chmod(folder, 0o500)
    return scratch


def held():
    """Bytes of address space that this process has before a program begins."""
    if not SETTINGS["statm"]:
        return 1 << 30
    return int(os.pread(SETTINGS["statm"], 64, 0).split()[0]) * resource.getpagesize()


def stop(pid, ended):
    """Lets a program stand still, so that what it has in files can be measured; or it has ended."""
    signal.pidfd_send_signal(ended, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    KEEPER.sendall(b"p")


def play(number, limits, descriptors):
    """Runs a program until it ends or the trainer has had enough, and tells the trainer."""
    scratch, before, parent = scratch_of(number), held(), os.getpid()
    trouble, into_trouble = os.pipe()
    pid = forked()
    if pid == 0:
        try:
            child(limits, scratch, before, parent, descriptors, into_trouble)
        finally:
            os._exit(1)
    for descriptor in (into_trouble, *descriptors):
        os.close(descriptor)
    # the fork closes its end before the program begins
    troubled = os.read(trouble, 1000)
    os.close(trouble)
    if KEEPER:
        KEEPER.sendall(b"w")
    ended, full = os.pidfd_open(pid), False
    listened = [CONTROL, ended, *([KEEPER] if KEEPER else [])]
    while True:
        heard = select.select(listened, [], [])[0]
        if ended in heard:
            break
        if KEEPER in heard:
            word = KEEPER.recv(1)
            if word == b"p":
                stop(pid, ended)
            elif word == b"c":
                signal.pidfd_send_signal(ended, signal.SIGCONT)
            else:
                full = word == b"f"
                signal.pidfd_send_signal(ended, signal.SIGKILL)
                listened.remove(KEEPER)
        # all that is said while a program runs is that it shall end
        elif hear()[0] == number:
            signal.pidfd_send_signal(ended, signal.SIGKILL)
    os.close(ended)
    ready = True
    if KEEPER:
        full = b"f" in told(b"e") or full
        os.chmod(os.path.dirname(scratch), 0o700)
        try:
            os.rmdir(scratch)
        except OSError:
            os.rename(scratch, os.path.join(SETTINGS["scratch"], "swept", str(number)))
            ready = False
    # how it ended goes from the kernel to the trainer without becoming an object of this process,
    # where the next program would find it
    checked("waitid", LIBC.waitid(os.P_PID, pid, ctypes.byref(ENDED), os.WEXITED))
    rest = bytes((full, ready)) + troubled
    header = number.to_bytes(8, "little") + (len(ENDED) + len(rest)).to_bytes(4, "little")
    sent = CONTROL.sendmsg([header, ENDED, rest])
    ctypes.memset(ENDED, 0, len(ENDED))
    if sent != HEADER + len(ENDED) + len(rest):
        os._exit(1)
    return ready


def main():
    # the first place to look for modules is the folder of the program, of which there is none
    sys.path[:] = [folder for folder in sys.path if folder]
    for package in SETTINGS["preload"]:
        try:
            __import__(package)
        except ImportError:
            pass
    say(0, {"ready": True, "layers": SETTINGS["layers"]})
    while True:
        number, request, descriptors = hear()
        if "limits" not in request:
            # it came too late: that program has ended
            continue
        if not play(number, request["limits"], descriptors):
            told(b"s")
            say(0, {"ready": True})


LIBC.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
OWN_NAMESPACE = os.pidfd_open(os.getpid()) if SETTINGS["namespaces"] else None
main()
