"""A session: a fork that runs one program after the other and keeps its names, and its warden.

The warden is a fork of the zygote without walls, one for each session; the program's fork is its
child. It hears from the trainer that a program begins, hands over the descriptors of its text and
of fresh pipes, unread, lets the fork run, and stops it (SIGSTOP) as soon as it has said that it is
done, or kills it. Between calls the fork stands still. All that the warden ever reads of what a
program can write to is one byte, which says what the exit code of a single program says.
"""
# the fork's descriptor for programs that come, beyond those that programs use; `seccomp.rs` allows
# the call that receives for it alone
LINK = 31
# the number of the first descriptor that programs do not use
BEYOND = 20


def renewed(streams):
    """The standard streams as they were at first, whatever the last program made of them."""
    for number, (name, mode) in enumerate(STREAMS.items()):
        if streams[name].closed:
            streams[name] = open(number, mode, errors="replace", closefd=False)
        setattr(sys, name, streams[name])


def received(link):
    """The descriptors of the next program, moved out of the way of those that a program may have
    closed.
    """
    _, descriptors, _, _ = socket.recv_fds(link, 1, 4)
    if len(descriptors) != 4:
        os._exit(1)
    moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, BEYOND) for descriptor in descriptors]
    for descriptor in descriptors:
        os.close(descriptor)
    return moved


def answered(limits, text, scope, streams):
    """Runs a program and says its last words; its status."""
    renewed(streams)
    status, last = run(text, scope)
    for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
        signal.setitimer(timer, 0)
    for stream in (sys.stdout, streams["stdout"]):
        flushed(stream)
    try:
        say_last(last, limits)
    except OSError:
        # it has spoiled its own outcome
        pass
    return status


def converse(limits, place, link, trouble):
    """The fork: runs one program after the other."""
    link = link.detach()
    os.dup2(link, LINK)
    # known before the walls stand, as the fork may ask nothing about it behind them
    socket_of_programs = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=LINK)
    enclosed(limits, place, resource.RLIM_INFINITY, {LINK: LINK}, trouble)
    # what is written to the pipe of an earlier call is an error, no end
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    scope = new_scope()
    streams = {name: getattr(sys, name) for name in STREAMS}
    try:
        while True:
            program, output, words, done = received(socket_of_programs)
            text = os.pread(program, os.fstat(program).st_size, 0).decode()
            os.dup2(output, 1)
            os.dup2(words, 3)
            for descriptor in (program, output, words):
                os.close(descriptor)
            status = answered(limits, text, scope, streams)
            if status == ENDED_OUT_OF_MEMORY:
                # what holds the memory is still there, so that nothing more would work
                os._exit(status)
            os.write(done, bytes((status,)))
            os.close(done)
    except MemoryError:
        os._exit(ENDED_OUT_OF_MEMORY)


class Gone(Exception):
    """The other end of a socket is."""


class Warden:
    """Keeps one session: the fork, and what is said with the trainer about it."""

    def __init__(self, control):
        self.control, self.pid, self.ended, self.link = control, None, None, None
        self.keeper = None

    def place(self):
        """Where the session's programs run; the keeper makes the folder on the disk."""
        if not KEEPER:
            return Place(SETTINGS["scratch"], SETTINGS["ruleset"])
        ours, theirs = socket.socketpair()
        socket.send_fds(KEEPER, [b"n"], [theirs.fileno()])
        theirs.close()
        self.keeper = ours
        name, rulesets, _, _ = socket.recv_fds(ours, 64, 1)
        if not name or len(rulesets) < bool(SETTINGS["ruleset"]):
            raise Gone
        folder = os.path.join(SETTINGS["scratch"], "programs", name.decode())
        return Place(folder, rulesets[0] if rulesets else 0)

    def begin(self, limits):
        """Forks; what kept the fork from beginning."""
        place = self.place()
        ours, theirs = socket.socketpair()
        # the fork can say nothing over it
        ours.shutdown(socket.SHUT_RD)
        self.pid, troubled = begun(converse, limits, place, theirs)
        theirs.close()
        self.link, self.ended = ours, os.pidfd_open(self.pid)
        if self.keeper and place.ruleset:
            os.close(place.ruleset)
        return troubled

    def signal(self, number):
        signal.pidfd_send_signal(self.ended, number)

    def stand_still(self):
        """Stops the fork; whether it lives."""
        self.signal(signal.SIGSTOP)
        how = os.WSTOPPED | os.WEXITED | os.WNOWAIT
        return os.waitid(os.P_PID, self.pid, how).si_code == os.CLD_STOPPED

    def hand_over(self, descriptors):
        """Gives the fork its next program; the descriptor at which it says that it is done."""
        done, into_done = os.pipe()
        try:
            socket.send_fds(self.link, [b"p"], [*descriptors, into_done])
        except BrokenPipeError:
            # it has given up its end, and will be late
            pass
        for descriptor in (*descriptors, into_done):
            os.close(descriptor)
        self.signal(signal.SIGCONT)
        return done

    def play(self, number, limits, descriptors):
        """Runs a program: its status (None: the fork has ended), and whether its folder is full."""
        if self.keeper:
            self.keeper.sendall(b"w")
        done, full, status = self.hand_over(descriptors), False, None
        # the trainer says when it is too late; this is for when it does not
        latest = time.monotonic() + limits["seconds"] + 2
        listened = [self.control, self.ended, done, *([self.keeper] if self.keeper else [])]
        while True:
            heard = select.select(listened, [], [], max(0, latest - time.monotonic()))[0]
            if self.ended in heard:
                break
            if done in heard:
                status = os.read(done, 1)
                # no word is none that could be believed: all descriptors for it were closed
                if status and self.stand_still():
                    break
                self.signal(signal.SIGKILL)
                listened.remove(done)
            elif self.keeper in heard:
                full = self.measured(listened) or full
            # all that is said while a program runs is that it shall end
            elif not heard or hear(self.control)[0] == number:
                self.signal(signal.SIGKILL)
                latest = time.monotonic() + 2
        os.close(done)
        if self.keeper:
            # the last measure, now that it stands still
            full = b"f" in told(self.keeper, b"m") or full
        if full or not status or self.ended in select.select([self.ended], [], [], 0)[0]:
            status = None
        return status, full

    def measured(self, listened):
        """Does what the keeper asks for; whether it has found the folder full."""
        word = self.keeper.recv(1)
        if word == b"p":
            self.stand_still()
            self.keeper.sendall(b"p")
        elif word == b"c":
            self.signal(signal.SIGCONT)
        else:
            self.signal(signal.SIGKILL)
            listened.remove(self.keeper)
        return word == b"f"

    def end(self):
        """Kills the fork; how it ended is then in `ENDED`."""
        self.signal(signal.SIGKILL)
        checked("waitid", LIBC.waitid(os.P_PID, self.pid, ctypes.byref(ENDED), os.WEXITED))

    def keep(self):
        """Plays what the trainer says until the session ends."""
        troubled = b""
        while True:
            number, request, descriptors = hear(self.control)
            if "limits" not in request:
                # it came too late: that program has ended
                continue
            if self.pid is None:
                troubled = self.begin(request["limits"])
            status, full = self.play(number, request["limits"], descriptors)
            if status is None:
                self.end()
            else:
                # as the kernel would say it of a program that ended with this code
                struct.pack_into("i", ENDED, 8, os.CLD_EXITED)
                struct.pack_into("i", ENDED, 24, status[0])
            say_how(self.control, number, full, status is not None, troubled)
            if status is None:
                return


def become_warden(control):
    """What a fork of the zygote does for a session. It ends with it."""
    global OWN_NAMESPACE
    try:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != ZYGOTE:
            return
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        nothing = os.open("/dev/null", os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nothing, number)
        kept = (SETTINGS[name] for name in ("statm", "ruleset", "keeper"))
        close_all_but({control, *kept})
        if OWN_NAMESPACE:
            # that of another process is not open to it
            OWN_NAMESPACE = os.pidfd_open(os.getpid())
        warden = Warden(socket.socket(fileno=control))
        try:
            warden.keep()
        except (Gone, OSError):
            if warden.ended:
                warden.end()
    finally:
        os._exit(0)
