#!/usr/bin/env python3
"""The parts beside decoding and training beside the libraries that one would use in Python: the same inputs, one thread each, medians of three runs.

    parts.py PARTS_BINARY PARETOPO_BINARY CORPUS QUESTIONS PAIRS OUT.json
"""
import itertools, json, math, pathlib, random, statistics, subprocess, sys, tempfile, time

PROGRAM = "total = 0\nfor i in range(100):\n    total += i * i\nprint(total)"

def rate(count, work, seconds=2.0):
    """Things a second in the median pass; the first pass, which fills caches, is not timed."""
    work()
    passes, started = [], time.perf_counter()
    while len(passes) < 3 or time.perf_counter() - started < seconds:
        begun = time.perf_counter()
        work()
        passes.append(time.perf_counter() - begun)
    return count / statistics.median(passes)

def search(corpus, questions):
    import bm25s, rank_bm25
    texts = [f"{row['title']} {row['text']}" for row in map(json.loads, open(corpus))]
    queries = [json.loads(line)["question"] for line in open(questions)]
    started = time.perf_counter()
    index = bm25s.BM25()
    index.index(bm25s.tokenize(texts, stopwords="en", show_progress=False), show_progress=False)
    built = len(texts) / (time.perf_counter() - started)
    def fast():
        for query in queries:
            index.retrieve(bm25s.tokenize([query], stopwords="en", show_progress=False), k=10, show_progress=False, n_threads=0)
    yield "bm25s", {"index passages/s": built, "queries/s": rate(len(queries), fast)}
    started = time.perf_counter()
    plain = rank_bm25.BM25Okapi([text.lower().split() for text in texts])
    built = len(texts) / (time.perf_counter() - started)
    few = queries[:50]
    yield "rank_bm25", {"index passages/s": built, "queries/s": rate(len(few), lambda: [plain.get_top_n(query.lower().split(), texts, 10) for query in few])}

def grade(pairs):
    from math_verify import parse, verify
    rows = [json.loads(line) for line in open(pairs)]
    work = lambda: [verify(parse(row["gold"], parsing_timeout=None), parse(row["pred"], parsing_timeout=None), timeout_seconds=None) for row in rows]
    yield "math-verify", {"gradings/s": rate(len(rows), work)}

def pareto(path):
    """Sorting by what `pymoo` calls by itself, by its older one in Cython, which is faster for few points, and by the C that the first calls."""
    import moocore, numpy
    from pymoo.functions import load_function
    from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting
    sets = [-numpy.array(json.loads(line)["points"]) for line in open(path)]
    origin = numpy.zeros(sets[0].shape[1])
    each = lambda work: rate(len(sets), lambda: [work(points) for points in sets], seconds=0.5)
    yield "pymoo", {"sortings/s": each(lambda points: NonDominatedSorting().do(points, return_rank=True))}
    yield "pymoo, Cython", {"sortings/s": each(load_function("fast_non_dominated_sort"))}
    yield "moocore", {"sortings/s": each(moocore.pareto_rank), "hypervolumes/s": each(lambda points: moocore.hypervolume(points, ref=origin))}

def drawn(draw, objectives, on_a_front):
    """A point of [0, 1)^objectives; on a front, its direction from the origin at the distance 1, so that none dominates another one."""
    point = [draw.random() for _ in range(objectives)]
    length = math.hypot(*point) if on_a_front else 1
    return [value / length for value in point]

def python():
    run = lambda: subprocess.run([sys.executable, "-I", "-S", "-c", PROGRAM], capture_output=True, check=True)
    yield "subprocess", {"calls/s": rate(1, run)}

def main():
    parts, paretopo, corpus, questions, pairs, out = sys.argv[1:]
    rows = []
    print("| work | figure | paretopo | peer | | ratio |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        works = [("search", ["search", corpus, questions], lambda: search(corpus, questions)), ("math answers", ["grade", pairs], lambda: grade(pairs))]
        for objectives, size, on_a_front in itertools.product((2, 3), (8, 16, 64, 256, 1024), (False, True)):
            path = pathlib.Path(folder) / f"points-{size}-{objectives}-{on_a_front}.jsonl"
            draw = random.Random(size)
            path.write_text("".join(json.dumps({"points": [drawn(draw, objectives, on_a_front) for _ in range(size)]}) + "\n" for _ in range(50)))
            name = f"{size} points of {objectives}" + (" on a front" if on_a_front else "")
            works.append((name, ["pareto", str(path)], lambda path=path: pareto(path)))
        works.append(("Python program, monty", ["monty", paretopo, PROGRAM, "2000"], python))
        works.append(("Python program, sandboxed CPython", ["cpython", paretopo, PROGRAM, "500"], python))
        for name, ours, theirs in works:
            measured, peers = [], []
            for _ in range(3):
                measured.append(json.loads(subprocess.run([parts, *ours], capture_output=True, text=True, check=True).stdout))
                peers.append(list(theirs()))
            for place, (peer, figures) in enumerate(peers[0]):
                for figure in figures:
                    a = statistics.median(run[figure] for run in measured)
                    b = statistics.median(run[place][1][figure] for run in peers)
                    rows.append({"work": name, "figure": figure, "paretopo": a, "peer": peer, "peer_figure": b})
                    print(f"| {name} | {figure} | {a:.0f} | {peer} | {b:.0f} | {a / b:.1f} |", flush=True)
    pathlib.Path(out).write_text(json.dumps(rows, indent=1) + "\n")

if __name__ == "__main__":
    main()
