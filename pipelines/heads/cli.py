"""`earmark train-head`: a classifier on stored embeddings."""

from __future__ import annotations

import argparse
from typing import IO, Any

from pipelines.terminal import show, tell


def add_commands(commands: Any, add: Any) -> None:
    """Declare the commands; `add(parser, name, function, help)` makes one."""
    head = add(commands, "train-head", _train_head, "fit a classifier to stored embeddings; a campaign's predictions take it as it is")
    head.add_argument("--store", required=True, help="folder or URI of the store")
    head.add_argument("--embeddings", required=True, metavar="TABLE.COLUMN", help="as musicnn.penultimate_mean")
    head.add_argument("--kind", required=True, help="of label: instrument, tag.mood, …")
    head.add_argument("--out", required=True, metavar="HEAD_DIR", help="where it is written; a head that is there is replaced")
    head.add_argument("--question", default="", help='the campaign\'s question, whose "nothing of these" counts as an answer')
    head.add_argument("--campaign", default="", metavar="NAME", help="only what was said in it, and gold")
    head.add_argument("--authors", default="gold,consensus", help="whose word counts, the first before the next (%(default)s)")
    head.add_argument("--kind-of-head", default="linear", choices=["linear", "svm", "mlp"], help="what is fitted (%(default)s)")
    head.add_argument("--exclusive", action="store_true", help="each clip has one of the tags, and no other")
    groups = "what recordings have in common that never lie in two folds; none: each by itself (%(default)s)"
    head.add_argument("--groups", default="artist,album,group", help=groups)
    head.add_argument("--folds", type=int, default=5, help="of cross-validation (%(default)s)")
    head.add_argument(
        "--precision", type=float, default=0.0, metavar="P", help="a share of what is said that is to be right; highest F1 if absent"
    )
    head.add_argument("--release", default="", metavar="DIR", help="learn from a release's split train, be judged on test too")
    head.add_argument("--seed", type=int, default=0, help="of folds and fits (%(default)s)")


def _train_head(options: argparse.Namespace, result: IO[str]) -> int:
    from dataclasses import replace

    from annotation.labels import AUTHOR_KINDS
    from pipelines.heads.figures import judged
    from pipelines.heads.files import save
    from pipelines.heads.material import material
    from pipelines.heads.train import train
    from pipelines.progress import bar
    from pipelines.store import Store

    authors = _listed(options.authors)
    if strange := [each for each in authors if each not in AUTHOR_KINDS]:
        raise ValueError(f"--authors: {strange[0]!r} is not one of {', '.join(AUTHOR_KINDS)}")
    if not 0 <= options.precision < 1:
        raise ValueError(f"--precision: {options.precision:g} is not between 0 and 1")
    if options.folds < 2:
        raise ValueError(f"--folds: {options.folds} is below 2; what is learnt from cannot be judged on")
    by = [] if options.groups == "none" else _listed(options.groups)
    found = material(
        Store(options.store), options.embeddings, options.kind, options.question, options.campaign, authors, by, options.release
    )
    taught = ~found.held_out
    if by and len(set(found.groups[taught].tolist())) == 1:
        lie = f"all labelled recordings lie in one group by {', '.join(by)}, and {options.folds} folds need as many"
        raise ValueError(f"--groups: {lie}; name what is to be held apart, as --groups group, or none")
    vectors = found.clips.vectors
    with bar("training", "fits") as advance:
        made = train(
            vectors[taught],
            found.values[taught],
            found.tags,
            found.groups[taught],
            options.kind_of_head,
            options.exclusive,
            options.folds,
            options.precision,
            options.seed,
            progress=advance,
        )
    head = replace(made.head, origin=found.origin | {"seed": options.seed})
    if found.held_out.any():
        columns = [found.tags.index(tag) for tag in head.tags]
        test = judged(head, vectors[found.held_out], found.values[found.held_out][:, columns], found.groups[found.held_out], options.seed)
        head = replace(head, figures={**head.figures, "test": test})
    name = save(head, options.out)
    remarks = [*found.remarks, *made.remarks]
    for each in remarks:
        tell(each)
    facts = {"head": options.out, "hash": name, "tags": list(head.tags), "figures": head.figures, "remarks": remarks}
    show(result, options.json, facts, _text(options.out, head))
    return 0


def _listed(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


def _text(out: str, head: Any) -> str:
    """What a person wants to know of a head: how good it is, tag by tag, beside guessing."""
    of = head.figures
    where = f"cross-validated over {of['groups']} groups of recordings in {of['folds']} folds"
    lines = [f"{out}: {len(head.tags)} tags learnt from {of['clips']} clips, {where}", ""]
    width = max(len("mean"), *(len(repr(tag)) - 2 for tag in head.tags))
    lines.append(f"{'':{width}}  clips   ROC-AUC (95 %)       PR-AUC (95 %)        F1    guessed  from")
    for tag, threshold in zip(head.tags, head.thresholds.tolist(), strict=True):
        each = of["tags"][tag]
        lines.append(f"{repr(tag)[1:-1]:{width}}  {each['positives']:>5}   {_figures(each)}   {threshold:.2f}")
    lines.append(f"{'mean':{width}}          {_figures(of['macro'])}")
    ways = of["macro"]
    lines += ["", f"calibration error {ways['calibration_error']:.3f} (before calibration {ways['calibration_error_before']:.3f})"]
    if "classes" in of:
        classes, chance = of["classes"], of["classes"]["guessing"]
        right = f"{_interval(classes['accuracy'])} (commonest: {chance['accuracy']:.3f})"
        lines.append(f"the likeliest is right: {right}; macro F1 {classes['macro_f1']:.3f} ({chance['macro_f1']:.3f})")
    if "test" in of:
        test = of["test"]
        lines.append(
            f"test split, {test['clips']} clips: ROC-AUC {_interval(test['macro']['roc_auc'])}, PR-AUC {_interval(test['macro']['pr_auc'])}"
        )
    lines.append(f'the next campaign starts from it with [predictions] head = "{out}" (a path from its file)')
    return "\n".join(lines)


def _figures(each: dict[str, Any]) -> str:
    return f"{_interval(each['roc_auc'])}  {_interval(each['pr_auc'])}  {each['f1']:.3f}  {each['guessing']['f1']:.3f}"


def _interval(figure: list[float | None]) -> str:
    value, low, high = (f"{each:.3f}" if each is not None else "-" for each in figure)
    return f"{value} ({low}-{high})"
