#!/usr/bin/env python3
"""Whether the working tree is slower than an earlier revision, told by instructions under valgrind, which hold on a busy machine, too.

    guard.py [BASELINE]        LIMIT=1.03 ROUNDS=1 ONLY=PART_OF_A_NAME

BASELINE is a git revision. Without one it is where this branch left the main one; on the main branch the last commit, or the one before it where
nothing has changed since. It ends with 1 if a workload takes more than LIMIT times the instructions, with ROUNDS above 1 in the better round of each.

Both are built in the same folder below target/guard, one after the other, with the same target folder, which is not the usual one: cargo knows files by
their paths inside of a workspace and by their times, so that two folders that share a target folder get each other's crates. The first time it builds
all dependencies, later what differs.

What instructions do not tell: waiting for memory, the second thread, and AVX-512, which valgrind does not have; the kernels are those for AVX2. It
emulates fused multiply-adds, a microsecond each: hence the few tokens. All of it takes five
minutes of a core and two builds. Two runs of a program differed by 0.16% of a row at most (2026-11-26, beside other jobs; ROUNDS=2 shows it).

Rewriting the example around it has moved training by 1.7%, probably since generic code is compiled with it; LIMIT leaves room for that. Loading
and packing are rows of their own and taken off from the others. A workload that the baseline's example lacks is named, not compared.
"""
import io, os, pathlib, random, re, shutil, subprocess, sys, tarfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "target/guard"
TREE = FOLDER / "tree"
LIMIT = float(os.environ.get("LIMIT", "1.03"))
ROUNDS = int(os.environ.get("ROUNDS", "1"))
ONLY = os.environ.get("ONLY", "")
TINY, TEN = "models/tiny-math", "experiments/speed/10m"
LEAN = ["--no-default-features", "--features", "flex"]
# package, what builds it, its source
EXAMPLES = {
    "speed": ("paretopo", "speed", LEAN, "crates/cli/examples/speed.rs"),
    "pareto": ("paretopo-pareto", "speed", [], "crates/pareto/examples/speed.rs"),
    "grading": ("paretopo-grading", "grading_speed", [], "crates/grading/examples/grading_speed.rs"),
}
# name: example, arguments, environment, the row whose instructions are taken off, what the example's source has if it knows the work
WORKLOADS = {
    "load, tiny": ("speed", f"{TINY} decode 1 1 1", {"PACKED": "none"}, None, '"decode" =>'),
    "load and pack, tiny": ("speed", f"{TINY} decode 1 1 1", {}, None, "PACKED"),
    "load and pack in bf16, tiny": ("speed", f"{TINY} decode 1 1 1", {"PACKED": "bf16"}, None, "PACKED"),
    "load and pack, 10M": ("speed", f"{TEN} decode 1 1 1", {}, None, "PACKED"),
    "load and pack in bf16, 10M": ("speed", f"{TEN} decode 1 1 1", {"PACKED": "bf16"}, None, "PACKED"),
    "decode packed, tiny": ("speed", f"{TINY} decode 8 2 6", {}, "load and pack, tiny", "PACKED"),
    "decode not packed, tiny": ("speed", f"{TINY} decode 8 2 6", {"PACKED": "none"}, "load, tiny", '"decode" =>'),
    "decode bf16, tiny": ("speed", f"{TINY} decode 8 2 6", {"PACKED": "bf16"}, "load and pack in bf16, tiny", "PACKED"),
    "decode one row packed, tiny": ("speed", f"{TINY} decode 1 2 32", {}, "load and pack, tiny", "PACKED"),
    "decode packed, 10M": ("speed", f"{TEN} decode 2 2 3", {}, "load and pack, 10M", "PACKED"),
    "decode bf16, 10M": ("speed", f"{TEN} decode 2 2 3", {"PACKED": "bf16"}, "load and pack in bf16, 10M", "PACKED"),
    "read prompts, tiny": ("speed", f"{TINY} decode 4 24 1", {}, "load and pack, tiny", "PACKED"),
    "read a shared prompt, tiny": ("speed", f"{TINY} group 8 32 2", {}, "load and pack, tiny", '"group" =>'),
    "train, tiny": ("speed", f"{TINY} train 2 16 32", {}, "load, tiny", '"train" =>'),
    "train rollouts of a shared prompt, tiny": ("speed", f"{TINY} rollouts 4 16 4", {}, "load, tiny", '"rollouts" =>'),
    "ranks and hypervolumes of 2 objectives": ("pareto", "POINTS2 20", {}, None, "PASSES"),
    "ranks and hypervolumes of 3 objectives": ("pareto", "POINTS3 20", {}, None, "PASSES"),
    "grading": ("grading", "0", {}, None, "FEWEST_PASSES"),
}
PAIRS = [
    ("5", "5"), ("5", "5.0"), ("-3", "3"), ("1000", "1,000"), ("0.5", "\\frac{1}{2}"), ("\\frac{3}{4}", "0.75"), ("\\frac12", "1/2"), ("x^2+2x+1", "(x+1)^2"),
    ("\\sqrt{8}", "2\\sqrt{2}"), ("\\pi/4", "\\frac{\\pi}{4}"), ("(1, 2)", "(1,2)"), ("[0, 1)", "[0,1)"), ("\\{1,2,3\\}", "\\{3,2,1\\}"), ("10\\%", "0.1"),
    ("x=7", "7"), ("90^\\circ", "90"), ("\\text{yes}", "Yes"), ("2^{10}", "1024"), ("\\frac{1}{3}", "0.333"), ("y = 2x + 1", "2x+1=y"),
    ("\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{pmatrix}1&2\\\\3&5\\end{pmatrix}"), ("\\sin^2 x+\\cos^2 x", "1"), ("\\log_2 8", "3"), ("5!", "120"),
    ("42", "So we add both and get \\boxed{42}."), ("17", "The answer is 17"), ("a+b", "b+a"), ("\\infty", "-\\infty"), ("(-\\infty,3]", "x \\le 3"),
    ("1.5e3", "1500"), ("\\binom{5}{2}", "10"), ("12 cm", "12"), ("3:4", "\\frac34"), ("\\frac{x}{x+1}", "1-\\frac{1}{x+1}"),
]

def git(*arguments):
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

def default_baseline():
    for main in ("main", "origin/main"):
        if subprocess.run(["git", "rev-parse", "--quiet", "--verify", main], cwd=ROOT, capture_output=True).returncode == 0:
            base = git("merge-base", "HEAD", main)
            if base != git("rev-parse", "HEAD"):
                return base
    return "HEAD" if git("status", "--porcelain") else "HEAD~1"

def committed(revision):
    """The files of a revision: their contents, or where they link to, and whether they are links."""
    archive = subprocess.run(["git", "archive", "--format=tar", revision], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        return {file.name: (file.linkname.encode(), True) if file.issym() else (files.extractfile(file).read(), False) for file in files if file.issym() or file.isfile()}

def working_tree():
    """The same of the files that git knows or would add."""
    names = git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    paths = {name: ROOT / name for name in names if name}
    links = {name: (os.readlink(path).encode(), True) for name, path in paths.items() if path.is_symlink()}
    return links | {name: (path.read_bytes(), False) for name, path in paths.items() if name not in links and path.is_file()}

def fill(files):
    """Makes TREE hold these files. Only what differs is written and gets a new time, by which cargo tells what to build."""
    for path in [path for path in TREE.rglob("*") if path.is_symlink() or path.is_file()]:
        if str(path.relative_to(TREE)) not in files:
            path.unlink()
    for name, (content, is_link) in files.items():
        path = TREE / name
        held = (os.readlink(path).encode(), True) if path.is_symlink() else (path.read_bytes(), False) if path.is_file() else None
        if held != (content, is_link):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.symlink_to(content.decode()) if is_link else path.write_bytes(content)

def build(name, files, wanted):
    """The wanted examples of a state of the project, and their sources. An example that is not there is left out."""
    fill(files)
    folder, found = FOLDER / name, {}
    folder.mkdir(parents=True, exist_ok=True)
    for example, (package, target, features, source) in EXAMPLES.items():
        if example not in wanted or not (TREE / source).exists():
            continue
        print(f"building {example}, {name}", file=sys.stderr, flush=True)
        command = ["cargo", "build", "--quiet", "--release", "--locked", "--package", package, "--example", target, *features]
        if subprocess.run(command, cwd=TREE, env=dict(os.environ, CARGO_TARGET_DIR=str(FOLDER / "build"))).returncode:
            sys.exit(f"`{example}` does not build, {name}: {' '.join(command)}")
        # two examples have the same name
        shutil.copy(FOLDER / "build/release/examples" / target, folder / example)
        found[example] = (folder / example, (TREE / source).read_text())
    return found

def inputs():
    """The points of the sets, 2 and 3 objectives: some small sets and one larger; a set is followed by an empty line."""
    paths = {}
    for objectives in (2, 3):
        draw = random.Random(objectives)
        sets = [[[draw.random() for _ in range(objectives)] for _ in range(size)] for size in [8] * 40 + [64] * 5 + [256]]
        path = FOLDER / f"points-{objectives}.txt"
        path.write_text("\n\n".join("\n".join(" ".join(map(repr, point)) for point in points) for points in sets) + "\n")
        paths[f"POINTS{objectives}"] = str(path)
    return paths

def instructions(binary, arguments, more, text):
    """Those of one run, or the last line of why there are none."""
    # nothing else of the environment: it would be other work on other machines
    environment = {"PATH": os.environ["PATH"], "RAYON_NUM_THREADS": "1", **more}
    command = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", str(binary), *arguments]
    done = subprocess.run(command, cwd=ROOT, input=text, capture_output=True, text=True, env=environment)
    found = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
    if done.returncode or not found:
        told = [line for line in done.stderr.splitlines() if line and not line.startswith("==")]
        return f"ended with {done.returncode}: {' '.join(told[:2])[:200]}"
    return int(found[1].replace(",", ""))

def main():
    if not shutil.which("valgrind"):
        sys.exit("valgrind is missing, which counts the instructions\nhint: install the package `valgrind`, e.g. `apt install valgrind` or `dnf install valgrind`")
    baseline = sys.argv[1] if len(sys.argv) > 1 else default_baseline()
    baseline = git("rev-parse", "--short", f"{baseline}^{{commit}}")
    chosen = {name for name in WORKLOADS if ONLY in name}
    if not chosen:
        sys.exit(f"no workload has `{ONLY}` in its name, which are: {', '.join(WORKLOADS)}")
    chosen |= {WORKLOADS[name][3] for name in chosen} - {None}
    wanted = {WORKLOADS[name][0] for name in chosen}
    before, after = build("before", committed(baseline), wanted), build("after", working_tree(), wanted)
    paths = inputs()
    text = "".join(f"{gold}\t{answer}\n" for gold, answer in PAIRS)
    print(f"| workload, instructions in millions | {baseline} | working tree | ratio | spread of {ROUNDS} |\n|---|---|---|---|---|", flush=True)
    counts, worst, failed = {}, [], []
    for name, (example, arguments, more, off, known_by) in WORKLOADS.items():
        if name not in chosen:
            continue
        row, spread = [], 0.0
        for side, built in (("before", before), ("after", after)):
            binary, source = built.get(example, (None, ""))
            if known_by not in source:
                row.append("not in the baseline" if side == "before" else "not in the working tree")
                continue
            words = [paths.get(word, word) for word in arguments.split()]
            rounds = [instructions(binary, words, more, text) for _ in range(ROUNDS)]
            if any(isinstance(count, str) for count in rounds):
                row.append(next(count for count in rounds if isinstance(count, str)))
                failed.append(f"{name}, {side}: {row[-1]}")
                continue
            counts[name, side] = min(rounds)
            taken_off = counts.get((off, side)) if off else 0
            if taken_off is None:
                row.append(f"`{off}` is missing")
                continue
            row.append(min(rounds) - taken_off)
            spread = max(spread, (max(rounds) - min(rounds)) / max(row[-1], 1))
        cells = [f"{cell / 1e6:,.1f}" if isinstance(cell, int) else cell for cell in row]
        ratio = row[1] / row[0] if all(isinstance(cell, int) for cell in row) else None
        if ratio and ratio > LIMIT:
            worst.append(f"{name}: {ratio:.3f}")
        print(f"| {name} | {' | '.join(cells)} | {f'{ratio:.4f}' if ratio else ''} | {f'{spread:.3%}' if ROUNDS > 1 else ''} |", flush=True)
    if failed:
        print("\ndid not run: " + "; ".join(failed))
    if worst:
        print(f"\nmore than {LIMIT} times the instructions: " + "; ".join(worst))
    sys.exit(1 if worst or failed else 0)

if __name__ == "__main__":
    main()
