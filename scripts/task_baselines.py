#!/usr/bin/env python3
"""What classifiers without a language model make of a task: rows beside those of `kvalign eval`.

    task_baselines.py --task FILE --input FILE [--output FILE]

Reads the input that the task file was made of again, trains TF-IDF of words and word pairs with
logistic regression on every text that is not held out, and answers the held-out ones. The output
is JSON that the recipe's task.text_classifiers names; the same figures go to the terminal, beside
those of always saying the commonest class. Needs scikit-learn and safetensors.
"""

import argparse
import json
import pathlib
import sys

import safetensors
import sklearn
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score
from sklearn.pipeline import make_pipeline

from capture import VERSION, CaptureError, files, inputs, labelled

FIGURES = {
    "accuracy": accuracy_score,
    "balanced_accuracy": balanced_accuracy_score,
    "macro_f1": lambda labels, answers: f1_score(labels, answers, average="macro"),
}


def read_task(path):
    """(metadata, labels of the held-out texts) of a task file."""
    try:
        with safetensors.safe_open(path, "numpy") as file:
            metadata = json.loads((file.metadata() or {}).get("kvalign", "{}"))
            if "task" not in metadata:
                raise CaptureError(
                    f"--task {path}: not a task file; scripts/task_file.py makes one"
                )
            return metadata, file.get_tensor("labels").tolist()
    except (OSError, safetensors.SafetensorError) as error:
        raise CaptureError(f"--task {path}: cannot be read: {error}") from error


def read_sides(metadata, path):
    """(examples that are not held out, texts that are, in the order of the task file)."""
    source = metadata["source"]["input"]
    found = inputs.digest(path)
    if found != source["sha256"]:
        raise CaptureError(
            f"--input {path}: expected the file that the task was made of ({source['name']}, "
            f"SHA-256 {source['sha256']}), got SHA-256 {found}"
        )
    fields = source["format"], source["text_field"], source["label_field"]
    examples = labelled.read_examples(labelled.Source(path, *fields), metadata["task"]["classes"])
    by_digest = {example.digest: example for example in examples.examples}
    held_out = [by_digest.pop(digest).text for digest in metadata["documents"]]
    return list(by_digest.values()), held_out


def figures_of(labels, answers):
    return {name: round(float(figure(labels, answers)), 6) for name, figure in FIGURES.items()}


def classify(train, texts):
    """The class of each text by TF-IDF and logistic regression, every class counting alike."""
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        LogisticRegression(class_weight="balanced", max_iter=1000),
    )
    model.fit([example.text for example in train], [example.label for example in train])
    return [int(answer) for answer in model.predict(texts)]


def baselines(task, path):
    """The object that the output holds."""
    metadata, labels = read_task(task)
    train, texts = read_sides(metadata, path)
    classes = metadata["task"]["classes"]
    counts = metadata["task"]["train_label_counts"]
    if min(counts) == 0:
        raise CaptureError(
            f"--task {task}: expected texts of every class that are not held out, got {counts}. "
            "Hold out fewer."
        )
    commonest = counts.index(max(counts))
    answers = classify(train, texts)
    return {
        "schema": 1,
        "created_by": f"task_baselines.py {VERSION}, scikit-learn {sklearn.__version__}",
        "task_sha256": files.sha256_of(task),
        "classes": classes,
        "train_texts": len(train),
        "held_out_texts": len(texts),
        "majority_class": {
            "class": classes[commonest],
            **figures_of(labels, [commonest] * len(labels)),
        },
        "classifiers": [
            {
                "row": "TF-IDF + logistic regression",
                "text": f"words and word pairs, trained on the {len(train)} texts that are not "
                "held out; reads the text, no language model",
                **figures_of(labels, answers),
                "answers": answers,
            }
        ],
    }


def table(result):
    rows = [("majority class", result["majority_class"])]
    rows += [(row["row"], row) for row in result["classifiers"]]
    lines = [f"{'row':30}" + "".join(f"{name:>19}" for name in FIGURES)]
    for name, row in rows:
        lines.append(f"{name:30}" + "".join(f"{row[figure]:19.3f}" for figure in FIGURES))
    return "\n".join(lines)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", required=True, type=pathlib.Path, metavar="FILE")
    parser.add_argument("--input", required=True, type=pathlib.Path, metavar="FILE")
    parser.add_argument("--output", type=pathlib.Path, metavar="FILE")
    options = parser.parse_args(arguments)
    try:
        result = baselines(options.task, options.input)
    except CaptureError as error:
        print(f"task_baselines: {error}", file=sys.stderr)
        return 1
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(options.output, result)
    print(table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
