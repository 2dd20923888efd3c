"""Sets the runs of bench/lm_eval.sh beside each other:  lm_eval_table.py RESULTS

The first run, or that of transformers where there is one, is what the others are compared with: how many answers are scored
alike, and how far log likelihoods lie apart.
"""

import json
import pathlib
import sys

# The metric of a task, and its filters.
TASKS = {
    "tiny_math": ("exact_match", ["strict-match", "flexible-extract"]),
    "tiny_math_choice": ("acc", ["none"]),
}


def newest(folder, pattern):
    return max(folder.rglob(pattern), key=lambda path: path.stat().st_mtime)


def read(folder, task):
    scores = json.loads(newest(folder, "results_*.json").read_text())["results"][task]
    metric, filters = TASKS[task]
    scores = [(scores[f"{metric},{name}"], scores[f"{metric}_stderr,{name}"]) for name in filters]
    samples = {}
    for line in newest(folder, "samples_*.jsonl").read_text().splitlines():
        sample = json.loads(line)
        verdict = sample[metric]
        likelihoods = [float(answer[0][0]) for answer in sample["resps"]] if metric == "acc" else []
        samples[sample["doc_id"], sample.get("filter")] = (verdict, likelihoods)
    return scores, samples


def compare(samples, others):
    alike = sum(samples[key][0] == others[key][0] for key in others)
    text = f"{alike}/{len(others)} verdicts alike"
    apart = [abs(a - b) for key in others for a, b in zip(samples[key][1], others[key][1])]
    return text + (f", log likelihoods within {max(apart):.0e}" if apart else "")


def main():
    root = pathlib.Path(sys.argv[1])
    for task, (metric, filters) in TASKS.items():
        runs = {path.name[: -len(task) - 1]: read(path, task) for path in root.iterdir() if
                path.is_dir() and path.name.endswith("." + task)}
        first = "transformers" if "transformers" in runs else sorted(runs)[0]
        print(f"\n| {task} | " + " | ".join(metric if name == "none" else name for name in filters) + f" | beside {first} |")
        print("|---" * (len(filters) + 2) + "|")
        for name in sorted(runs, key=lambda name: (name != first, name)):
            scores, samples = runs[name]
            cells = [f"{value:.3f} ± {error:.3f}" for value, error in scores]
            cells.append("" if name == first else compare(samples, runs[first][1]))
            print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
