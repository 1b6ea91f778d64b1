"""Runs programs for the Python tool, and begins sessions. Started behind the walls that `mod.rs`
beside this describes.

This process holds the imported packages and nothing of any program: a program's text comes through
a descriptor that only its fork reads, and what it prints goes to the trainer through another. So a
fork finds no remains of the one before. What a program can write is never read here.

Messages are those of `crates/containment`: 8 bytes of number, 4 of length, JSON.
"""
CONTROL = socket.socket(fileno=0)
# to whoever watches over the scratch folder on the disk; there is none in namespaces
KEEPER = SETTINGS["keeper"] and socket.socket(fileno=SETTINGS["keeper"])
ZYGOTE = os.getpid()
HEADER = 12
# `siginfo_t`
ENDED = (ctypes.c_char * 128)()


def exactly(control, length):
    """Bytes from the trainer; without it there is nothing left to do."""
    heard = b""
    while len(heard) < length:
        piece = control.recv(length - len(heard))
        if not piece:
            raise Gone
        heard += piece
    return heard


def hear(control):
    """The next message: number, JSON, descriptors."""
    first, descriptors, _, _ = socket.recv_fds(control, HEADER, 4)
    if not first:
        raise Gone
    header = first + exactly(control, HEADER - len(first))
    length = int.from_bytes(header[8:], "little")
    return int.from_bytes(header[:8], "little"), json.loads(exactly(control, length)), descriptors


def say(number, message):
    body = json.dumps(message).encode()
    CONTROL.sendall(number.to_bytes(8, "little") + len(body).to_bytes(4, "little") + body)


def say_how(control, number, full, ready, troubled):
    """How a program ended, as it stands in `ENDED`. It goes from the kernel to the trainer without
    becoming an object of this process, where the next program would find it.
    """
    rest = bytes((full, ready)) + troubled
    header = number.to_bytes(8, "little") + (len(ENDED) + len(rest)).to_bytes(4, "little")
    sent = control.sendmsg([header, ENDED, rest])
    ctypes.memset(ENDED, 0, len(ENDED))
    if sent != HEADER + len(ENDED) + len(rest):
        os._exit(1)


def told(keeper, word):
    """Tells the keeper something and returns all it says until it is done."""
    keeper.sendall(word)
    heard = b""
    while not heard.endswith(b"d"):
        piece = keeper.recv(64)
        if not piece:
            raise Gone
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


def stop(pid, ended):
    """Lets a program stand still, so that what it has in files can be measured; or it has ended."""
    signal.pidfd_send_signal(ended, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    KEEPER.sendall(b"p")


def play(number, limits, descriptors):
    """Runs a program until it ends or the trainer has had enough, and tells the trainer."""
    place = Place(scratch_of(number), SETTINGS["ruleset"])
    pid, troubled = begun(child, limits, place, descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
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
        elif hear(CONTROL)[0] == number:
            signal.pidfd_send_signal(ended, signal.SIGKILL)
    os.close(ended)
    ready = True
    if KEEPER:
        full = b"f" in told(KEEPER, b"e") or full
        os.chmod(os.path.dirname(place.scratch), 0o700)
        try:
            os.rmdir(place.scratch)
        except OSError:
            os.rename(place.scratch, os.path.join(SETTINGS["scratch"], "swept", str(number)))
            ready = False
    checked("waitid", LIBC.waitid(os.P_PID, pid, ctypes.byref(ENDED), os.WEXITED))
    say_how(CONTROL, number, full, ready, troubled)
    return ready


def begin_session(descriptors):
    """A warden for a session, which talks with the trainer over a socket of its own."""
    # nobody asks how it ends
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        if os.fork() == 0:
            become_warden(descriptors[0])
    except OSError:
        # the trainer sees that the socket is closed
        pass
    for descriptor in descriptors:
        os.close(descriptor)


def serve():
    while True:
        number, request, descriptors = hear(CONTROL)
        if "session" in request:
            begin_session(descriptors)
        # otherwise it came too late: that program has ended
        elif "limits" in request and not play(number, request["limits"], descriptors):
            told(KEEPER, b"s")
            say(0, {"ready": True})


def main():
    # the first place to look for modules is the folder of the program, of which there is none
    sys.path[:] = [folder for folder in sys.path if folder]
    for package in SETTINGS["preload"]:
        try:
            __import__(package)
        except ImportError:
            pass
    say(0, {"ready": True, "layers": SETTINGS["layers"]})
    try:
        serve()
    except Gone:
        os._exit(0)


main()
