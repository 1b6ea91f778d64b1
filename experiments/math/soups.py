#!/usr/bin/env python3
"""Rewarded soups (arXiv 2306.04488): means of the weights of two policies, as places of one front.

    soups.py PROGRAM FOLDER [JOBS]      (`just exp-math-soups` calls it; the same command goes on)

Seed by seed GDPO is trained at w = 0.10 and at 0.70, the ends of its knob in full.toml. Three soups hold
3/4, 1/2 and 1/4 of the first. All five are evaluated alike. Beside each soup stands the straight line between its
ends: EM above it is what mixing weights gains over drawing one of the two policies at random.
"""
import concurrent.futures, json, pathlib, subprocess, sys

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE.parent))
from over_seeds import interval, mean, sign_flips

CONFIG = HERE / "paretopo.toml"
SEEDS = range(1, 11)
ENDS = ("0.10", "0.70")
SHARES = (0.75, 0.5, 0.25)

def run(program, *words):
    found = subprocess.run([program, "--quiet", *map(str, words)], capture_output=True, text=True)
    if found.returncode:
        sys.exit(f"{' '.join(map(str, words))}\n{found.stderr}")

def place(program, seed, policy, out):
    """Mean calls and EM of one episode for each test problem."""
    if not (out / "evaluation.json").exists():
        run(program, "evaluate", CONFIG, "--model", policy, "--set", f"seed={seed}", "--set", "evaluation.head_skill=false", "--out", out)
    found = json.loads((out / "evaluation.json").read_text())
    return found["calls"], found["em"]

def places_of(program, folder, seed):
    """[end, soup, soup, soup, end], each (calls, EM)."""
    ends = []
    for w in ENDS:
        out = folder / f"w-{w}-{seed}"
        if not (out / "policy" / "model.safetensors").exists():
            estimator = f"estimator={{ type = 'gdpo', weights = [{1 - float(w):.1f}, {float(w):.1f}] }}"
            run(program, "train", CONFIG, "--set", f"seed={seed}", "--set", estimator, "--run", out)
        ends.append(out / "policy")
    policies = [ends[0]]
    for share in SHARES:
        soup = folder / f"soup-{share}-{seed}"
        if not (soup / "model.safetensors").exists():
            run(program, "soup", *ends, "--weights", f"{share},{1 - share}", "--out", soup)
        policies.append(soup)
    policies.append(ends[1])
    return [place(program, seed, policy, folder / f"evaluated-{number}-{seed}") for number, policy in enumerate(policies)]

def above_the_ends(places, soup):
    """EM of the soup minus that of a random choice between the ends with as many calls; below the cheaper end, its EM."""
    (dear, right), (cheap, wrong) = places[0], places[-1]
    calls, em = places[soup]
    share = min(1.0, max(0.0, (calls - cheap) / (dear - cheap)))
    return em - (wrong + share * (right - wrong))

def main():
    program, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    jobs = int(sys.argv[3]) if len(sys.argv) > 3 else 2
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        seeds = list(pool.map(lambda seed: places_of(program, folder, seed), SEEDS))
    (folder / "soups.json").write_text(json.dumps({"ends": ENDS, "shares": SHARES, "seeds": dict(zip(SEEDS, seeds))}))
    print("| of w 0.10 | EM | #Tool | above a choice between the ends [95%] | p |\n|---|---|---|---|---|")
    for number, share in enumerate([1.0, *SHARES, 0.0]):
        calls, em = (mean([places[number][axis] for places in seeds]) for axis in (0, 1))
        row = f"| {share} | {em:.3f} | {calls:.2f} |"
        if 0 < share < 1:
            gains = [above_the_ends(places, number) for places in seeds]
            low, high = interval(gains)
            print(f"{row} {mean(gains):+.3f} [{low:+.3f}, {high:+.3f}] | {sign_flips(gains):.3f} |")
        else:
            print(f"{row} | |")

main()
