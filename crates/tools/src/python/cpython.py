"""Runs programs for the Python tool: one line of JSON in, one out. Started inside the sandbox that `sandbox.rs` describes.

Each program runs in a fork of this process, which holds the imported packages. A fork cannot fork, signal, trace or execute anything, sees no file but
the interpreter's and its scratch folder, has no descriptor of this process, and dies with it. What it says reaches nobody but its own outcome.
"""
import ast, ctypes, errno, json, os, resource, select, shutil, signal, sys, time

SETTINGS = json.loads(sys.argv[1])
SCRATCH = SETTINGS["scratch"]
PR_SET_PDEATHSIG, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 1, 22, 2
LIBC = ctypes.CDLL(None, use_errno=True)


class Filter(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


CODE = [ctypes.create_string_buffer(bytes.fromhex(code)) for code in SETTINGS["filters"]]
FILTERS = [Filter((len(code) - 1) // 8, ctypes.addressof(code)) for code in CODE]


def run(program):
    """Status and text of a program: nothing unless it failed, or printed nothing and ended with an expression."""
    scope = {"__name__": "__main__", "__builtins__": __builtins__}
    try:
        tree = ast.parse(program, "main.py")
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "main.py", "exec"), scope)
        value = eval(compile(ast.Expression(last.value), "main.py", "eval"), scope) if last else None
        sys.stdout.flush()
        return "ok", "" if value is None else repr(value)
    except SystemExit as exit:
        return ("ok", "") if exit.code in (None, 0) else ("error", f"SystemExit: {exit.code}")
    except (MemoryError, RecursionError) as error:
        return "limit", f"{type(error).__name__}: {error}"
    except BaseException as error:
        name, text = type(error).__name__, str(error)
        return "error", f"{name}: {text}" if text else name


def child(program, limits, output, result, parent):
    """The fork: gives up everything, then runs the program."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    os.setsid()
    held = baseline()
    nothing = os.open("/dev/null", os.O_RDWR)
    for source, target in ((nothing, 0), (output, 1), (nothing, 2), (result, 3)):
        os.dup2(source, target)
    os.closerange(4, 4096)
    os.chdir(SCRATCH)
    os.environ.clear()
    os.environ.update(HOME=SCRATCH, TMPDIR=SCRATCH, LANG="C.UTF-8")
    for handled in (signal.SIGINT, signal.SIGPIPE):
        signal.signal(handled, signal.SIG_DFL)
    seconds = int(limits["seconds"]) + 2
    for what, most in (
        (resource.RLIMIT_AS, held + limits["memory"]),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, limits["memory"]),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
    for code in FILTERS:
        if LIBC.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(code), 0, 0):
            os.write(3, json.dumps({"status": "error", "text": f"ToolError: seccomp refused: {errno.errorcode[ctypes.get_errno()]}"}).encode())
            os._exit(1)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w", errors="replace"), open(2, "w")
    sys.setrecursionlimit(max(1000, limits["recursion"]))
    status, text = run(program)
    try:
        sys.stdout.flush()
    except BaseException:
        pass
    # to a descriptor that the program may have closed or used: then it has spoiled its own outcome
    try:
        os.write(3, json.dumps({"status": status, "text": text[: limits["printed"]]}).encode())
    finally:
        os._exit(0)


def baseline():
    """Bytes of address space that this process has before a program begins."""
    if SETTINGS["statm"] is None:
        return 1 << 30
    return int(os.pread(SETTINGS["statm"], 64, 0).split()[0]) * resource.getpagesize()


def supervise(pid, output, result, limits):
    """Gathers what a fork says until it ends, is late, or says too much; it is gone afterwards."""
    deadline = time.monotonic() + limits["seconds"]
    late = "timeout", f"TimeoutError: no answer within {limits['seconds']:.1f} s"
    loud = "limit", f"MemoryError: more than {limits['printed']} bytes printed"
    ended = os.pidfd_open(pid)
    said, waiting, verdict = {output: bytearray(), result: bytearray()}, {output, result, ended}, None

    def gather(source):
        piece = os.read(source, 65536)
        said[source].extend(piece)
        return piece

    def is_loud():
        return len(said[output]) > limits["printed"] or len(said[result]) > 16 * limits["printed"]

    while ended in waiting:
        left = deadline - time.monotonic()
        ready = select.select(list(waiting), [], [], max(left, 0))[0]
        if not ready and left <= 0:
            verdict = late
            break
        for source in ready:
            if source == ended or not gather(source):
                waiting.discard(source)
        if is_loud():
            verdict = loud
            break
    os.kill(pid, signal.SIGKILL)
    _, code = os.waitpid(pid, 0)
    # what was still in the pipes
    for source in said:
        os.set_blocking(source, False)
        try:
            while verdict is None and gather(source):
                verdict = loud if is_loud() else None
        except BlockingIOError:
            pass
    for source in (output, result, ended):
        os.close(source)
    text = said[output][: limits["printed"]].decode(errors="replace")
    if verdict is None:
        try:
            answer = json.loads(said[result])
            verdict = answer["status"], answer["text"]
        except (ValueError, KeyError, TypeError):
            # as after os._exit, a crash, or a kill by a limit
            if os.WIFEXITED(code):
                verdict = ("ok", "") if os.WEXITSTATUS(code) == 0 else ("error", f"SystemExit: {os.WEXITSTATUS(code)}")
            elif os.WTERMSIG(code) == signal.SIGXCPU:
                verdict = late
            else:
                verdict = "error", f"ToolError: the program ended by signal {os.WTERMSIG(code)}"
    status, more = verdict
    if status not in ("ok", "error", "timeout", "limit") or not isinstance(more, str):
        status, more = "error", "ToolError: the program spoiled its outcome"
    if status == "ok":
        return status, text or more
    return status, (text if not text or text.endswith("\n") else text + "\n") + more


def opened(remove, path, _):
    """Removes what a program had shut to its owner."""
    for closed in (os.path.dirname(path), path):
        if os.path.isdir(closed) and not os.path.islink(closed):
            os.chmod(closed, 0o700)
    shutil.rmtree(path) if remove is os.scandir or remove is os.open else remove(path)


def swept():
    """Empties the scratch folder; whether that succeeded."""
    for entry in os.scandir(SCRATCH):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, onerror=opened)
        else:
            os.unlink(entry.path)
    return not os.listdir(SCRATCH)


def answer(line):
    request = json.loads(line)
    limits = request["limits"]
    (output, into_output), (result, into_result) = os.pipe(), os.pipe()
    parent, pid = os.getpid(), os.fork()
    if pid == 0:
        try:
            child(request["program"], limits, into_output, into_result, parent)
        finally:
            os._exit(1)
    os.close(into_output)
    os.close(into_result)
    status, text = supervise(pid, output, result, limits)
    try:
        last = not swept()
    except OSError:
        last = True
    return {"status": status, "text": text, "last": last}


def main():
    for package in SETTINGS["preload"]:
        try:
            __import__(package)
        except ImportError:
            pass
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(line)), flush=True)


main()
