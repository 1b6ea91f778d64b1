"""The fork that a program runs in: it gives up everything, then runs the text that a descriptor
holds. `mod.rs` beside this describes the walls. First of three files that are one program:
`session.py` and `zygote.py` follow.
"""
import ast, ctypes, errno, fcntl, json, os, resource, select, signal, socket, struct, sys, time

SETTINGS = json.loads(sys.argv[1])
# how a program ends, besides the codes that it may choose itself
ENDED_WITH_ERROR, ENDED_AT_LIMIT, ENDED_OUT_OF_MEMORY = 250, 251, 252
# in the order of their descriptors
STREAMS = {"stdin": "r", "stdout": "w", "stderr": "w"}

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


class Place:
    """Where a program runs: its scratch folder, Landlock's rules for it (0 for none), the process
    that it is a child of and the bytes of address space that this has.
    """

    def __init__(self, scratch, ruleset):
        self.scratch, self.ruleset = scratch, ruleset
        self.parent, self.held = os.getpid(), held()


def held():
    """Bytes of address space that the interpreter has before a program begins."""
    if not SETTINGS["statm"]:
        return 1 << 30
    return int(os.pread(SETTINGS["statm"], 64, 0).split()[0]) * resource.getpagesize()


def checked(what, result):
    """Raises what the system says if a call failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what} refused: {errno.errorcode.get(number, number)}")


def new_scope():
    """What a program's names are in."""
    return {"__name__": "__main__", "__builtins__": __builtins__}


def run(program, scope):
    """Status and last words of a program: words only if it failed, or ended with an expression."""
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
    except MemoryError as error:
        return ENDED_OUT_OF_MEMORY, f"MemoryError: {error}"
    except RecursionError as error:
        return ENDED_AT_LIMIT, f"RecursionError: {error}"
    except BaseException as error:
        name, text = type(error).__name__, str(error)
        return ENDED_WITH_ERROR, f"{name}: {text}" if text else name


def say_last(last, limits):
    """Last words, to a descriptor that the program may have closed or used: then it has spoiled its
    own outcome.
    """
    last = last[: limits["printed"]].encode(errors="replace")
    while last:
        last = last[os.write(3, last) :]


def flushed(stream):
    """Lets go of what was printed, whatever the program made of the stream."""
    try:
        stream.flush()
    except BaseException:
        pass


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


def restricted(limits, place, cpu):
    """Limits, files and system calls, from here on; `cpu` seconds of the processor."""
    for what, most in (
        (resource.RLIMIT_AS, place.held + limits["memory"]),
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_FSIZE, limits["file"]),
        (resource.RLIMIT_NOFILE, 32),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        resource.setrlimit(what, (most, most))
    if place.ruleset:
        checked("landlock", LIBC.syscall(SETTINGS["restrict_self"], place.ruleset, 0))
        os.close(place.ruleset)
    for code in FILTERS:
        pointer = ctypes.byref(code)
        checked("seccomp", LIBC.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, pointer, 0, 0))


def close_all_but(kept):
    """Closes all descriptors but these and the standard ones."""
    kept = sorted({2, *kept} - {0})
    for low, high in zip(kept, [*kept[1:], 1 << 20]):
        os.closerange(low + 1, high)


def enclosed(limits, place, cpu, descriptors, trouble):
    """Gives up everything but the given descriptors (`number: descriptor`, besides empty standard
    ones) and the one to tell trouble to, which is closed when all walls stand.
    """
    try:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        # inside a namespace of its own it sees no parent
        if os.getppid() not in (0, place.parent):
            os._exit(1)
        os.setsid()
        if SETTINGS["namespaces"]:
            own_namespace(limits)
        os.chdir(place.scratch)
        os.environ.clear()
        os.environ.update(HOME=place.scratch, TMPDIR=place.scratch, LANG="C.UTF-8")
        for handled in (signal.SIGINT, signal.SIGPIPE):
            signal.signal(handled, signal.SIG_DFL)
        nothing = os.open("/dev/null", os.O_RDWR)
        for target in (0, 1, 2):
            os.dup2(descriptors.pop(target, nothing), target)
        for target, source in descriptors.items():
            os.dup2(source, target)
        close_all_but({*descriptors, trouble, place.ruleset})
        for number, (name, mode) in enumerate(STREAMS.items()):
            setattr(sys, name, open(number, mode, errors="replace", closefd=False))
        sys.setrecursionlimit(max(1000, limits["recursion"]))
        restricted(limits, place, cpu)
    except BaseException as error:
        os.write(trouble, str(error).encode(errors="replace"))
        os._exit(1)
    os.close(trouble)


def child(limits, place, given, trouble):
    """The fork of a single program, which ends with it."""
    program, output, words = given
    text = os.pread(program, os.fstat(program).st_size, 0).decode()
    cpu = int(limits["seconds"]) + 2
    enclosed(limits, place, cpu, {1: output, 3: words}, trouble)
    status, last = run(text, new_scope())
    flushed(sys.stdout)
    try:
        say_last(last, limits)
    finally:
        os._exit(status)


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


def begun(body, limits, place, *given):
    """A fork that runs `body` (a function of `limits`, `place`, what is given and the descriptor
    for trouble), and what kept it from beginning. Forks close that descriptor before programs begin.
    """
    trouble, into_trouble = os.pipe()
    pid = forked()
    if pid == 0:
        try:
            body(limits, place, *given, into_trouble)
        finally:
            os._exit(1)
    os.close(into_trouble)
    troubled = os.read(trouble, 1000)
    os.close(trouble)
    return pid, troubled


LIBC.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
OWN_NAMESPACE = os.pidfd_open(os.getpid()) if SETTINGS["namespaces"] else None
