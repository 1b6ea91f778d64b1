#!/usr/bin/env python3
"""An mdBook preprocessor: links that leave docs/ lead to the repository's page of that file.

mdBook gives `[context, book]` as JSON on standard input and takes the book back on standard output.
"""

import json
import posixpath
import re
import sys

REPOSITORY = "https://github.com/paretopo/paretopo/blob/main/"
LINK = re.compile(r"(\]\()([^)#:\s]+)(#[^)]*)?\)")


def led_outside(content, folder):
    def changed(found):
        path = posixpath.normpath(posixpath.join("docs", folder, found[2]))
        if path.startswith("docs/"):
            return found[0]
        return f"{found[1]}{REPOSITORY}{path}{found[3] or ''})"

    return LINK.sub(changed, content)


def walk(items):
    for item in items:
        chapter = item.get("Chapter") if isinstance(item, dict) else None
        if chapter:
            folder = posixpath.dirname(chapter["path"] or "")
            chapter["content"] = led_outside(chapter["content"], folder)
            walk(chapter["sub_items"])


def main():
    if sys.argv[1:2] == ["supports"]:
        return
    _, book = json.load(sys.stdin)
    # called `sections` up to 0.4
    walk(book.get("items") or book.get("sections"))
    json.dump(book, sys.stdout)


main()
