#!/usr/bin/env python3
"""Real multi-hop questions with a real corpus, as tasks for `train` and as conversations with a search tool for `sft`.

    prepare.py PARETOPO QUESTIONS.jsonl CORPUS.jsonl FOLDER [--characters 400] [--topk 1] [--hops 2] [--held 120] [--practice 1500] [--rounds 3]

QUESTIONS has `question`, `answers` and `supporting_titles`, CORPUS has `id`, `title` and `text`. FOLDER gets

    corpus.jsonl         the passages, cut at the end of a sentence to at most --characters
    questions.jsonl      what can be answered by looking up at most --hops passages; the first --held are shown to no policy, and none of
                         them is answered by yes or no, of which one alone is right in half
    conversations.jsonl  demonstrations for the others, and practice

A question can be answered by looking things up if the title of each supporting passage stands in what has been read
before (the question, then passages), a search for it finds that passage, and the answer stands in what is then read,
or is yes or no. Searches are the project's own (`serve-search`, BM25).

A demonstration answers at once, searches as needed, or searches once more than needed (--shares). Practice asks
for one fact that a passage states in a form of its own (who directed a film, when and where one was born). What
practice uses supports no held question.
"""
import argparse, json, pathlib, random, re, subprocess, sys, urllib.request

sys.path.append(str(pathlib.Path(__file__).parents[1]))
from conversation import conversation

SYSTEM = (
    "Answer the question in as few words as possible, as <answer>answer</answer>. To look something up, you may write\n"
    '<tool_call>\n{"name": "search", "arguments": {"query": "Hamlet"}}\n</tool_call>\n'
    "and you will be shown a passage."
)

def cut(text, characters):
    """Whole sentences, as many as fit; where the first is longer, its beginning.

    >>> cut("One is here. Two is there. Three.", 27), cut("One is very long", 6)
    ('One is here. Two is there.', 'One is')
    """
    if len(text) <= characters:
        return text
    ends = [found.end() for found in re.finditer(r"[.!?](?=\s)", text[: characters + 1])]
    return text[: ends[-1] if ends else characters]

def plain(text):
    """
    >>> plain("The  Prestige (film)")
    'the prestige (film)'
    """
    return " ".join(text.lower().split())

def names(title):
    """A title as a text may have it, the longest first.

    >>> names("The Prestige (film)")
    ['The Prestige (film)', 'The Prestige']
    """
    return list(dict.fromkeys([title, re.sub(r" \([^)]*\)$", "", title)]))

def searched_for(title, read):
    """What a policy that has read this would look for, or None."""
    return next((name for name in names(title) if plain(name) in plain(read)), None)

class Searches:
    """The project's search server over a corpus, while it is open."""

    def __init__(self, paretopo, corpus, topk):
        command = [paretopo, "serve-search", corpus, "--address", "127.0.0.1:0", "--topk", str(topk)]
        self.server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.topk, self.known, self.said = topk, {}, []
        for line in self.server.stdout:
            self.said.append(line)
            if found := re.search(r"http://[\d.]+:\d+", line):
                self.address = found[0]
                return
        raise SystemExit(f"the search server did not start: {''.join(self.said)}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.terminate()
        self.server.wait()

    def find(self, query):
        """[(title, text)], the best first."""
        if query not in self.known:
            body = json.dumps({"queries": [query], "topk": self.topk, "return_scores": True}).encode()
            request = urllib.request.Request(f"{self.address}/retrieve", body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=30) as answer:
                hits = json.load(answer)["result"][0]
            contents = [hit["document"]["contents"].split("\n", 1) for hit in hits]
            self.known[query] = [(title.strip('"'), text) for title, text in contents]
        return self.known[query]

def as_told(hits):
    """As the search tool shows them."""
    return "\n".join(f"Doc {place}(Title: {title}) {text}" for place, (title, text) in enumerate(hits, 1)) or "No passage found."

def is_yes_or_no(question):
    """
    >>> is_yes_or_no({"answers": ["No"]}), is_yes_or_no({"answers": ["Norway"]})
    (True, False)
    """
    return plain(question["answers"][0]) in ("yes", "no")

def looked_up(question, searches):
    """[(query, what is told)] that lead to the answer, or None."""
    read, left, found = question["question"], list(question["supporting_titles"]), []
    while left:
        ways = ((title, searched_for(title, read)) for title in left)
        title, query = next(((title, query) for title, query in ways if query), (None, None))
        hits = searches.find(query) if query else []
        if title not in [hit for hit, _ in hits]:
            return None
        left.remove(title)
        told = as_told(hits)
        found.append((query, told))
        read += "\n" + told
    return found if is_yes_or_no(question) or plain(question["answers"][0]) in plain(read) else None

def answered(question, answer, searches):
    """`searches` are [(query, what is told)]."""
    calls = [("search", {"query": query}, told) for query, told in searches]
    return conversation(SYSTEM, question, calls, f"<answer>{answer}</answer>")

DATE = r"(\d{1,2} [A-Z][a-z]+ \d{4}|[A-Z][a-z]+ \d{1,2}, \d{4})"
FACTS = [
    ("Who is the director of film {}?", re.compile(r"directed by ((?:[A-Z][\w.'-]+ ?){2,3})(?=[,. ]|$)")),
    ("Who is the performer of song {}?", re.compile(r"song (?:recorded |performed )?by (?:\w+ )?(?:singer |rapper |band )?((?:[A-Z][\w.'-]+ ?){1,3})(?=[,. ]|$)")),
    ("When was {} born?", re.compile(rf"\((?:born|b\.)?[^()]*?{DATE}")),
    ("When did {} die?", re.compile(rf"\([^()]*\d{{4}}\)? ?[–-] ?{DATE}\)")),
    ("Where was {} born?", re.compile(r"\bborn in ([A-Z]\w+(?:, [A-Z]\w+)?)")),
]

def practised(passages, draw):
    """Questions for one fact of a passage.

    >>> told = [("Ann Lee", "Ann Lee (born 3 May 1970) is a baker. She was born in Leeds.")]
    >>> sorted((row["messages"][1]["content"], row["messages"][-1]["content"]) for row in practised(told, random.Random(1)))
    [('When was Ann Lee born?', '<answer>3 May 1970</answer>'), ('Where was Ann Lee born?', '<answer>Leeds</answer>')]
    """
    rows = []
    for title, text in passages:
        for asks, states in FACTS:
            if found := states.search(text):
                rows.append(answered(asks.format(title), found[1].strip(" ."), [(title, as_told([(title, text)]))]))
    draw.shuffle(rows)
    return rows

def demonstration(question, found, shares, draw):
    way = draw.choices(["at once", "needed", "once more"], shares)[0]
    calls = {"at once": [], "needed": found, "once more": [found[0], *found]}[way]
    return answered(question["question"], question["answers"][0], calls)

def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))

def read_lines(path):
    return [json.loads(line) for line in pathlib.Path(path).read_text().split("\n") if line]

def main():
    parser = argparse.ArgumentParser()
    for name in ("paretopo", "questions", "corpus", "folder"):
        parser.add_argument(name)
    for name, default in [("characters", 400), ("topk", 1), ("hops", 2), ("held", 120), ("practice", 1500), ("rounds", 3)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--shares", nargs=3, type=int, default=[45, 35, 20])
    given = parser.parse_args()
    folder, draw = pathlib.Path(given.folder), random.Random(1)
    folder.mkdir(parents=True, exist_ok=True)
    passages = [{**passage, "text": cut(passage["text"], given.characters)} for passage in read_lines(given.corpus)]
    write(folder / "corpus.jsonl", passages)
    questions = [question for question in read_lines(given.questions) if 0 < len(question["supporting_titles"]) <= given.hops]
    draw.shuffle(questions)
    with Searches(given.paretopo, folder / "corpus.jsonl", given.topk) as searches:
        reached = [(question, found) for question in questions if (found := looked_up(question, searches))]
    held = [one for one in reached if not is_yes_or_no(one[0])][: given.held]
    shown = [one for one in reached if one not in held]
    supports = {title for question, _ in held for title in question["supporting_titles"]}
    practice = practised([(it["title"], it["text"]) for it in passages if it["title"] not in supports], draw)[: given.practice]
    rows = [demonstration(question, found, given.shares, draw) for question, found in shown * given.rounds] + practice
    draw.shuffle(rows)
    write(folder / "questions.jsonl", [question for question, _ in held + shown])
    write(folder / "conversations.jsonl", rows)
    print(f"{len(reached)} of {len(questions)} questions of at most {given.hops} passages can be answered by looking them up; {len(held)} are held")
    print(f"{len(rows)} conversations, {len(practice)} of them practice")

if __name__ == "__main__":
    main()
