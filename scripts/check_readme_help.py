#!/usr/bin/env python3
"""Checks that help texts quoted in README.md are what the tool prints.

A quote is a fenced block after a line `<!-- help: kvalign SUBCOMMAND... -->`; `--write` updates them.
Usage: check_readme_help.py [--write] PATH_TO_KVALIGN
"""
import pathlib
import re
import subprocess
import sys

BLOCK = re.compile(r"(<!-- help: kvalign((?: [\w-]+)*) -->\n```text\n)(.*?)(```\n)", re.S)


def main():
    write = "--write" in sys.argv
    binary = [argument for argument in sys.argv[1:] if argument != "--write"][0]
    readme = pathlib.Path(__file__).resolve().parents[1] / "README.md"
    text = readme.read_text()
    wrong = []

    def replace(match):
        command = [binary, *match.group(2).split(), "--help"]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        printed = printed.strip() + "\n"
        if printed != match.group(3):
            wrong.append("kvalign" + match.group(2))
        return match.group(1) + printed + match.group(4)

    updated, count = BLOCK.subn(replace, text)
    if count == 0:
        sys.exit("README.md quotes no help text: expected `<!-- help: kvalign ... -->` blocks")
    if write:
        readme.write_text(updated)
    elif wrong:
        sys.exit("README.md: help differs for: " + ", ".join(wrong) +
                 f". Update with: {sys.argv[0]} --write {binary}")


if __name__ == "__main__":
    main()
