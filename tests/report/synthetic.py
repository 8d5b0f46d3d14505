"""A run folder made by hand: classes with hostile names, some mistakes, pictures, all that the report reads."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from netwright.records.folder import RunFolder
from netwright.records.intervals import bootstrap_mean, wilson

HOSTILE = ["<img src=x onerror=alert(1)>", 'quo"te & </style>', "$x_1$ \u202egnp.\udce9 日本"]


def write_run(output: Path, classes: list[str], *, n: int = 120, seed: int = 0, sharpness: float = 4.0) -> RunFolder:
    """A finished run with `n` test images."""
    generator = np.random.default_rng(seed)
    folder = RunFolder.create(output, "photos-resnet18")
    labels = generator.integers(len(classes), size=n)
    logits = generator.normal(size=(n, len(classes))) + sharpness * np.eye(len(classes))[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    folder.write_record(record(classes, probabilities, labels))
    for row in rows(12):
        folder.append_metrics(row)
    names = np.array([f"{number:04d}.jpg" for number in range(n)])
    arrays = {"probabilities": probabilities.astype(np.float32), "labels": labels, "names": names}
    np.savez(folder.evaluation_file, **arrays, split=np.array("test"))
    write_pictures(folder, classes, probabilities, labels, names, generator)
    folder.close()
    return folder


def write_pictures(
    folder: RunFolder,
    classes: list[str],
    probabilities: np.ndarray,
    labels: np.ndarray,
    names: np.ndarray,
    generator: Any,
) -> None:
    Image.fromarray(generator.integers(60, 200, (132, 528, 3), dtype=np.uint8)).save(folder.samples / "augmented.png")
    (folder.samples / "mistakes").mkdir()
    guesses, entries = probabilities.argmax(1), []
    wrong = np.flatnonzero(guesses != labels)
    for number, index in enumerate(sorted(wrong, key=lambda each: -probabilities[each].max())[:12]):
        file = f"mistakes/{number:02d}.png"
        Image.fromarray(generator.integers(60, 200, (64, 64, 3), dtype=np.uint8)).save(folder.samples / file)
        truth, guess = classes[labels[index]], classes[guesses[index]]
        confidence = float(probabilities[index].max())
        entries.append({"file": file, "name": names[index], "truth": truth, "guess": guess, "confidence": confidence})
    (folder.samples / "mistakes.json").write_text(json.dumps(entries))
    write_seeing(folder, classes, entries, generator)


def write_seeing(folder: RunFolder, classes: list[str], entries: list[dict[str, Any]], generator: Any) -> None:
    (folder.samples / "seeing").mkdir()

    def kept(name: str) -> str:
        Image.fromarray(generator.integers(60, 200, (40, 40, 3), dtype=np.uint8)).save(folder.samples / "seeing" / name)
        return f"seeing/{name}"

    by_class = [{"class": classes[0], "n": 40, "wrong": 3, "mistakes": entries[:3]}]
    seeing = {
        "kernels": {
            "file": kept("kernels.png"),
            "title": "First layer",
            "note": "They look trained.",
            "captions": [""],
        },
        "example": {"file": kept("example.png"), "name": "0001.jpg"},
        "stages": [{"file": kept("stage-0.png"), "title": "Stage 0", "note": "", "captions": ["mean", "channel 3"]}],
        "method": "Grad-CAM",
        "heats": [kept(f"mistake-{number:02d}-heat.png") for number in range(2)],
        "right": [
            {"file": kept("right-00.png"), "heat": kept("right-00-heat.jpg"), "found": True, "name": "0002.jpg"}
            | {"truth": classes[1], "guess": classes[1], "confidence": 0.987}
        ],
        "right_classes": 3,
        "left_out": [{"what": "dreams", "why": "<i>they take long</i>"}],
    }
    (folder.samples / "by_class.json").write_text(json.dumps(by_class))
    (folder.samples / "seeing.json").write_text(json.dumps(seeing))


def record(classes: list[str], probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    right = probabilities.argmax(1) == labels
    losses = -np.log(probabilities[np.arange(len(labels)), labels])
    test = {"accuracy": wilson(int(right.sum()), len(labels)), "loss": bootstrap_mean(losses)}
    counts = {name: int((labels == index).sum()) for index, name in enumerate(classes)}
    train = {name: 90 + 17 * (index % 4) for index, name in enumerate(classes)}
    return {
        "format": 1,
        "netwright": "0.1.0",
        "name": "photos-resnet18",
        "status": "done",
        "created": "2026-01-05T10:30:00+00:00",
        "finished": "2026-01-05T10:34:10+00:00",
        "seconds": 250.4,
        "command": "netwright train photos --model resnet18 --epochs 12",
        "recipe": {"model": "resnet18", "epochs": 12, "lr": 0.003, "batch_size": 32, "sizes": [96, 128], "ema": None},
        "sources": {"model": "user", "epochs": "user", "lr": "auto", "batch_size": "recipe", "sizes": "recipe"},
        "key": "0123456789abcdef",
        "seed": 7,
        "data": {
            "name": "photos",
            "root": "/secret/home/photos",
            "classes": classes,
            "fingerprint": "f00dfeed",
            "splits": {
                "train": {"n": sum(train.values()), "per_class": train},
                "val": {"n": 60, "per_class": dict.fromkeys(classes, 60 // len(classes))},
                "test": {"n": len(labels), "per_class": counts},
            },
            "quarantined": [{"name": "<b>bad.jpg", "reason": "truncated after 1,024 bytes"}],
            "notes": ["3 images were turned upright by their EXIF tag."],
            "image_size": 224,
            "stored_size": 256,
            "fit": "crop",
            "channels": 3,
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
        },
        "model": {"name": "resnet18", "params": 11_178_051, "spec": "resnet18(norm='batch')"},
        "device": {
            "device": "cpu",
            "name": "Xeon",
            "precision": "bf16",
            "memory_format": "channels_last",
            "threads": 2,
            "why": ["bf16: the processor has AMX"],
        },
        "versions": {"python": "3.11.9", "torch": "2.10.0"},
        "git": {"commit": "c0ffee0123456789", "dirty": True},
        "result": {
            "best_epoch": 9,
            "epochs": 12,
            "steps": 468,
            "images_per_second": 312.5,
            "seconds_to_first_step": 4.2,
            "stopped": "",
            "splits": {"val": {"accuracy": wilson(55, 60)}, "test": test},
            "temperature": 1.23,
        },
        "tricks": [{"name": "mixup", "spec": "mixup(alpha=0.4)", "source": "user"}],
    }


def rows(epochs: int) -> list[dict[str, Any]]:
    return [
        {
            "kind": "epoch",
            "epoch": epoch,
            "step": 39 * epoch,
            "train_loss": 1.1 * 0.75**epoch + 0.05,
            "train_accuracy": 1 - 0.6 * 0.7**epoch,
            "val_loss": 1.2 * 0.8**epoch + 0.02 * epoch,
            "val_accuracy": 0.93 - 0.6 * 0.7**epoch,
            "lr": 0.003 * (1 - epoch / epochs),
        }
        for epoch in range(1, epochs + 1)
    ]
