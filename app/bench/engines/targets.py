"""The promises about the networks alone, each checked where its row was measured with TensorRT in float16."""

from __future__ import annotations

from app.bench.statistics import Json, Target

OURS, EAGER = "TensorRT fp16", "PyTorch fp32"
RESNET_DETECTOR, SMALL_DETECTOR = "retinaface_r50@640x640", "retinaface_mnet025@960x1280"
ARCFACE, FACENET = "arcface_r50@112x112", "facenet@160x160"


def targets(told: Json) -> list[Target]:
    """The aims are the project's own."""
    ours = {(row["network"], row["batch"]): row["runtimes"][OURS] for row in told["rows"] if OURS in row["runtimes"]}
    return [*_latency(told, ours), *_throughput(ours), *_joining(ours), *_copying(ours)]


Figures = dict[tuple[str, int], Json]


def _latency(told: Json, ours: Figures) -> list[Target]:
    found = []
    if (one := ours.get((RESNET_DETECTOR, 1))) is not None:
        p50 = one["latency_ms"]["device"]["p50"]
        found.append(Target.at_most("RetinaFace-r50 640x640, one image on the device, ms", 0.8, p50))
    for row in told["rows"]:
        for each in row["times_faster"]:
            pair = (row["network"], row["batch"], each["faster"], each["than"])
            if pair == (RESNET_DETECTOR, 1, OURS, EAGER):
                name = "RetinaFace-r50 640x640, one image, times faster than PyTorch eager FP32"
                found.append(Target.at_least(name, 4, each["ratio"]["median"]))
    return found


def _throughput(ours: Figures) -> list[Target]:
    """Images/s on the device, all contexts at once; the small detector at the batch that suits it best."""
    aims = [
        ("RetinaFace-r50 640x640, batch 32, images/s", 4_000, [(RESNET_DETECTOR, 32)]),
        ("RetinaFace-mnet0.25 1280x960, images/s", 5_000, [key for key in ours if key[0] == SMALL_DETECTOR]),
        ("ArcFace-r50, batch 128, images/s", 20_000, [(ARCFACE, 128)]),
        ("FaceNet, batch 32, images/s", 28_000, [(FACENET, 32)]),
    ]
    found = []
    for name, aim, keys in aims:
        rates = [ours[key]["images_per_s"]["device"]["median"] for key in keys if key in ours]
        if rates:
            found.append(Target.at_least(name, aim, max(rates)))
    return found


def _joining(ours: Figures) -> list[Target]:
    """What a batch gains, one run at a time, as the figure it is held against was taken."""
    many, one = ours.get((FACENET, 32)), ours.get((FACENET, 1))
    if many is None or one is None:
        return []
    gain = many["one_at_a_time_per_s"]["device"] / one["one_at_a_time_per_s"]["device"]
    return [Target.at_least("FaceNet, images/s at batch 32 over batch 1, one run at a time", 7, gain)]


def _copying(ours: Figures) -> list[Target]:
    shares = [found["with_copies"]["median"] for (_, batch), found in ours.items() if batch == 32]
    return (
        [Target.at_least("images/s with copies over without, batch 32, worst network", 0.85, min(shares))]
        if shares
        else []
    )
